"""How often the crossings of a design are put together to the right track: what the twin takes for granted."""

import math
from typing import NamedTuple

import torch

from mode_opt.design import DesignPoint
from mode_opt.experiment import Detector
from mode_opt.simulation import stream

from .calibration import residuals
from .refit import recognised
from .track_fit import TrackFit


class Recognition(NamedTuple):
    """Of simulated tracks with six perfect clusters, which fraction is found.

    Attributes:
        right: as the track that fits when one knows which crossing is which.
        wrong: as another one.
        lost: not at all.
        tracks: that were simulated.
    """

    right: float
    wrong: float
    lost: float
    tracks: int


def recognition(detector: Detector, phi: DesignPoint, tracks: int = 500, seed: int = 0) -> Recognition:
    """Tracks of the simulator ``strips``, their crossings in random order and without whole turns, put together again.

    Args:
        detector: the telescope.
        phi: one design.
        tracks: to simulate.
        seed: of tracks and order.
    """
    events = detector.simulator("strips")(
        phi.detach(), detector.primaries.sample(tracks, stream("cpu", seed, "tracks")), stream("cpu", seed, "strips")
    )
    with torch.no_grad():
        known = TrackFit()(events, phi.detach()).mean[0]
    places = events.hits[0, :, :, 0].reshape(tracks, 2, 3).mT % (2 * math.pi)
    order = torch.rand(places.shape, generator=stream("cpu", seed, "order")).argsort(-1)
    places = places.gather(-1, order)
    found = [recognised(place, phi.detach()) for place in places]
    lost = sum(track is None for track in found)
    pairs = [(track, known[k]) for k, track in enumerate(found) if track is not None]
    difference = residuals(torch.stack([a for a, _ in pairs]), torch.stack([b for _, b in pairs]))
    # A line and its reverse are the same line: where cot θ is small, either may be found.
    same = (abs(difference[:, 2]) < 1.0) & (abs(abs(difference[:, 0]) - math.pi * (abs(difference[:, 0]) > 1)) < 1e-3)
    right = int(same.sum())
    return Recognition(right / tracks, (len(pairs) - right) / tracks, lost / tracks, tracks)
