"""Reconstructing the recorded run from its struck strips, without looking at the truth."""

import math
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events

from .calibration import recorded_design
from .data import STRIPS, Pairs, generated, struck
from .lines import LAYERS, LENGTH, Layers, Line
from .track_fit import TrackFit

_MARGIN = 20.0
"""How far outside the layers, in mm, a crossing may be."""

_TYPICAL = 0.2
"""Error of a crossing, in strips, that residuals are compared with."""
_GOOD = 30.0
"""Sum of their squares above which no choice of crossings is a track."""


class Cluster(NamedTuple):
    """Neighbouring struck strips of one layer: where they are (turned azimuth, radians) and how many."""

    place: float
    size: int


def clusters(strip: Tensor, energy: Tensor, layer: int) -> list[Cluster]:
    """Groups of neighbouring strips around the cylinder, at the energy-weighted mean of their strips.

    Args:
        strip: numbers from 1, in any order.
        energy: of each, MeV.
        layer: 0 to 2, inside to outside.
    """
    around = STRIPS[layer]
    struck_strips = dict(zip((strip - 1).tolist(), energy.tolist(), strict=True))
    found = []
    for first in struck_strips:
        if (first - 1) % around in struck_strips and len(struck_strips) < around:
            continue
        size = next(k for k in range(1, around + 1) if (first + k) % around not in struck_strips)
        energies = [struck_strips[(first + k) % around] for k in range(size)]
        mean = sum(k * e for k, e in enumerate(energies)) / sum(energies)
        found.append(Cluster(2 * math.pi * (first + mean) / around, size))
    return found


def refitted() -> tuple[Pairs, int]:
    """The tracks of all events with two clusters in every layer, and how many such events there are.

    Which cluster is where the muon came in, and by how many turns the azimuths have to be shifted, is what the fit of
    smallest residuals says. A track that misses the layers' length or fits badly is left out.

    Raises:
        DataError: if the file is missing or broken.
    """
    event, layer, strip, energy = struck()
    truth = generated()
    complete, tracks = [], []
    for number in event.unique().tolist():
        here = event == number
        found = [clusters(strip[here & (layer == k)], energy[here & (layer == k)], k) for k in range(LAYERS)]
        if all(len(group) == 2 for group in found):
            complete.append(number)
            places = torch.tensor([[cluster.place for cluster in group] for group in found])
            tracks.append(recognised(places, recorded_design()))
    good = [k for k, track in enumerate(tracks) if track is not None]
    at = torch.searchsorted(truth.event, torch.tensor([complete[k] for k in good]))
    fitted = torch.stack([track for track in tracks if track is not None])
    return Pairs(truth.truth[at], truth.momentum[at], fitted, truth.event[at]), len(complete)


def recognised(places: Tensor, phi: DesignPoint) -> Tensor | None:
    """φ, cot θ, z, b of the best of all ways to make a track of two places in each layer; None if none is good.

    Args:
        places: ``3 x 2``, turned azimuths in any order and shifted by any turns.
        phi: one design.
    """
    layers = Layers.of(phi)
    middle = _ways_of_axial(*places[1].tolist())
    reach = (layers.turn[0].abs() * (LENGTH / 2 + _MARGIN)).tolist()
    ways = [_ways(places[layer].tolist(), middle, reach[layer]) for layer in (0, 2)]
    chosen = [sum(zip(inner, middle, outer, strict=True), ()) for inner, outer in product(*ways)]
    if not chosen:
        return None
    candidates = torch.tensor(chosen)
    events = Events.of(torch.zeros(1, len(candidates), 4), candidates[None, ..., None])
    with torch.no_grad():
        fitted = TrackFit()(events, phi).mean[0]
    residual = (_expected(fitted, layers) - candidates) / (_TYPICAL * layers.step.repeat(1, 2))
    height = fitted[:, 2].abs() + Line(*fitted.T).half_chord(layers.radius[0, -1]) * fitted[:, 1].abs()
    inside = fitted.isfinite().all(1) & (height < LENGTH / 2 + _MARGIN)
    distance = torch.where(inside, (residual**2).sum(1), torch.inf)
    return None if float(distance.min()) > _GOOD else _pointing(fitted[distance.argmin()])


def _ways_of_axial(first: float, second: float) -> tuple[float, float]:
    """In and out of the axial layer, which fix the direction; the reverse of it is the same line."""
    return first, first + (second - first) % (2 * math.pi)


def _ways(places: list[float], middle: tuple[float, float], reach: float) -> list[tuple[float, float]]:
    """In and out of a stereo layer: all shifts by whole turns that some z and cot θ within the length explain.

    Args:
        places: of the two clusters.
        middle: in and out of the axial layer.
        reach: largest turn of the azimuth by the winding of the strips, radians.
    """
    ways, turn = [], 2 * math.pi
    for into, out in (places, places[::-1]):
        for one, two in product(range(-2, 4), range(-2, 4)):
            way = (into + turn * one, out + turn * two)
            sums, differences = (sum(way) - sum(middle)) / 2, (way[1] - way[0] - math.pi) / 2
            if abs(sums) < reach and abs(differences) < reach + math.pi / 2:
                ways.append(way)
    return ways


def _expected(track: Tensor, layers: Layers) -> Tensor:
    """Turned azimuths of the six crossings, ``n x 6``."""
    line = Line(*(track[None, :, k] for k in range(4)))
    return torch.stack([layers.measured(line, k, side)[0] for side in (-1, 1) for k in range(LAYERS)], 1)


def _pointing(track: Tensor) -> Tensor:
    """The same line with a direction of positive cot θ and φ in [0, 2π), as the file has it."""
    phi, cot, z, b = track.tolist()
    if cot < 0:
        phi, cot, b = phi + math.pi, -cot, -b
    return torch.tensor([phi % (2 * math.pi), cot, z, b])
