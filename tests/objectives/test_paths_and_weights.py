"""One program, two derivatives: through the hits, and through weights that carry the score. They agree."""

import math

import pytest
import torch
from torch.distributions import Normal

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.objectives import (
    Constrained,
    Dose,
    Interval,
    Lexicographic,
    Miscalibration,
    MuonShield,
    Nominal,
    PosteriorBound,
    Rate,
    Resolution,
    Robust,
    Spectrum,
    WeightedSum,
)
from mode_opt.objectives.resolution import WIDTHS
from mode_opt.reconstruction import normal

PHI = DesignPoint.of(mass=1.2)
BATCHES, COUNT = 24, 4000
SOFT = Rate([Interval(0, 1.0, None, 0.3)], primaries=3.0)


def events(theta: torch.Tensor, seed: int, scored: bool) -> Events:
    """Two hits an event, ``x ~ N(θ + h, 1/2 + θ/4)``, drawn with θ inside or outside of the graph."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, COUNT, 2, generator=generator, dtype=torch.float64)
    place = theta + torch.tensor([0.0, 1.0], dtype=torch.float64)
    law = Normal(place, 0.5 + theta / 4)
    hits = place + (0.5 + theta / 4) * noise
    weight = torch.ones(1, COUNT, dtype=torch.float64)
    if scored:
        hits = hits.detach()
        probability = law.log_prob(hits).sum(-1)
        weight = (probability - probability.detach()).exp()
    truth = 1.0 + 0.5 * torch.rand(1, COUNT, 1, generator=generator, dtype=torch.float64)
    return Events.of(truth, hits.unsqueeze(-1), weight=weight)


def reconstruct(found: Events, phi: DesignPoint):
    x = found.hits[:, :, :1, 0]
    return normal(x, 0.3 + 0.1 * x**2)


def derivative(objective, seed: int, scored: bool) -> float:
    theta = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    found = events(theta, seed, scored)
    value = objective.judged(found, reconstruct(found, PHI), PHI, reconstruct)
    return torch.autograd.grad(value.sum(), theta)[0].item()


OBJECTIVES = {
    **{f"resolution {w}": Resolution(relative=False, width=w, bins=[1.0, 1.25, 1.5]) for w in WIDTHS},
    "surprise": PosteriorBound(),
    "sum": WeightedSum({"rate": SOFT, "surprise": PosteriorBound()}, {"rate": 2.0, "surprise": -1.0}),
    "rate": SOFT,
    "deposit": Rate([Interval(0, 0.0, None, 0.5)], value=0),
    "muons": MuonShield(
        "mass", 1.0, y=0, momentum_feature=0, charge=None, left=-1, right=4, momentum=-9, soft=0.3, soft_momentum=0.1
    ),
    "mean dose": Dose(),
    "equivalent dose": Dose("geud", a=3.0),
    "volume": Dose("volume", level=1.0, soft=0.2),
    "excess": Dose("excess", level=0.5),
    "mean risk": Robust(SOFT, {"nominal": Nominal(), "moved": Miscalibration(shift=0.3)}),
    "value at risk": Robust(
        Resolution(relative=False, width="rms"),
        {"nominal": Nominal(), "gain": Miscalibration(factor=1.1), "softer": Spectrum(0, [1.0, 1.5], [1.0, 0.3])},
        "cvar",
        0.5,
        smoothing=0.1,
    ),
    "constrained": Constrained(Resolution(relative=False, width="rms"), {"rate": SOFT}, {"rate": 2.0}),
    "goals": Lexicographic(
        {"rate": SOFT, "rms": Resolution(relative=False, width="rms")},
        {"rate": 3.0, "rms": 0.7},
        {"rate": 1, "rms": 0.3},
    ),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_score_and_path_agree(name):
    """Their difference over independent batches is zero within 4.5 standard errors, and much less than either."""
    objective = OBJECTIVES[name].double()
    pairs = torch.tensor([[derivative(objective, k, scored) for scored in (False, True)] for k in range(BATCHES)])
    difference = pairs[:, 1] - pairs[:, 0]
    error = difference.std().item() / BATCHES**0.5
    assert abs(difference.mean().item()) < 4.5 * error
    assert error < 0.12 * abs(pairs[:, 0].mean().item())  # so that a missing or wrong derivative would be seen


def test_a_sharp_rate_has_its_derivative_through_the_weights():
    """x ~ N(0.2, 1), x > 0.5: the derivative of the efficiency is the density at the cut, 0.381388."""
    found = []
    for seed in range(40):
        theta = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
        generator = torch.Generator().manual_seed(seed)
        x = 0.2 + torch.randn(1, COUNT, 1, 1, generator=generator, dtype=torch.float64)
        probability = Normal(theta, 1.0).log_prob(x)[..., 0, 0]
        weighted = Events.of(torch.ones(1, COUNT, 1), x, weight=(probability - probability.detach()).exp())
        value = Rate([Interval(0, 0.5)])(weighted, reconstruct(weighted, PHI), PHI)
        found.append(torch.autograd.grad(value.sum(), theta)[0])
    slopes = torch.stack(found)
    exact = math.exp(-(0.3**2) / 2) / math.sqrt(2 * math.pi)
    assert exact == pytest.approx(0.381388, abs=1e-6)
    assert abs(slopes.mean().item() - exact) < 4 * slopes.std().item() / 40**0.5
    assert slopes.std().item() * COUNT**0.5 == pytest.approx(0.343, abs=0.15)  # the mean is subtracted as a baseline
