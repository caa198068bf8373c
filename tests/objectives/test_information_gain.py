"""Bounds on the expected information gain against linear Gaussian experiments."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives import InformationGain
from mode_opt.objectives.information_gain import nested_gain, prior_contrastive_gain


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(matrix):
    """y = M θ + e with unit normals: the log-likelihood, and how to draw."""

    def log_likelihood(outcomes, parameters):
        return Normal(parameters @ matrix.T, 1.0).log_prob(outcomes).sum(-1)

    def outcomes(parameters, seed):
        return parameters @ matrix.T + draw(len(parameters), len(matrix), seed=seed)

    return log_likelihood, outcomes


def gains(matrix, count, contrasts, seed=0, by_score=False):
    log_likelihood, outcomes = linear(matrix)
    parameters, others = (
        draw(*shape, matrix.shape[1], seed=seed + k) for k, shape in enumerate(((count,), (contrasts, count)))
    )
    arguments = log_likelihood, outcomes(parameters, seed + 2), parameters, others, by_score
    return prior_contrastive_gain(*arguments), nested_gain(*arguments)


@pytest.mark.parametrize(
    ("d", "contrasts", "lower", "upper"), [(2.0, 10, 0.702, 1.011), (2.0, 100, 0.804, 0.836), (10.0, 100, 2.23, 2.65)]
)
def test_reference_values(d, contrasts, lower, upper):
    """Computed independently with 2·10⁴ outcomes: objectives_and_ecosystem.md 1.6; each value has an error of 1 %."""
    found = gains(torch.tensor([[d]], dtype=torch.float64), 20_000, contrasts)
    assert found[0].item() == pytest.approx(lower, abs=0.03) and found[1].item() == pytest.approx(upper, abs=0.06)


@settings(deadline=None, max_examples=8)
@given(st.floats(0.3, 4.0), st.integers(0, 100))
def test_the_two_are_a_bracket_in_value_and_near_in_derivative(d, seed):
    """½ ln(1 + d²) and d/(1 + d²)."""
    design = torch.tensor([[d]], dtype=torch.float64, requires_grad=True)
    lower, upper = gains(design, 5000, 200, seed)
    exact, error = 0.5 * math.log1p(d * d), 4 * 1.2 / math.sqrt(5000)
    assert lower.item() - error < exact < upper.item() + error and upper.item() - lower.item() < 0.2
    slopes = [torch.autograd.grad(value, design, retain_graph=True)[0].item() for value in (lower, upper)]
    assert slopes[0] == pytest.approx(d / (1 + d * d), abs=0.06)
    assert slopes[1] == pytest.approx(d / (1 + d * d), abs=0.15)


def test_several_parameters():
    """½ ln det(1 + X Xᵀ) = 1.354025 for rows (1, 0), (1, 1), (1, 2)."""
    matrix = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    lower, upper = gains(matrix, 5000, 200)
    information = torch.eye(3, dtype=torch.float64) + matrix @ matrix.T
    exact = torch.logdet(information) / 2
    assert exact.item() == pytest.approx(1.354025, abs=1e-6)
    assert lower.item() == pytest.approx(exact.item(), abs=0.06) and upper.item() == pytest.approx(
        exact.item(), abs=0.07
    )
    assert lower.item() < upper.item()
    slopes = [torch.autograd.grad(value, matrix)[0] for value in (lower, exact)]
    torch.testing.assert_close(*slopes, rtol=0.1, atol=0.03)


@pytest.mark.parametrize("bound", [0, 1])
def test_by_score_and_by_path_the_derivative_is_the_same(bound):
    slopes = {}
    for by_score in (False, True):
        design = torch.tensor([[1.5]], dtype=torch.float64, requires_grad=True)
        value = gains(design, 20_000, 100, by_score=by_score)[bound]
        slopes[by_score] = torch.autograd.grad(value, design)[0].item()
    assert slopes[True] == pytest.approx(slopes[False], abs=0.05)
    assert slopes[True] == pytest.approx(1.5 / 3.25, abs=0.06)


def test_few_contrasts_cannot_show_much():
    lower, upper = gains(torch.tensor([[1e3]], dtype=torch.float64), 500, 5)
    assert lower.item() == pytest.approx(math.log(6), abs=0.02) and upper.item() > 100


def likelihood(events, phi):
    return Normal(phi["d"].unsqueeze(1) * events.truth, 1.0).log_prob(events.hits[:, :, 0]).sum(-1)


def sample(d, count=4000, seed=0):
    truth = draw(1, count, 1, seed=seed)
    return Events.of(truth, (d * truth + draw(1, count, 1, seed=seed + 1)).unsqueeze(2))


def point(d):
    return DesignPoint.of(d=d.reshape(1, 1))


@settings(deadline=None, max_examples=6)
@given(st.floats(0.5, 3.0), st.integers(0, 100))
def test_the_objective_by_path_and_by_weights(d, seed):
    design = torch.tensor(d, dtype=torch.float64, requires_grad=True)
    events = sample(design, seed=seed)
    exact, slope = -0.5 * math.log1p(d * d), -d / (1 + d * d)
    values = [InformationGain(likelihood, bound=bound)(events, None, point(design)) for bound in ("lower", "upper")]
    assert values[1].item() - 0.05 < exact < values[0].item() + 0.05
    (path,) = torch.autograd.grad(values[0].sum(), design)
    assert path.item() == pytest.approx(slope, abs=0.06)
    drawn = events.detach()
    density = likelihood(drawn, point(design))
    weighted = drawn.reweighted(torch.exp(density - density.detach()))
    value = InformationGain(likelihood)(weighted, None, point(design))
    assert value.item() == pytest.approx(values[0].item(), abs=1e-12)
    assert torch.autograd.grad(value.sum(), design)[0].item() == pytest.approx(path.item(), abs=0.15)


@pytest.mark.parametrize("bound", ["lower", "upper"])
def test_weights_of_the_objective(bound):
    """Scale does not matter; events without weight do not count; derivatives by differences."""
    objective, phi, events = InformationGain(likelihood, 9, bound), point(torch.tensor(1.5).double()), sample(1.5, 10)
    weight = draw(1, 10, seed=5).abs().requires_grad_()
    value = objective(events.reweighted(weight), None, phi)
    torch.testing.assert_close(objective(events.reweighted(3 * weight), None, phi), value)
    assert torch.autograd.gradcheck(lambda w: objective(events.reweighted(w), None, phi), (weight,))
    dropped = torch.ones(1, 10, dtype=torch.float64)
    dropped[0, 4] = 0.0
    kept = torch.tensor([0, 1, 2, 3, 5, 6, 7, 8, 9])
    found = objective(events.reweighted(dropped), None, phi)
    torch.testing.assert_close(found, objective(events.select(kept), None, phi))
    single = Events.of(events.truth.float(), events.hits.float())
    assert objective(single, None, phi).item() == pytest.approx(objective(events, None, phi).item(), abs=1e-5)


def test_what_cannot_be_used():
    phi = point(torch.tensor(1.0).double())
    with pytest.raises(ConfigurationError, match="contrasts"):
        InformationGain(likelihood, 0)
    with pytest.raises(ConfigurationError, match="bound"):
        InformationGain(likelihood, bound="middle")
    with pytest.raises(NonFiniteError, match="at least two"):
        InformationGain(likelihood)(sample(1.0, 1), None, phi)
    with pytest.raises(NonFiniteError, match="likelihood of the hits"):
        InformationGain(lambda events, phi: torch.full_like(events.weight, -math.inf))(sample(1.0, 5), None, phi)
    one = torch.tensor([[1.0, 0.0, 0.0]])
    with pytest.raises(NonFiniteError, match="no other with weight"):
        InformationGain(likelihood, bound="upper")(sample(1.0, 3).reweighted(one), None, phi)
    assert InformationGain(likelihood)(sample(1.0, 3).reweighted(one), None, phi).item() == 0.0
