"""Ensembles, calibration on held-out designs, and the curvature of the quadratic family."""

from functools import partial

import pytest
import torch

from mode_opt.design import DesignPoint, Layout
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.surrogates import Ensemble, QuadraticSurrogate, calibration, ensemble, gaussian, quadratic

Data = tuple[DesignPoint, Events, Events]


def curved(designs: int, count: int = 1, seed: int = 0, offset: float = 0.0, binary: bool = False) -> Data:
    """``q = x + (1 + x) ψ_1 + ½ (2 ψ_1² − 2 ψ_1 ψ_2 + ψ_2²)``: as a mean with noise 0.3, or as a logit."""
    generator = torch.Generator().manual_seed(seed)
    values = 2 * torch.rand(designs, 2, generator=generator) - 1
    x = 2 * torch.rand(designs, count, 1, generator=generator) - 1
    a, b = values[:, None, :1], values[:, None, 1:]
    q = x + (1 + x) * a + a**2 - a * b + 0.5 * b**2
    drawn = (torch.rand(q.shape, generator=generator) < torch.sigmoid(q - 2)).float()
    response = drawn if binary else q + offset + 0.3 * torch.randn(q.shape, generator=generator)
    # One column in other units: derivatives are in field units.
    layout = Layout({"psi": slice(0, 2)}, (0.0, 0.0), (1.0, 10.0))
    phi = DesignPoint(values * torch.tensor([1.0, 10.0]), layout)
    return phi, Events.of(x, x.unsqueeze(3)), Events.of(x, response.unsqueeze(3))


def expansion(surrogate: QuadraticSurrogate) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.tensor([[[-0.5], [0.5]]])
    primaries = Events.of(x, x.unsqueeze(3))
    return tuple(part(primaries)[:, 0].detach() for part in (surrogate.value, surrogate.slope, surrogate.hessian))


UNIT = torch.tensor([1.0, 10.0])

CURVATURE = torch.tensor([[2.0, -1.0], [-1.0, 1.0]])


def test_a_regression_knows_slope_and_curvature_at_the_centre() -> None:
    """2000 events of noise 0.3: errors of 0.05 (slope) and 0.1 (curvature); allowed 4σ."""
    events = curved(2000)
    surrogate = quadratic(*events)
    surrogate.fit(*events)
    value, slope, curvature = expansion(surrogate)
    centre = events[0].values.mean(0) / UNIT
    for k, x in enumerate((-0.5, 0.5)):
        expected = torch.tensor([1 + x, 0.0]) + CURVATURE @ centre
        at = x + (1 + x) * centre[0] + 0.5 * centre @ CURVATURE @ centre
        assert float(value[k]) == pytest.approx(float(at), abs=0.1)
        torch.testing.assert_close(slope[k] * UNIT, expected, atol=0.2, rtol=0)
        torch.testing.assert_close(curvature[k] * UNIT[:, None] * UNIT, CURVATURE, atol=0.4, rtol=0)


def test_a_classification_with_rare_hits_knows_its_logit() -> None:
    """20 000 events, 20 % hits, three misses kept per hit with a weight: errors 0.05, 0.1 and 0.2; allowed 3σ."""
    events = curved(20_000, binary=True)
    surrogate = quadratic(*events, misses_per_hit=3.0)
    surrogate.fit(*events)
    value, slope, curvature = expansion(surrogate)
    for k, x in enumerate((-0.5, 0.5)):
        assert float(value[k]) == pytest.approx(x - 2, abs=0.2)
        torch.testing.assert_close(slope[k] * UNIT, torch.tensor([1 + x, 0.0]), atol=0.3, rtol=0)
        torch.testing.assert_close(curvature[k] * UNIT[:, None] * UNIT, CURVATURE, atol=0.6, rtol=0)
    phi, primaries, simulated = curved(20_000, binary=True, seed=5)
    generated = surrogate(phi, primaries).hits.detach()
    assert float(generated.mean()) == pytest.approx(float(simulated.hits.mean()), abs=0.02)


