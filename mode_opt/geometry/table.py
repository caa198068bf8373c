"""What a detector weighs, costs and puts in the way of the beam."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

from mode_opt.geometry.rays import Crossing, crossings
from mode_opt.geometry.volumes import Volume

COLUMNS = {
    "kind": "kind",
    "material": "material",
    "count": "count",
    "thinnest": "thinnest / mm",
    "thickest": "thickest / mm",
    "on_beam": "on beam / mm",
    "radiation_lengths": "X0",
    "interaction_lengths": "lambda_I",
    "volume": "volume / cm3",
    "mass": "mass / kg",
    "channels": "channels",
    "cost": "cost",
}
"""Fields of `Row` and their headings in files."""

SHOWN = (
    "kind",
    "material",
    "count",
    "thickness / mm",
    "on beam / mm",
    "X0",
    "lambda_I",
    "mass / kg",
    "channels",
    "cost",
)


@final
@dataclass(frozen=True)
class Row:
    """The volumes of one kind and material.

    Attributes:
        kind: `Volume.label`.
        material: its name.
        count: number of volumes.
        thinnest, thickest: smallest and largest size along their own z, mm.
        on_beam: length of the beam's line inside them, mm, daughters left out.
        radiation_lengths, interaction_lengths: the same in ``X0`` and nuclear interaction lengths.
        volume, mass: cm3 and kg, daughters left out.
        channels: of the readout.
        cost: amount by currency; empty if nothing has a price.
        unpriced: number of volumes without a price.
    """

    kind: str
    material: str
    count: int
    thinnest: float
    thickest: float
    on_beam: float
    radiation_lengths: float
    interaction_lengths: float
    volume: float
    mass: float
    channels: int
    cost: Mapping[str, float]
    unpriced: int


@final
@dataclass(frozen=True)
class EngineeringTable:
    """Rows by kind and material, in the order of the tree, and their sum.

    Attributes:
        rows: one for each kind and material.
        total: their sum; ``kind`` is ``total``.
    """

    rows: Sequence[Row]
    total: Row

    def text(self) -> str:
        """For a terminal: columns of equal width, four digits."""
        cells = [list(SHOWN), *(_shown(row) for row in self._all())]
        widths = [max(len(row[k]) for row in cells) for k in range(len(SHOWN))]
        lines = ["  ".join(_aligned(row, widths)).rstrip() for row in cells]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]]) + "\n"

    def csv(self) -> str:
        """All digits; the last row is the total."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS.values(), "volumes without a price"])
        for row in self._all():
            writer.writerow([*(_exact(getattr(row, name)) for name in COLUMNS), row.unpriced])
        return file.getvalue()

    def as_json(self) -> dict[str, Any]:
        """Rows and total as dictionaries, for ``json.dumps``."""
        return {"rows": [asdict(row) for row in self.rows], "total": asdict(self.total)}

    def _all(self) -> list[Row]:
        return [*self.rows, self.total]


def engineering_table(world: Volume, beam: Sequence[float] = (0.0, 0.0)) -> EngineeringTable:
    """Everything in the world; the world's own material, which is the hall, is left out.

    Args:
        world: the outermost volume.
        beam: x and y (mm) of the line along z on which lengths are counted; one along a face of two neighbours
            passes through neither.

    Raises:
        ConfigurationError: for a beam that is no pair of numbers.
    """
    x, y = beam
    pieces = crossings(world, (x, y, 0.0), (0.0, 0.0, 1.0))
    groups: dict[tuple[str, str], list[tuple[str, Volume]]] = {}
    for path, volume in world.walk():
        if volume is not world:
            groups.setdefault((volume.label, volume.material.name), []).append((path, volume))
    met: dict[tuple[str, str], list[Crossing]] = {}
    for piece in pieces:
        met.setdefault((piece.volume.label, piece.volume.material.name), []).append(piece)
    rows = [
        _row(key, [v for _, v in members], [p for p in met.get(key, []) if p.volume is not world])
        for key, members in groups.items()
    ]
    return EngineeringTable(rows, _total(rows))


def _row(key: tuple[str, str], volumes: Sequence[Volume], pieces: Sequence[Crossing]) -> Row:
    sizes = [2 * volume.solid.half_size[2] for volume in volumes]
    costs = [volume.cost for volume in volumes]
    kind, material = key
    return Row(
        kind,
        material,
        len(volumes),
        min(sizes),
        max(sizes),
        math.fsum(piece.length for piece in pieces),
        math.fsum(piece.radiation_lengths for piece in pieces),
        math.fsum(piece.interaction_lengths for piece in pieces),
        math.fsum(volume.own_volume for volume in volumes) / 1000,
        math.fsum(volume.own_mass for volume in volumes),
        sum(volume.channels for volume in volumes),
        _sums({cost[0]: cost[1]} for cost in costs if cost is not None),
        sum(cost is None for cost in costs),
    )


def _total(rows: Sequence[Row]) -> Row:
    return Row(
        "total",
        "",
        sum(row.count for row in rows),
        min((row.thinnest for row in rows), default=0.0),
        max((row.thickest for row in rows), default=0.0),
        math.fsum(row.on_beam for row in rows),
        math.fsum(row.radiation_lengths for row in rows),
        math.fsum(row.interaction_lengths for row in rows),
        math.fsum(row.volume for row in rows),
        math.fsum(row.mass for row in rows),
        sum(row.channels for row in rows),
        _sums(row.cost for row in rows),
        sum(row.unpriced for row in rows),
    )


def _sums(costs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for cost in costs:
        for currency, amount in cost.items():
            found[currency] = found.get(currency, 0.0) + amount
    return found


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Kind and material to the left, numbers to the right."""
    cells = zip(row, widths, strict=True)
    return [cell.ljust(width) if k < 2 else cell.rjust(width) for k, (cell, width) in enumerate(cells)]


def _shown(row: Row) -> list[str]:
    """The cells of a row in four digits."""
    ends = dict.fromkeys(f"{size:.4g}" for size in (row.thinnest, row.thickest))
    lengths = row.on_beam, row.radiation_lengths, row.interaction_lengths, row.mass
    numbers = [f"{number:.4g}" for number in lengths]
    cost = _money({currency: _plain(amount) for currency, amount in row.cost.items()}) or "-"
    return [row.kind, row.material, str(row.count), " to ".join(ends), *numbers, str(row.channels), cost]


def _exact(value: Any) -> Any:
    return _money({k: repr(v) for k, v in value.items()}) if isinstance(value, Mapping) else value


def _money(cost: Mapping[str, str]) -> str:
    return " + ".join(f"{amount} {currency}" for currency, amount in cost.items())


def _plain(amount: float) -> str:
    """Without exponents up to a million millions."""
    return f"{amount:.0f}" if 1000 <= abs(amount) < 1e12 else f"{amount:.4g}"
