"""Observables of a shower, computed from the energy in the gap of each layer, and the same as formulas for uproot."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError

BRANCH = "edep_gap"
"""Branch that holds the energy in the gap of each layer, MeV."""


def weighted_sum(weights: Iterable[float]) -> str:
    """``Σ w_k edep_gap[k]`` as uproot evaluates it for each entry; layers without weight are left out."""
    terms = [
        (f"{weight:.9g} * " if weight != 1 else "") + f"{BRANCH}[:, {k}]" for k, weight in enumerate(weights) if weight
    ]
    return f"({' + '.join(terms).replace('+ -', '- ')})" if terms else "0"


def moment_aliases(layers: int) -> dict[str, str]:
    """Sums over all layers that the conditions of the observables refer to, as aliases for uproot."""
    return {f"moment_{p}": weighted_sum((k + 0.5) ** p for k in range(layers)) for p in range(3)}


class Observable(ABC):
    """A number computed from the gap energies of the layers (``... x layers``, MeV), and a cut on it in uproot.

    Depths count layers from the front face: the centre of the first layer is at 0.5. Showers that left no energy in
    any gap have no observables; their values mean nothing and no condition holds for them.
    """

    @abstractmethod
    def __call__(self, deposits: Tensor) -> Tensor:
        """``...`` values."""

    @abstractmethod
    def difference(self, threshold: float, layers: int) -> tuple[str, str]:
        """Two formulas over ``edep_gap`` and `moment_aliases`: the observable is above the threshold where the first
        exceeds the second."""

    @final
    def condition(self, keep: str, threshold: float, layers: int) -> str:
        """The cut ``observable > threshold`` (``keep = "above"``) or ``<`` (``"below"``), without a division."""
        first, second = self.difference(threshold, layers)
        return f"({first} > {second})" if keep == "above" else f"({first} < {second})"


@final
@dataclass(frozen=True)
class Start(Observable):
    """Depth by which a fraction of the energy has been deposited, linearly interpolated within a layer.

    Attributes:
        fraction: of the energy, in (0, 1).
    """

    fraction: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.fraction < 1:
            raise ConfigurationError("detector.cuts.fraction", self.fraction, "a fraction between 0 and 1")

    def __call__(self, deposits: Tensor) -> Tensor:
        cumulative = deposits.cumsum(-1)
        goal = self.fraction * cumulative[..., -1:]
        layer = (cumulative < goal).sum(-1, keepdim=True).clamp_max(deposits.shape[-1] - 1)
        inside = deposits.gather(-1, layer)
        missing = goal - (cumulative.gather(-1, layer) - inside)
        return (layer + missing / inside.clamp_min(torch.finfo(inside.dtype).tiny)).squeeze(-1)

    def difference(self, threshold: float, layers: int) -> tuple[str, str]:
        # The start is beyond t where the energy in front of t has not yet reached the fraction.
        before = weighted_sum(min(max(threshold - k, 0.0), 1.0) for k in range(layers))
        return f"{self.fraction:.9g} * moment_0", before


@final
@dataclass(frozen=True)
class Depth(Observable):
    """Mean depth, weighted with the energy."""

    def __call__(self, deposits: Tensor) -> Tensor:
        return _moment(deposits, 1) / _moment(deposits, 0)

    def difference(self, threshold: float, layers: int) -> tuple[str, str]:
        return "moment_1", f"{threshold:.9g} * moment_0"


@final
@dataclass(frozen=True)
class Width(Observable):
    """Standard deviation of the depth, weighted with the energy."""

    def __call__(self, deposits: Tensor) -> Tensor:
        total = _moment(deposits, 0)
        variance = _moment(deposits, 2) / total - (_moment(deposits, 1) / total) ** 2
        return variance.clamp_min(0.0).sqrt()

    def difference(self, threshold: float, layers: int) -> tuple[str, str]:
        return "moment_2 * moment_0 - moment_1**2", f"({threshold:.9g} * moment_0)**2"


@final
@dataclass(frozen=True)
class Front(Observable):
    """Fraction of the energy in the first layers.

    Attributes:
        first: number of layers.
    """

    first: int = 15

    def __post_init__(self) -> None:
        if self.first < 1:
            raise ConfigurationError("detector.cuts.first", self.first, "at least one layer")

    def __call__(self, deposits: Tensor) -> Tensor:
        return deposits[..., : self.first].sum(-1) / _moment(deposits, 0)

    def difference(self, threshold: float, layers: int) -> tuple[str, str]:
        return weighted_sum([1.0] * min(self.first, layers)), f"{threshold:.9g} * moment_0"


@final
@dataclass(frozen=True)
class Layer(Observable):
    """Energy in one layer, MeV.

    Attributes:
        index: of the layer, 0 is the first.
    """

    index: int = 0

    def __call__(self, deposits: Tensor) -> Tensor:
        return deposits[..., self.index]

    def difference(self, threshold: float, layers: int) -> tuple[str, str]:
        # Multiplied by the whole energy, so that no condition holds for a shower without any.
        return f"{BRANCH}[:, {self.index}] * moment_0", f"{threshold:.9g} * moment_0"


OBSERVABLES: Mapping[str, type[Observable]] = {
    "start": Start,
    "depth": Depth,
    "width": Width,
    "front": Front,
    "layer": Layer,
}
"""Kinds of observables by name."""


def observable(kind: str, key: str, **options: Any) -> Observable:
    """The observable of that kind with these options; ``key`` is the configuration key for messages.

    Raises:
        ConfigurationError: for an unknown kind or option.
    """
    if kind not in OBSERVABLES:
        raise ConfigurationError(f"{key}.observable", kind, f"one of {', '.join(OBSERVABLES)}")
    known = tuple(OBSERVABLES[kind].__dataclass_fields__)  # type: ignore[attr-defined]
    for name, value in options.items():
        if name not in known:
            raise ConfigurationError(
                f"{key}.{name}", value, f"no such option: {kind} knows {', '.join(known) or 'none'}"
            )
    return OBSERVABLES[kind](**options)


def _moment(deposits: Tensor, power: int) -> Tensor:
    """``Σ_k (k + 1/2)^p e_k``; the energy (p = 0) is kept above 0."""
    centre = torch.arange(deposits.shape[-1], dtype=deposits.dtype, device=deposits.device) + 0.5
    moment = (deposits * centre**power).sum(-1)
    return moment.clamp_min(torch.finfo(deposits.dtype).tiny) if power == 0 else moment
