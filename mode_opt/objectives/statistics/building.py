"""From channels, samples and modifiers to the tensors of a `Model`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError
from mode_opt.objectives.statistics.model import Model, Parameter
from mode_opt.objectives.statistics.modifiers import (
    HistoSys,
    Lumi,
    Modifier,
    NormFactor,
    NormSys,
    Numbers,
    ShapeFactor,
    ShapeSys,
    StatError,
    power_coefficients,
)


@dataclass(frozen=True, eq=False)
class Sample:
    """Expected counts of one process in one channel.

    Attributes:
        name: unique in the channel.
        counts: ``i`` or ``b x i``, for nominal parameters.
        modifiers: what changes them.
    """

    name: str
    counts: Tensor
    modifiers: Sequence[Modifier] = ()


@dataclass(frozen=True, eq=False)
class Channel:
    """A set of bins, all of whose counts are measured, and the samples that add up to them."""

    name: str
    samples: Sequence[Sample]


@dataclass(frozen=True)
class Settings:
    """What to change of the parameters of a name; None leaves what their modifier says.

    Attributes:
        initial: starting value, which is also the nominal one.
        bounds: lower and upper.
        fixed: whether they are held at ``initial``.
        center: measured value of a normal constraint.
        width: its standard deviation; needed for `Lumi`.
        constrained: False takes a normal constraint away, so that only the data tell of the parameters.
    """

    initial: float | Sequence[float] | None = None
    bounds: tuple[float, float] | None = None
    fixed: bool | None = None
    center: float | None = None
    width: float | None = None
    constrained: bool | None = None


def build(channels: Sequence[Channel], interest: str = "mu", settings: Mapping[str, Settings] | None = None) -> Model:
    r"""Tensors of the model, through which derivatives with respect to counts and uncertainties flow.

    Args:
        channels: in the order of their bins in the data.
        interest: name of the parameter of interest.
        settings: of parameters, by name.

    Raises:
        ConfigurationError: for a parameter of interest that no modifier has, a luminosity without a width, modifiers
            of one name that cannot share parameters.

    Source: K. Cranmer et al., "HistFactory", CERN-OPEN-2012-016.
    """
    return _Builder(channels, dict(settings or {})).model(interest)


@dataclass
class _Builder:
    """Collects what each name does to each cell; a cell is one bin of one sample."""

    channels: Sequence[Channel]
    settings: dict[str, Settings]
    parameters: dict[str, Parameter] = field(init=False, default_factory=dict)
    kinds: dict[str, type[Modifier]] = field(init=False, default_factory=dict)
    factors: list[tuple[str, int, int]] = field(init=False, default_factory=list)
    """name, index within the name, cell"""
    powers: dict[str, list[tuple[slice, Numbers, Numbers]]] = field(init=False, default_factory=dict)
    shifts: dict[str, list[tuple[slice, Tensor, Tensor]]] = field(init=False, default_factory=dict)
    statistical: dict[str, dict[int, list[tuple[Tensor, Tensor]]]] = field(init=False, default_factory=dict)
    """name, index of the channel, counts and uncertainties of the samples"""
    blocks: list[tuple[int, Sample, Tensor]] = field(init=False)
    """index of the channel, sample, its counts as ``b x i``"""

    def __post_init__(self) -> None:
        self.blocks = [
            (number, sample, sample.counts.double().reshape(-1, sample.counts.shape[-1]))
            for number, channel in enumerate(self.channels)
            for sample in channel.samples
        ]

    def model(self, interest: str) -> Model:
        if not self.blocks:
            raise ConfigurationError("channels", [], "at least one channel with a sample")
        start = 0
        for number, sample, counts in self.blocks:
            cells = slice(start, start + counts.shape[1])
            for modifier in sample.modifiers:
                self._add(modifier, number, counts, cells)
            start = cells.stop
        for name, per_channel in self.statistical.items():
            self._finish_statistical(name, per_channel)
        if interest not in self.parameters:
            raise ConfigurationError("interest", interest, f"one of the parameters {', '.join(self.parameters)}")
        self._apply_settings()
        return self._assembled(interest, start)

    def _add(self, modifier: Modifier, channel: int, counts: Tensor, cells: slice) -> None:
        name, kind = modifier.name, type(modifier)
        known = self.kinds.setdefault(name, kind)
        if known is not kind and {known, kind} != {NormSys, HistoSys}:
            raise ConfigurationError(f"modifiers.{name}", kind.__name__, f"a name that no {known.__name__} has")
        match modifier:
            case NormSys():
                if not all(bool((torch.as_tensor(side) > 0).all()) for side in (modifier.low, modifier.high)):
                    raise ConfigurationError(f"modifiers.{name}", (modifier.low, modifier.high), "positive factors")
                self._declare(name, _standard(name))
                self.powers.setdefault(name, []).append((cells, modifier.low, modifier.high))
            case HistoSys():
                self._declare(name, _standard(name))
                low, high = self._rows(modifier.low, counts), self._rows(modifier.high, counts)
                self.shifts.setdefault(name, []).append((cells, low - counts, high - counts))
            case StatError():
                per_channel = self.statistical.setdefault(name, {})
                per_channel.setdefault(channel, []).append((counts, self._rows(modifier.uncertainty, counts)))
                before = sum(samples[0][0].shape[1] for other, samples in per_channel.items() if other != channel)
                self.factors += [(name, before + k, cell) for k, cell in enumerate(range(cells.start, cells.stop))]
                self.parameters.setdefault(name, Parameter(name, 0, (), (1e-10, 10.0)))
            case _:
                self._add_factor(modifier, counts, cells)

    def _add_factor(self, modifier: Modifier, counts: Tensor, cells: slice) -> None:
        """Those that multiply cells by a parameter and need no other sample."""
        name, size = modifier.name, counts.shape[1]
        match modifier:
            case NormFactor():
                parameter = Parameter(name, 1, (1.0,), (0.0, 10.0))
            case Lumi():
                given = self.settings.get(name, Settings())
                if given.width is None or given.center is None:
                    raise ConfigurationError(f"settings.{name}", given, "center and width of the luminosity")
                one = torch.ones(1, 1, dtype=torch.float64)
                parameter = Parameter(name, 1, (given.center,), (0.0, 10 * given.center), centers=one)
            case ShapeFactor():
                parameter = Parameter(name, size, (1.0,) * size, (0.0, 10.0))
            case ShapeSys():
                if name in self.parameters:
                    raise ConfigurationError(f"modifiers.{name}", name, "a ShapeSys name used once")
                parameter = _poisson(name, counts, self._rows(modifier.uncertainty, counts))
            case _:
                raise ConfigurationError(f"modifiers.{name}", type(modifier).__name__, "a modifier of HistFactory")
        self._declare(name, parameter)
        single = isinstance(modifier, (NormFactor, Lumi))
        self.factors += [(name, 0 if single else k, cells.start + k) for k in range(size)]

    def _rows(self, values: Tensor, counts: Tensor) -> Tensor:
        rows = torch.as_tensor(values).to(counts).reshape(-1, values.shape[-1])
        if rows.shape[1] != counts.shape[1]:
            raise ConfigurationError("modifiers", tuple(values.shape), f"one number for each of {counts.shape[1]} bins")
        return rows

    def _declare(self, name: str, parameter: Parameter) -> None:
        known = self.parameters.setdefault(name, parameter)
        if known.size != parameter.size:
            raise ConfigurationError(f"modifiers.{name}", parameter.size, f"{known.size} bins, as elsewhere")

    def _finish_statistical(self, name: str, per_channel: dict[int, list[tuple[Tensor, Tensor]]]) -> None:
        widths = []
        for samples in per_channel.values():
            total, square = sum(c for c, _ in samples), sum(d**2 for _, d in samples)
            assert isinstance(total, Tensor) and isinstance(square, Tensor)
            some = (total > 0) & (square > 0)
            ones = torch.ones_like(total + square)
            root = torch.where(some, square, ones).sqrt() / torch.where(some, total, ones)
            widths.append(torch.where(some, root, torch.zeros_like(root)))
        rows = max(w.shape[0] for w in widths)
        width = torch.cat([w.expand(rows, -1) for w in widths], 1)
        held, size = width == 0, width.shape[1]
        self.parameters[name] = Parameter(
            name,
            size,
            (1.0,) * size,
            (1e-10, 10.0),
            held=held,
            centers=torch.ones_like(width),
            widths=torch.where(held, torch.ones_like(width), width),
        )

    def _apply_settings(self) -> None:
        for name, given in self.settings.items():
            if name in self.parameters:
                self.parameters[name] = self.parameters[name].changed(
                    given.initial, given.bounds, given.fixed, given.center, given.width, given.constrained
                )

    def _assembled(self, interest: str, cells: int) -> Model:
        offsets, count = {}, 0
        for name, parameter in self.parameters.items():
            offsets[name], count = count, count + parameter.size
        mask = torch.zeros(count, cells, dtype=torch.bool)
        rows, columns = (
            [offsets[name] + index for name, index, _ in self.factors],
            [cell for _, _, cell in self.factors],
        )
        mask[rows, columns] = True
        used = mask.any(1).nonzero().squeeze(1)
        low, high = self._stack(self.powers, 1.0, cells)
        down, up = self._stack(self.shifts, 0.0, cells)
        members = [*used.tolist(), *(offsets[n] for n in self.powers), *(offsets[n] for n in self.shifts)]
        spread = torch.zeros(len(members), count, dtype=torch.float64)
        spread[torch.arange(len(members)), members] = 1
        return Model.of(
            parameters=tuple(self.parameters.values()),
            interest=offsets[interest],
            nominal=self._joined([counts for _, _, counts in self.blocks]),
            sums=self._sums(cells),
            factor=mask[used],
            low=low,
            high=high,
            power=power_coefficients(low, high),
            down=down,
            up=up,
            members=torch.tensor(members, dtype=torch.long),
            spread=spread,
        )

    def _joined(self, blocks: Sequence[Tensor]) -> Tensor:
        designs = max(block.shape[0] for block in blocks)
        return torch.cat([block.expand(designs, -1) for block in blocks], 1)

    def _sums(self, cells: int) -> Tensor:
        """``c x i``, 1 where a cell belongs to a bin."""
        starts, sizes, bins = {}, {}, 0
        for number, _, counts in self.blocks:
            if number not in starts:
                starts[number], sizes[number], bins = bins, counts.shape[1], bins + counts.shape[1]
        sums, row = torch.zeros(cells, bins, dtype=torch.float64), 0
        for number, sample, counts in self.blocks:
            size, column = counts.shape[1], starts[number]
            if size != sizes[number]:
                raise ConfigurationError(f"samples.{sample.name}", size, "as many bins as the channel has")
            sums[row : row + size, column : column + size] = torch.eye(size, dtype=torch.float64)
            row += size
        return sums

    def _stack(self, effects: Mapping[str, list], neutral: float, cells: int) -> tuple[Tensor, Tensor]:
        """``b x names x cells`` of the low and the high effect."""
        pair = []
        for side in (1, 2):
            rows = []
            for entries in effects.values():
                row = torch.full((1, cells), neutral, dtype=torch.float64)
                for entry in entries:
                    value = torch.as_tensor(entry[side], dtype=torch.float64)
                    value = value.reshape(-1, 1) if value.ndim < 2 else value
                    row = row.expand(max(row.shape[0], value.shape[0]), -1).clone()
                    row[:, entry[0]] = value
                rows.append(row)
            designs = max((row.shape[0] for row in rows), default=1)
            stacked = [row.expand(designs, -1) for row in rows]
            pair.append(torch.stack(stacked, 1) if stacked else torch.zeros(1, 0, cells, dtype=torch.float64))
        return pair[0], pair[1]


def _standard(name: str) -> Parameter:
    one = torch.ones(1, 1, dtype=torch.float64)
    return Parameter(name, 1, (0.0,), (-5.0, 5.0), centers=torch.zeros_like(one), widths=one)


def _poisson(name: str, counts: Tensor, uncertainty: Tensor) -> Parameter:
    good = (counts > 0) & (uncertainty > 0)
    ones = torch.ones_like(counts + uncertainty)
    rate = (torch.where(good, counts, ones) / torch.where(good, uncertainty, ones)) ** 2
    size = counts.shape[1]
    return Parameter(name, size, (1.0,) * size, (1e-10, 10.0), held=~good, rates=rate)
