"""Objectives of the deposits, by hand and by central differences; and the detector that is built with them."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml

from mode_opt.design import DesignPoint
from mode_opt.detectors.branching_shower import branching_shower
from mode_opt.detectors.branching_shower.objectives import Leakage, ShowerDepth, SumResolution
from mode_opt.errors import ConfigurationError, NonFiniteError, ShapeError
from mode_opt.events import Events
from mode_opt.reconstruction import normal
from mode_opt.simulation import Chain, stream

BELIEF = normal(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))

PHI = DesignPoint.of(absorber_thickness=2.0, gap_thickness=torch.tensor([[4.0, 4.0, 6.0]]))


def events(*deposits: list[float], weight: list[float] | None = None) -> Events:
    hits = torch.tensor(deposits).unsqueeze(0).unsqueeze(-1)
    truth = torch.full((1, len(deposits), 1), 10.0)
    return Events.of(truth, hits, weight=None if weight is None else torch.tensor([weight]))


def test_the_depth_is_the_weighted_mean_place_of_the_energy():
    """Middles of the gaps: 4, 10, 17 mm."""
    sample = events([1.0, 1.0, 0.0], [0.0, 0.0, 2.0], weight=[1.0, 3.0])
    expected = (1 * 4 + 1 * 10 + 3 * 2 * 17) / 8
    assert float(ShowerDepth(0.0).depth(sample, PHI)) == pytest.approx(expected)
    assert float(ShowerDepth(10.0, 2.0)(sample, BELIEF, PHI)) == pytest.approx(((expected - 10) / 2) ** 2)
    assert float(ShowerDepth(0.0, layers=True).depth(sample, PHI)) == pytest.approx((1 + 2 + 6 * 3) / 8)
    front = DesignPoint.of(absorber_thickness=2.0, gap_thickness=4.0, front_thickness=5.0)
    assert float(ShowerDepth(0.0).depth(sample, front)) == pytest.approx((9 + 15 + 6 * 21) / 8)


def test_the_places_of_the_gaps_carry_a_derivative():
    phi = DesignPoint(PHI.values.clone().requires_grad_(), PHI.layout)
    depth = ShowerDepth(0.0).depth(events([0.0, 1.0, 0.0]), phi)
    (slope,) = torch.autograd.grad(depth.sum(), phi.values)
    assert slope[0].tolist() == [2.0, 1.0, 0.5, 0.0]  # two absorbers, a gap and half of the second


def test_leakage_and_spread_by_hand():
    hits = torch.tensor([[[2.0, 5.0]], [[1.0, 7.0]]]).unsqueeze(0)
    sample = Events.of(torch.full((1, 2, 1), 10.0), hits, weight=torch.tensor([[1.0, 3.0]]))
    assert float(Leakage()(sample, BELIEF, PHI)) == pytest.approx(1 - (7 + 3 * 8) / 40)
    spread = SumResolution()(events([1.0, 0.0], [3.0, 0.0]), BELIEF, PHI)
    assert float(spread) == pytest.approx(0.5)


def test_what_cannot_be_computed_is_refused():
    with pytest.raises(ShapeError, match=r"2 features \(detector\.absorber_deposits: true"):
        Leakage()(events([1.0, 2.0]), BELIEF, PHI)
    empty = events([0.0, 0.0, 0.0])
    for objective in (ShowerDepth(1.0), SumResolution()):
        with pytest.raises(NonFiniteError, match="simulate more events"):
            objective(empty, BELIEF, PHI)
    with pytest.raises(ConfigurationError, match=r"objective\.scale"):
        ShowerDepth(1.0, 0.0)
    with pytest.raises(ShapeError, match="b x 1 or b x 2"):
        ShowerDepth(1.0)(events([1.0, 2.0]), BELIEF, PHI)


FOLDER = Path(__file__).parents[3] / "detectors" / "branching_shower" / "conf" / "detector"


def built(name: str, **more):
    settings = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return branching_shower(**{k: v for k, v in settings.items() if k not in ("defaults", "_target_")}, **more)


@pytest.mark.parametrize(
    ("name", "parameters", "cells"),
    [
        ("branching_shower", 2, 25),
        ("branching_shower_layers", 20, 10),
        ("branching_shower_depth", 3, 20),
        ("branching_shower_threshold", 3, 25),
    ],
)
def test_every_variant_simulates_and_draws(name, parameters, cells):
    detector = built(name)
    phi = detector.design().detach()
    sample = detector.primaries.sample(3, stream("cpu", 0))
    with torch.no_grad():
        found = detector.simulator()(phi, sample, stream("cpu", 1))
    assert phi.values.shape == (1, parameters) and found.hits.shape == (1, 3, cells, 1)
    assert float(found.hits.sum()) > 0
    boxes = detector.drawing(phi)
    assert len(boxes) == 2 * cells + ("front_thickness" in phi)
    assert all(a["x"][1] == b["x"][0] for a, b in pairwise(boxes))
    assert isinstance(detector.simulator(), Chain) == (name == "branching_shower_threshold")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "detector.colour: got 'red'"),
        ({"objective": {"leakage": {}}}, "detector.objective: .* exactly one of"),
        ({"objective": {"resolution": None, "beauty": {}}}, "detector.objective: got .'beauty'"),
        ({"layers": 7, "design": {"parameters": {"gap_thickness": {"size": 3}}}}, "gap_thickness.size: got 3"),
    ],
)
def test_wrong_entries_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        branching_shower(**changes)
