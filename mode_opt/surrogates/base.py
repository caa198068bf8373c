"""What a surrogate is, and the coordinates in which it learns."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.simulation import DifferentiableSimulator
from mode_opt.surrogates.training import FitReport

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction done."""


def silent(what: str, fraction: float) -> None:
    """A progress callback that shows nothing."""


class Surrogate(DifferentiableSimulator):
    """A model of p(hits | φ, primaries) learnt from simulated events; its samples carry derivatives.

    Attributes:
        validation: how well it stands for its simulator, as ``surrogate.json`` (title, rows, notes);
            None until somebody has measured it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.validation: dict[str, Any] | None = None

    def columns(self) -> dict[str, float]:
        """What else it costs or says, as columns of ``history.csv``; those of several surrogates are summed."""
        return {}

    @abstractmethod
    def fit(
        self,
        phi: DesignPoint,
        primaries: Events,
        events: Events,
        *,
        seed: int = 0,
        warm: bool = False,
        progress: Progress = silent,
    ) -> FitReport:
        """Learn from events.

        Args:
            phi: ``b`` designs. Events with a design each are ``b`` designs of ``n = 1`` events.
            primaries: of ``b`` or 1 designs.
            events: what the simulator made of them, ``b x n``.
            seed: of initial weights, batches and the choice of held-out designs; the same seed gives the same
                weights on the same machine.
            warm: start from the present weights rather than from new ones (refits in a neighbourhood).
            progress: told what is being done and the fraction done.

        Raises:
            NonFiniteError: for NaN or infinity in the data or in the loss.
            ShapeError: for events, primaries and designs that do not fit each other.
        """


class Coordinates(ABC):
    """Numbers in which a density is easy to learn, and the way back to hits.

    Implementations hold no weights; physics (units, scaling laws, prior knowledge) belongs here.
    """

    @abstractmethod
    def condition(self, phi: DesignPoint, primaries: Events) -> Tensor:
        """``b x n x c``, what the density is conditioned on, differentiable in φ and primaries."""

    @abstractmethod
    def features(self, events: Events, condition: Tensor, generator: torch.Generator | None) -> Tensor:
        """``b x n x k`` from hits; in training the generator makes discrete values continuous."""

    @abstractmethod
    def events(self, features: Tensor, phi: DesignPoint, primaries: Events) -> Events:
        """Events from features ``b x n x k``, differentiable in features, φ and primaries."""
