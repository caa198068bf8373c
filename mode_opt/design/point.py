"""Physical values of one or more designs, addressed by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError, ShapeError

Derived = Callable[["DesignPoint"], Tensor]


@dataclass(frozen=True)
class Layout:
    """Which columns of ``b x d`` belong to which parameter.

    Attributes:
        columns: name of each parameter and its slice of the ``d`` columns.
        centre: ``d`` numbers, middle of each column's range, in field units.
        scale: ``d`` numbers, half of each column's range, in field units.
        derived: name of each derived quantity and the function that computes it, ``b x size``.
        options: names of the options of each categorical parameter (its columns are their probabilities).
    """

    columns: Mapping[str, slice]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    derived: Mapping[str, Derived] = field(default_factory=dict)
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of parameters and derived quantities."""
        return (*self.columns, *self.derived)


@dataclass(frozen=True, eq=False)
class DesignPoint:
    """Physical values φ of ``b`` designs in field units (mm, MeV, ns, tesla, radians).

    ``phi["gap_thickness"]`` is ``b x 1`` for a scalar, ``b x size`` for an array, ``b x options``
    (probabilities) for a categorical parameter; derived quantities are computed when asked for.

    Attributes:
        values: ``b x d``.
        layout: which column is what.
    """

    values: Tensor
    layout: Layout

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.layout.centre):
            raise ShapeError("DesignPoint.values", self.values.shape, f"b x {len(self.layout.centre)}")

    @classmethod
    def of(cls, **values: float | Tensor) -> Self:
        """A point of numbers or ``b x size`` tensors, without bounds: ``DesignPoint.of(thickness=5.7)``."""
        blocks = {name: torch.as_tensor(value, dtype=torch.get_default_dtype()) for name, value in values.items()}
        blocks = {name: block.reshape(1, -1) if block.ndim < 2 else block for name, block in blocks.items()}
        columns, start = {}, 0
        for name, block in blocks.items():
            columns[name] = slice(start, start + block.shape[1])
            start += block.shape[1]
        designs = max(block.shape[0] for block in blocks.values())
        joined = torch.cat([block.expand(designs, -1) for block in blocks.values()], dim=1)
        return cls(joined, Layout(columns, (0.0,) * start, (1.0,) * start))

    def __getitem__(self, name: str) -> Tensor:
        if name in self.layout.columns:
            return self.values[:, self.layout.columns[name]]
        if name in self.layout.derived:
            return self.layout.derived[name](self)
        raise ConfigurationError("design", name, f"one of {', '.join(self.layout.names)}")

    def __contains__(self, name: str) -> bool:
        return name in self.layout.columns or name in self.layout.derived

    @property
    def designs(self) -> int:
        """``b``."""
        return self.values.shape[0]

    def normalised(self) -> Tensor:
        """``b x d``, each column scaled to about [-1, 1] over its bounds: the input of networks."""
        centre = self.values.new_tensor(self.layout.centre)
        return (self.values - centre) / self.values.new_tensor(self.layout.scale)

    def design(self, index: int) -> Self:
        """One of the designs, as ``b = 1``."""
        return replace(self, values=self.values[index : index + 1])

    def detach(self) -> Self:
        """The same values without derivatives."""
        return replace(self, values=self.values.detach())
