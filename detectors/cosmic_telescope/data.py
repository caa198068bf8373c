"""The recorded Geant4 run: generated tracks, reconstructed tracks and struck strips."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from mode_opt.data import Branch, Ragged, RootReader
from mode_opt.errors import DataError

from .lines import LENGTH

DATA = Path(__file__).parent / "data" / "uproot-from-geant4.root"
STRIPS = (88, 108, 99)
"""Strips of each layer, inside to outside; strip 1 is where the turned azimuth is zero."""
_RAY = {"phi": None, "cot": None, "z": "m", "b": "m"}


@final
@dataclass(frozen=True)
class Pairs:
    """Generated tracks; φ (radians), cot θ, z (mm), b (mm) in columns.

    Attributes:
        truth: ``n x 4``.
        momentum: ``n``, MeV.
        found: ``n x 4``, what the program that wrote the file reconstructed; empty for `generated`.
        event: ``n``, numbers of the events.
    """

    truth: Tensor
    momentum: Tensor
    found: Tensor
    event: Tensor


def generated() -> Pairs:
    """All generated tracks.

    Raises:
        DataError: if the file is missing or broken.
    """
    columns = _read("GeneratedTracks", _RAY | {"p": "GeV"})
    return Pairs(_rays(columns), columns["p"], columns["phi"].new_zeros((0, 4)), columns["Event"].long())


def reconstructed() -> Pairs:
    """The tracks that were reconstructed, with their truth, in the order of the events.

    Raises:
        DataError: if the file is missing or broken, or a track has no truth.
    """
    tracks, truth = _read("TrackedRays", _RAY), generated()
    number = tracks["Event"].long()
    at = torch.searchsorted(truth.event, number)
    if not torch.equal(truth.event[at.clamp(max=len(truth.event) - 1)], number):
        raise DataError(f"{DATA}: a reconstructed track has no generated one")
    return Pairs(truth.truth[at], truth.momentum[at], _rays(tracks), number)


def accepted(pairs: Pairs, bore: float = 154.0, outer: float = 187.3) -> Tensor:
    """Which tracks pass the bore and cross every layer twice within its length, ``n`` booleans.

    Args:
        pairs: tracks.
        bore: inner radius of the core, mm.
        outer: radius of the outer layer, mm.
    """
    _, cot, z, b = pairs.truth.T
    reach = (outer**2 - b**2).clamp(min=0.0).sqrt() * cot.abs()
    return (b.abs() < bore) & (z.abs() + reach < LENGTH / 2)


def struck() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Event, layer (0 to 2, inside to outside), strip (from 1) and energy (MeV) of every struck strip.

    Raises:
        DataError: if the file is missing or broken.
    """
    columns = _read("HitStrips", {"Laystrip": None, "Energy": "MeV"})
    number = columns["Laystrip"].long()
    return columns["Event"].long(), number // 1000 - 1, number % 1000, columns["Energy"]


def _read(tree: str, branches: dict[str, str | None]) -> dict[str, Tensor]:
    wanted = {name: Branch(name, unit) for name, unit in {"Event": None, **branches}.items()}
    found: dict[str, Tensor] = {}
    columns = RootReader(DATA, wanted, tree=tree).read()
    for name in wanted:
        column = columns[name]
        if isinstance(column, Ragged):
            raise DataError(f"{DATA}: {name} of {tree} is jagged")
        found[name] = column if name == "Event" else column.to(torch.get_default_dtype())
    return found


def _rays(columns: dict[str, Tensor]) -> Tensor:
    return torch.stack([columns[name] for name in _RAY], 1)
