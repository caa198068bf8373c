"""What a random choice is: a law that draws, knows its log-probability and its alternatives."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from mode_opt.errors import SimulationError


@dataclass(frozen=True)
class Alternatives:
    """Other outcomes of a choice, and what the derivative of an expectation owes to each.

    For every function f of the outcome x, and of everything drawn after it,
    ``d E[f] = E[Σ_j d tangent_j · (f(outcome_j) − f(x))]``.

    Attributes:
        outcome: ``J x`` the shape of the outcome.
        tangent: ``J x`` the shape of the choice; only its derivative means something.
    """

    outcome: Tensor
    tangent: Tensor


class Law(ABC):
    """The distribution of an array of independent random choices.

    Attributes:
        parameters: tensors that may carry derivatives with respect to the design.
    """

    discrete = True

    def __init__(self, **parameters: Tensor) -> None:
        self.named = parameters
        self.parameters = tuple(parameters.values())

    @property
    def shape(self) -> torch.Size:
        """Shape of the choices; the outcome has the same but for one-hot outcomes."""
        return self.parameters[0].shape

    @property
    def depends(self) -> bool:
        """Whether a parameter carries a derivative."""
        return torch.is_grad_enabled() and any(parameter.requires_grad for parameter in self.parameters)

    @abstractmethod
    def draw(self, uniform: Tensor) -> Tensor:
        """The outcome of a uniform number, monotone in it (inverse cumulative distribution); no derivative."""

    @abstractmethod
    def log_probability(self, outcome: Tensor) -> Tensor:
        """``ln p(outcome)``, in the shape of the choices, differentiable in the parameters."""

    @abstractmethod
    def alternatives(self, outcome: Tensor, uniform: Tensor) -> Alternatives:
        """Outcomes to compare with ``outcome``; ``uniform`` is fresh randomness for those that need it."""

    @property
    @abstractmethod
    def expected(self) -> Tensor:
        """Mean of the encoded outcome (`encode`), in the shape of the choices, differentiable."""

    def encode(self, outcome: Tensor) -> Tensor:
        """The outcome as one number a choice."""
        return outcome

    def decode(self, number: Tensor) -> Tensor:
        """The outcome that `encode` turned into a number."""
        return number

    def valid(self) -> Tensor:
        """Where the parameters are in range; NaN must come out as False."""
        valid = torch.ones((), dtype=torch.bool, device=self.parameters[0].device)
        for parameter in self.parameters:
            valid = valid & (parameter >= 0) & (parameter < math.inf)
        return valid

    def check(self) -> None:
        """Refuse parameters out of range.

        Raises:
            SimulationError: naming the law and the first wrong parameters.
        """
        valid = self.valid()
        if bool(valid.all()):
            return
        worst = {name: value.expand(valid.shape)[~valid][0].item() for name, value in self.named.items()}
        raise SimulationError(
            f"{type(self).__name__}: {int((~valid).sum())} of {valid.numel()} choices have parameters out of range, "
            f"the first {', '.join(f'{name} = {value:g}' for name, value in worst.items())}"
        )


class SmoothLaw(Law):
    """The law of a real number, whose outcome can also be written as a smooth function of the parameters."""

    discrete = False

    @abstractmethod
    def transform(self, uniform: Tensor) -> Tensor:
        """The outcome with its derivative at fixed uniform number (reparameterisation)."""

    def draw(self, uniform: Tensor) -> Tensor:
        with torch.no_grad():
            return self.transform(uniform)

    def given(self, uniform: Tensor) -> Tensor:
        """The number behind an outcome, with the derivative that it has if the outcome is to stay."""
        with torch.enable_grad():
            point = uniform.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.transform(point).sum(), point)
        moved = self.transform(uniform)
        return uniform - (moved - moved.detach()) / slope


class RelaxableLaw(Law):
    """The law of a class or a coin, which has a continuous relaxation."""

    @abstractmethod
    def relaxed(self, uniform: Tensor, temperature: float) -> Tensor:
        """A point inside the simplex, towards the outcome of `draw` for the same numbers as the temperature falls."""

    @property
    @abstractmethod
    def width(self) -> int | None:
        """Uniform numbers, along a last axis, that one relaxation takes; None for a single one without that axis."""

    @abstractmethod
    def hardened(self, uniform: Tensor) -> Tensor:
        """The outcome that `relaxed` tends to as the temperature falls; no derivative."""

    @abstractmethod
    def given(self, outcome: Tensor, uniform: Tensor) -> Tensor:
        """The numbers behind an outcome, with the derivative that they have if the outcome is to stay.

        Given the outcome, the numbers are uniform in a region that moves with the parameters; a number that keeps
        its relative place in it moves too. ``relaxed(given(outcome, uniform))`` is the relaxation given the outcome,
        equal in value to ``relaxed(uniform)``.

        Args:
            outcome: ``hardened(uniform)``.
            uniform: what was drawn.
        """

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """Expected outcome: the relaxation without noise."""
