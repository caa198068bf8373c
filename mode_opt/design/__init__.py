"""Designs: named, bounded, constrained parameters with units, and the physical values they stand for."""

from mode_opt.design.constraints import Constraint, ConstraintValue
from mode_opt.design.design import Design
from mode_opt.design.lagrangian import AugmentedLagrangian
from mode_opt.design.parameters import Categorical, Continuous, Integer, Linked, Parameter
from mode_opt.design.point import DesignPoint, Layout

__all__ = [
    "AugmentedLagrangian",
    "Categorical",
    "Constraint",
    "ConstraintValue",
    "Continuous",
    "Design",
    "DesignPoint",
    "Integer",
    "Layout",
    "Linked",
    "Parameter",
]
