"""What is known of an event before it is simulated."""

from collections.abc import Sequence
from typing import final

import torch

from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation import PrimarySource


@final
class UniformInputs(PrimarySource):
    """Known inputs ``x_k ~ U(low_k, high_k)``: hits ``1 x n x 1 x k``, and the truth is the same ``1 x n x k``.

    Args:
        low, high: ``k`` numbers each.
        names: of the inputs; default x1, x2, ….
        units: of the inputs; default none.

    Raises:
        ConfigurationError: for numbers that do not rise from low to high, or lists of different lengths.
    """

    low: torch.Tensor
    high: torch.Tensor

    def __init__(
        self,
        low: Sequence[float] = (-10.0,),
        high: Sequence[float] = (10.0,),
        names: Sequence[str] | None = None,
        units: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if not low or len(low) != len(high) or any(not a < b for a, b in zip(low, high, strict=True)):
            raise ConfigurationError("primaries.high", list(high), f"numbers above {list(low)}, one by one")
        for key, given in (("names", names), ("units", units)):
            if given is not None and len(given) != len(low):
                raise ConfigurationError(f"primaries.{key}", list(given), f"{len(low)} texts")
        self.register_buffer("low", torch.tensor(low, dtype=torch.get_default_dtype()))
        self.register_buffer("high", torch.tensor(high, dtype=torch.get_default_dtype()))
        self.names = tuple(names or (f"x{k + 1}" for k in range(len(low))))
        self.units = tuple(units or ("" for _ in low))

    @property
    def truth_names(self) -> tuple[str, ...]:
        return self.names

    @property
    def truth_units(self) -> tuple[str, ...]:
        return self.units

    def sample(self, count: int, generator: torch.Generator | None = None) -> Events:
        device = torch.device("cpu") if generator is None else generator.device
        low, high = self.low.to(device), self.high.to(device)
        x = low + (high - low) * torch.rand((1, count, len(self.names)), generator=generator, device=device)
        return Events.of(x, x.unsqueeze(2))
