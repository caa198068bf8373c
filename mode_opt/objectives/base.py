"""What an objective is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar, cast, final

from torch import Tensor, nn
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.events import Events

Reconstruct = Callable[[Events, DesignPoint], Distribution]
"""Events and their designs to the belief: a reconstruction, as objectives see it."""


class Objective(nn.Module, ABC):
    """A number per design, smaller is better, computed with the weights of the events.

    Because every average is a weighted one, gradients that come through the weights (score functions) need no
    code of their own.
    """

    @abstractmethod
    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        """``b`` values for ``b`` designs; ``belief`` has batch shape ``b x n`` and event shape ``t``."""

    @property
    def additive(self) -> bool:
        """Whether the value is the weighted mean over the events of a number of each event.

        Then a single event has a value, and the events of an estimate may have a design each.
        """
        return False

    @property
    def parts(self) -> Mapping[str, "Objective"]:
        """The objectives that it is made of, each of which means something by itself; by name, none if it is simple."""
        return {}

    def judged(
        self, events: Events, belief: Distribution, phi: DesignPoint, reconstruct: Reconstruct | None = None
    ) -> Tensor:
        """The same value, for objectives that look at other events than these (`Robust`) and reconstruct those too.

        Args:
            events: as for `forward`.
            belief: what ``reconstruct`` made of the events.
            phi: as for `forward`.
            reconstruct: how events become beliefs; an objective that needs none other leaves it alone.
        """
        return self(events, belief, phi)


Module = TypeVar("Module", bound=nn.Module)


@final
class Named(nn.ModuleList, Generic[Module]):
    """Modules by name, which may be any text: names of `torch.nn.ModuleDict` must not hold dots, or be its methods'."""

    def __init__(self, modules: Mapping[str, Module]) -> None:
        super().__init__(modules.values())
        self.names = tuple(modules)

    def by_name(self) -> dict[str, Module]:
        """The modules, in their order."""
        return {name: cast(Module, module) for name, module in zip(self.names, self, strict=True)}


class Composite(Objective, ABC):
    """An objective made of objectives of the same events."""

    @abstractmethod
    def combined(self, value: Callable[[Objective], Tensor]) -> Tensor:
        """``b`` values, from those of the parts."""

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        return self.judged(events, belief, phi)

    def judged(
        self, events: Events, belief: Distribution, phi: DesignPoint, reconstruct: Reconstruct | None = None
    ) -> Tensor:
        return self.combined(lambda part: part.judged(events, belief, phi, reconstruct))
