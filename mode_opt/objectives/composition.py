"""Objectives made of objectives, and objectives of the design alone."""

from collections.abc import Callable, Mapping
from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives.base import Composite, Named, Objective


@final
class DesignCost(Objective):
    """A quantity of the design alone, such as its cost, length or mass, divided by a scale: ``Σ q(φ) / scale``.

    Args:
        quantity: name of a parameter or a derived quantity.
        scale: what counts as one, in field units.

    Raises:
        ConfigurationError: if the scale is not positive.
    """

    def __init__(self, quantity: str, scale: float = 1.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ConfigurationError("objective.scale", scale, "a positive number")
        self.quantity, self.scale = quantity, scale

    @property
    def additive(self) -> bool:
        return True

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        return phi[self.quantity].sum(-1) / self.scale


@final
class WeightedSum(Composite):
    """``Σ_k w_k J_k``.

    Args:
        terms: objectives by name.
        weights: factor of each, by name; all names must be given.

    Raises:
        ConfigurationError: if names differ or there is no term.
    """

    def __init__(self, terms: Mapping[str, Objective], weights: Mapping[str, float]) -> None:
        super().__init__()
        if not terms or set(terms) != set(weights):
            raise ConfigurationError("objective.weights", sorted(weights), f"a weight for each of {sorted(terms)}")
        self.terms, self.weights = Named(terms), dict(weights)

    @property
    def additive(self) -> bool:
        return all(term.additive for term in self.parts.values())

    @property
    def parts(self) -> Mapping[str, Objective]:
        return self.terms.by_name()

    def combined(self, value: Callable[[Objective], Tensor]) -> Tensor:
        return torch.stack([self.weights[k] * value(term) for k, term in self.parts.items()]).sum(0)