def test_many_design_columns_have_a_low_rank_curvature_that_learns() -> None:
    """``y = ψ_1 ψ_2 + noise 0.1`` in 14 dimensions: 1 off the diagonal, elsewhere below a half of it."""
    generator = torch.Generator().manual_seed(0)
    values = 2 * torch.rand(3000, 14, generator=generator) - 1
    x = torch.randn(3000, 1, 1, generator=generator)
    response = (values[:, :1] * values[:, 1:2] + 0.1 * torch.randn(3000, 1, generator=generator))[:, None, None]
    events = DesignPoint.of(psi=values), Events.of(x, x.unsqueeze(3)), Events.of(x, response)
    surrogate = quadratic(*events, trend="linear", training={"steps": 800, "patience": 40, "learning_rate": 1e-2})
    surrogate.fit(*events)
    hessian = surrogate.hessian(Events.of(x[None, :1, 0], x[None, :1]))[0, 0].detach()
    assert float(hessian[0, 1]) == pytest.approx(1.0, abs=0.25)
    torch.testing.assert_close(hessian, hessian.T)
    hessian[0, 1] = hessian[1, 0] = 0.0
    assert float(hessian.abs().max()) < 0.5


def test_a_good_surrogate_is_calibrated_and_a_wrong_one_is_not() -> None:
    """100 held-out designs of 20 events: pulls within 4σ of what is expected; a displacement of 0.3 is seen."""
    surrogate = gaussian(*curved(2000))
    surrogate.fit(*curved(2000))
    good = calibration(surrogate, *curved(100, 20, seed=7))
    # 2000 training and 2000 testing events have the same scatter: a bias has the width √(1 + terms / 2) at most.
    assert abs(good["bias"]) < 5 and 0.7 < good["width"] < 1.4 and 0.5 < good["coverage"] < 0.85
    assert good["designs"] == 100
    wrong = calibration(surrogate, *curved(100, 20, seed=7, offset=0.3))
    assert wrong["bias"] > 15 and wrong["width"] > 3 and wrong["coverage"] < 0.3
    phi, primaries, events = curved(100, 20, seed=7, offset=0.3)
    weighted = calibration(surrogate, phi, primaries, events, lambda e: (e.hits[:, :, 0] > 1).float())
    assert weighted["bias"] > 3
    assert calibration(surrogate, *curved(1, 500, seed=8))["coverage"] in (0.0, 1.0)


def test_members_of_an_ensemble_differ_and_agree_where_there_are_data() -> None:
    events = curved(500)
    surrogate = ensemble(*events, member=partial(gaussian, training={"steps": 40}), members=3)
    surrogate.fit(*events, seed=4)
    again = ensemble(*events, member=partial(gaussian, training={"steps": 40}), members=3)
    again.fit(*events, seed=4)

    def means(of: Ensemble, ψ: float) -> torch.Tensor:
        x = torch.zeros(1, 4000, 1)
        phi, means = DesignPoint(torch.tensor([[ψ, 10 * ψ]]), events[0].layout), []
        for member in range(len(of.members)):
            of.chosen = member
            means.append(of(phi, Events.of(x, x.unsqueeze(3)), torch.Generator().manual_seed(1)).hits.mean().detach())
        of.chosen = 0
        return torch.stack(means)

    assert torch.equal(means(surrogate, 0.0), means(again, 0.0))
    near, far = means(surrogate, 0.0), means(surrogate, 3.0)
    assert 0 < near.std() < 0.1 < far.std()
    alone = gaussian(*events, training={"steps": 40})
    alone.fit(*events, seed=4)
    pairs = zip(alone.state_dict().values(), surrogate.members[0].state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs), "the first member sees the events as they are"


def test_an_ensemble_needs_members() -> None:
    with pytest.raises(ConfigurationError, match=r"surrogate\.members"):
        Ensemble([])
