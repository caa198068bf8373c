"""The closed-form part of local surrogates, and networks that follow a neighbourhood."""

import pytest
import torch

from mode_opt.surrogates import CoarseToFine, ConditionalGaussian, MixtureDensity, Rows, SplineFlow, Trend
from mode_opt.surrogates.model import ConditionalModel
from mode_opt.surrogates.trend import evidence_ridge


def test_the_ridge_shrinks_what_is_noise_and_keeps_what_is_not() -> None:
    """Group 1 matters, group 2 (80 terms of noise) does not: errors far below those of least squares.

    200 rows and noise 1: least squares has errors of about 1 / √120 = 0.09 in each of the 80 terms.
    """
    generator = torch.Generator().manual_seed(0)
    basis = torch.cat([torch.ones(200, 1), torch.randn(200, 84, generator=generator)], 1)
    truth = torch.tensor([5.0, 2.0, -1.0, 0.5, 3.0])
    target = (basis[:, :5] @ truth + torch.randn(200, generator=generator))[:, None]
    groups = torch.tensor([0] + [1] * 4 + [2] * 80)
    found = evidence_ridge(basis, target, torch.ones(200), groups)[:, 0]
    torch.testing.assert_close(found[:5], truth, atol=0.3, rtol=0)
    assert found[5:].square().mean().sqrt() < 0.03
    plain = torch.linalg.lstsq(basis, target).solution[5:, 0]
    assert plain.square().mean().sqrt() > 0.07


def test_rows_of_little_weight_hardly_count() -> None:
    basis, target = torch.ones(4, 1), torch.tensor([[1.0], [1.0], [1.0], [101.0]])
    found = evidence_ridge(basis, target, torch.tensor([1.0, 1.0, 1.0, 0.03]), torch.zeros(1, dtype=torch.long))
    assert float(found) == pytest.approx(1 + 100 * 0.03 / 3.03, rel=1e-5)


def heteroscedastic(count: int = 4000) -> Rows:
    """``x_1 = 1 + 2 c_1 + c_1² + e^{0.5 c_2} n_1``, ``x_2 = 3 n_2``, correlation of the noise 0.8."""
    generator = torch.Generator().manual_seed(1)
    condition = torch.randn(count, 2, generator=generator)
    noise = torch.randn(count, 2, generator=generator) @ torch.tensor([[1.0, 0.8], [0.0, 0.6]])
    first = 1 + 2 * condition[:, 0] + condition[:, 0] ** 2 + torch.exp(0.5 * condition[:, 1]) * noise[:, 0]
    return Rows(condition, torch.stack([first, 3 * noise[:, 1]], 1), torch.ones(count))


@pytest.mark.parametrize("degree", ["quadratic", "cubic"])
def test_location_scale_and_correlation_are_found(degree: str) -> None:
    """Errors of 4000 rows: location 0.03, scale 3 % (the tanh bounds cost 2 % at 1), correlation 0.01."""
    rows = heteroscedastic()
    trend = Trend(2, 2, 1, degree)
    trend.fit(rows)
    at = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    location = trend(at, torch.zeros(4, 2))
    width = trend(at, torch.tensor([1.0, 0.0])) - location
    torch.testing.assert_close(location, torch.tensor([[1.0, 0], [4, 0], [1, 0], [1, 0]]), atol=0.25, rtol=0)
    expected = torch.exp(0.5 * at[:, 1])
    torch.testing.assert_close(width[:, 0], expected, atol=0, rtol=0.12)
    torch.testing.assert_close(width[:, 1], torch.full((4,), 2.4), atol=0, rtol=0.12)
    z = trend.around(rows.condition, rows.features, torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.cov(z.T), torch.eye(2), atol=0.05, rtol=0)
    torch.testing.assert_close(trend(rows.condition, z), rows.features, atol=0.4, rtol=0)


def test_few_rows_and_many_terms_stay_finite() -> None:
    """15 rows and 100 design columns."""
    generator = torch.Generator().manual_seed(2)
    rows = Rows(torch.randn(15, 101, generator=generator), torch.randn(15, 1, generator=generator), torch.ones(15))
    trend = Trend(1, 101, 100)
    trend.fit(rows)
    assert torch.isfinite(trend(10 * rows.condition, torch.ones(15, 1))).all()


MODELS: dict[str, ConditionalModel] = {
    "gaussian": ConditionalGaussian(2, 3, 8),
    "many features": ConditionalGaussian(14, 3, 8),
    "mixture": MixtureDensity(2, 3, 2, 8),
    "flow": SplineFlow(2, 3, hidden=8),
    "coarse to fine": CoarseToFine((1, 1), 3, 8),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_follows_is_the_same_function_of_the_old_condition(name: str) -> None:
    model, generator = MODELS[name].double(), torch.Generator().manual_seed(3)
    for value in model.parameters():
        value.data += 0.3 * torch.randn(value.shape, generator=generator, dtype=torch.double)
    condition = torch.randn(20, 3, generator=generator, dtype=torch.double)
    before = model.sample(condition, torch.Generator().manual_seed(0)).detach()
    shift, scale = torch.tensor([1.0, -2.0, 0.5]).double(), torch.tensor([0.5, 2.0, 1.0]).double()
    model.follow(shift, scale)
    after = model.sample((condition - shift) / scale, torch.Generator().manual_seed(0)).detach()
    torch.testing.assert_close(after, before, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("name", ["gaussian", "many features", "mixture", "flow"])
def test_generating_undoes_normalising_and_the_volume_is_the_jacobian(name: str) -> None:
    density, generator = MODELS[name].double(), torch.Generator().manual_seed(4)
    condition = torch.randn(4, 3, generator=generator, dtype=torch.double)
    x = torch.randn(4, density.features, generator=generator, dtype=torch.double)
    u, volume = (value.detach() for value in density.normalise(x, condition))
    torch.testing.assert_close(density.generate(u, condition).detach(), x, atol=1e-6, rtol=1e-6)
    for k in range(4):
        jacobian = torch.autograd.functional.jacobian(
            lambda row, k=k: density.generate(row[None], condition[k : k + 1])[0], u[k]
        )
        assert float(torch.linalg.slogdet(jacobian)[1]) == pytest.approx(-float(volume[k]), abs=1e-5)
    inside = volume - 0.5 * (u**2).sum(1) - 0.5 * density.features * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(density.log_prob(x, condition).detach(), inside, atol=1e-6, rtol=1e-6)
