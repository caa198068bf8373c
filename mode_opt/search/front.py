"""What several goals allow at once: designs that no other one beats in every goal, and how much they achieve."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Self

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ShapeError
from mode_opt.objectives import Estimate

DRAWS = 200
"""Resamplings of an uncertainty, which so is known to 5 %."""


def _botorch(name: str) -> Any:
    """A module of BoTorch's mathematics of fronts; what is deprecated in it concerns its own authors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(f"botorch.utils.multi_objective.{name}")


def non_dominated(values: Tensor) -> Tensor:
    """``m`` flags: which of ``m x k`` values (smaller is better) no other one beats.

    A row dominates another if it is nowhere larger and somewhere smaller; equal rows leave each other alone. A row
    with a number that is not finite is not on the front.
    """
    known = values.isfinite().all(1)
    flags = torch.zeros(len(values), dtype=torch.bool, device=values.device)
    flags[known] = _botorch("pareto").is_non_dominated(values[known], maximize=False, deduplicate=False)
    return flags


def hypervolume(values: Tensor, reference: Tensor) -> float:
    """Volume that ``m x k`` values (smaller is better) dominate of the space below a reference point, ``k``.

    Exact. Values that are not below the reference point in every goal, or not finite, add nothing. Its unit is the
    product of those of the goals.

    Raises:
        ShapeError: if the reference point has not ``k`` numbers.

    Source: C. Fonseca, L. Paquete and M. López-Ibáñez, IEEE CEC 2006, 1157 (as in BoTorch).
    """
    if values.ndim != 2 or reference.shape != values.shape[1:]:
        raise ShapeError("reference", reference.shape, f"one number for each goal, for values {tuple(values.shape)}")
    inside = values[(values < reference).all(1) & values.isfinite().all(1)].double()
    if not len(inside):
        return 0.0
    return float(_botorch("hypervolume").Hypervolume(-reference.double()).compute(-inside[non_dominated(inside)]))


def reference_point(values: Tensor) -> Tensor:
    """``k`` numbers: the worst value of each goal on the front, and a tenth of the front's range beyond it.

    So that the ends of the front count, too. With a single design, a tenth of its values beyond them.

    Args:
        values: ``m x k``, smaller is better, with at least one finite row.

    Source: H. Ishibuchi, N. Akedo and Y. Nojima, GECCO 2011 (the factor of one tenth).
    """
    return -_botorch("hypervolume").infer_reference_point(-values[non_dominated(values)].double())


@dataclass(frozen=True, eq=False)
class Front:
    """Designs and what each of them achieves in several goals; any designs, until `thinned` keeps the best.

    Attributes:
        goals: ``k`` names.
        units: ``k`` texts; empty for a number without unit.
        values: ``m x k``, smaller is better; NaN where a design failed.
        errors: ``m x k``, standard errors; NaN where none is known.
        designs: ``m`` designs.

    Raises:
        ShapeError: if these do not belong together.
    """

    goals: tuple[str, ...]
    units: tuple[str, ...]
    values: Tensor
    errors: Tensor
    designs: DesignPoint

    def __post_init__(self) -> None:
        wanted = (self.designs.designs, len(self.goals))
        for name, tensor in (("Front.values", self.values), ("Front.errors", self.errors)):
            if tensor.shape != wanted:
                raise ShapeError(name, tensor.shape, f"designs x goals, {wanted[0]} x {wanted[1]}")
        if len(self.units) != len(self.goals):
            raise ShapeError("Front.units", (len(self.units),), f"one for each of {len(self.goals)} goals")

    @property
    def count(self) -> int:
        """``m``."""
        return len(self.values)

    def rows(self, indices: Tensor | Sequence[int]) -> Self:
        """Some of the designs, in this order."""
        chosen = torch.as_tensor(indices, device=self.values.device)
        designs = replace(self.designs, values=self.designs.values[chosen.to(self.designs.values.device)])
        return replace(self, values=self.values[chosen], errors=self.errors[chosen], designs=designs)

    def thinned(self) -> Self:
        """Those that are not dominated, as measured, from the lowest value of the first goal on."""
        flags = non_dominated(self.values)
        order = self.values[:, 0].argsort(stable=True)
        return self.rows(order[flags[order]])

    def reference_point(self) -> Tensor:
        """`reference_point` of the values, ``k``."""
        return reference_point(self.values)

    def hypervolume(self, reference: Tensor | None = None, draws: int = DRAWS, seed: int = 0) -> Estimate:
        """`hypervolume` of the values, and its standard deviation if they are drawn anew within their errors.

        Errors of different goals are taken as independent, although those of a design come from the same events. Noise
        makes the measured front reach further than the true one: the best values are in part the luckiest ones. The
        standard error does not contain this bias; `resampled` shows its size. It is NaN if a value below the
        reference point has no error.

        Args:
            reference: ``k``; None: `reference_point`.
            draws: resamplings.
            seed: of them.
        """
        at = self.reference_point() if reference is None else reference
        inside = self.rows((self.values < at).all(1).nonzero()[:, 0])
        value = hypervolume(inside.values, at)
        if not bool(inside.errors.isfinite().all()):
            return Estimate(value, float("nan"))
        drawn = self.resampled(draws, seed)
        volumes = torch.tensor([hypervolume(values, at) for values in drawn], dtype=torch.float64)
        return Estimate(value, float(volumes.std()))

    def certainty(self, draws: int = DRAWS, seed: int = 0) -> Tensor:
        """``m`` fractions of the resamplings in which a design is not dominated: 0 is surely beaten, 1 surely not."""
        flags = [non_dominated(values) for values in self.resampled(draws, seed)]
        return torch.stack(flags).double().mean(0)

    def resampled(self, draws: int = DRAWS, seed: int = 0) -> Tensor:
        """The values with further noise of the size of their errors (none where unknown), ``draws x m x k``."""
        generator = torch.Generator().manual_seed(seed)
        normal = torch.randn((draws, *self.values.shape), generator=generator, dtype=torch.float64)
        values, errors = self.values.double().cpu(), self.errors.double().cpu()
        return values + normal * torch.where(errors.isfinite(), errors, 0.0)
