"""Fisher information against closed forms, and designs whose optimum is known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError, ShapeError
from mode_opt.events import Events
from mode_opt.objectives import CramerRao
from mode_opt.objectives.fisher import a_optimality, cramer_rao_bound, d_optimality, fisher_information

DOUBLE = torch.float64


def numbers(*values):
    return torch.tensor(values, dtype=DOUBLE)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


@settings(deadline=None, max_examples=25)
@given(st.floats(-5.0, 5.0), st.floats(0.1, 5.0), st.integers(1, 20))
def test_mean_and_width_of_a_gaussian(mean, width, count):
    """diag(n/σ², 2 n/σ²) for the parameters μ and σ."""
    found = fisher_information(
        lambda theta: theta[:1].expand(count), numbers(mean, width), lambda theta: theta[1:].square().expand(count)
    )
    torch.testing.assert_close(found, torch.diag(numbers(count / width**2, 2 * count / width**2)))


@settings(deadline=None, max_examples=25)
@given(st.floats(0.1, 5.0), st.lists(st.tuples(st.floats(0.1, 50.0), st.floats(0.1, 50.0)), min_size=1, max_size=6))
def test_a_signal_on_a_background_of_counts(strength, bins):
    """Σ s²/(μ s + b), and its derivative with respect to s."""
    s, b = (numbers(*column).requires_grad_() for column in zip(*bins, strict=True))
    found = fisher_information(lambda theta: theta * s + b, numbers(strength))
    expected = (s**2 / (strength * s + b)).sum()
    torch.testing.assert_close(found[0, 0], expected)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), (s, b)), torch.autograd.grad(expected, (s, b)))


def test_the_fixed_template_of_the_note():
    """objectives_and_ecosystem.md 1.3: 14.992 for 50 signal events on 1000."""
    signal = numbers(0.00722, 0.01025, 0.01388, 0.01919, 0.02767, 0.04263, 0.07296, 0.14986, 0.42510, 0.23124)
    other = numbers(0.62022, 0.05959, 0.04181, 0.03556, 0.03363, 0.03454, 0.03864, 0.04840, 0.07048, 0.01713)
    bound = cramer_rao_bound(fisher_information(lambda theta: theta * signal + 1000 * other, numbers(50.0)))
    assert bound.sqrt().item() == pytest.approx(14.992, abs=1e-3)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(3, 8))
def test_linear_models_are_generalised_least_squares(seed, parameters, count):
    matrix, root = draw(count, parameters, seed=seed), draw(count, count, seed=seed + 1)
    covariance = root @ root.T + torch.eye(count, dtype=DOUBLE)
    theta = draw(parameters)
    expected = matrix.T @ torch.linalg.inv(covariance) @ matrix
    torch.testing.assert_close(fisher_information(lambda x: matrix @ x, theta, covariance), expected)
    variances = covariance.diagonal()
    found = fisher_information(lambda x: matrix @ x, theta, variances)
    torch.testing.assert_close(found, matrix.T @ (matrix / variances.unsqueeze(1)))
    torch.testing.assert_close(d_optimality(found), -torch.logdet(found))
    torch.testing.assert_close(a_optimality(found), torch.trace(torch.linalg.inv(found)))
    scales = numbers(2.0, 3.0, 5.0)[:parameters]
    torch.testing.assert_close(a_optimality(found, scales), (torch.linalg.inv(found).diagonal() / scales**2).sum())


def test_no_unbiased_estimate_of_counts_does_better():
    """Weighted least squares of 20 000 experiments: its covariance is the bound within the sampling error."""
    matrix, theta = torch.stack([torch.ones(12), torch.linspace(-1, 1, 12)], 1).double(), numbers(400.0, 100.0)
    bound = cramer_rao_bound(fisher_information(lambda x: matrix @ x, theta))
    mean = matrix @ theta
    counts = torch.poisson(mean.expand(20_000, -1), generator=torch.Generator().manual_seed(1))
    estimates = counts @ (matrix / mean.unsqueeze(1)) @ bound
    torch.testing.assert_close(estimates.mean(0), theta, rtol=0, atol=0.3)
    torch.testing.assert_close(estimates.T.cov().diagonal(), bound.diagonal(), rtol=0.04, atol=0)


def curvature_error(planes):
    """σ_k for y = a + b x + k x²/2 measured with σ = 1 at these planes."""
    theta = torch.zeros(3, dtype=DOUBLE)

    def expected(x):
        return x[0] + x[1] * planes + x[2] * planes**2 / 2

    return cramer_rao_bound(fisher_information(expected, theta, numbers(1.0)))[2, 2].sqrt()


def test_the_curvature_of_a_track():
    """Closed form for equal distances, published derivatives, and the best placement: 1/4, 1/2, 1/4 of the planes."""
    intervals = 9
    planes = torch.linspace(0, 1, intervals + 1, dtype=DOUBLE, requires_grad=True)
    value = curvature_error(planes)
    closed = math.sqrt(720 * 9**3 / (8 * 10 * 11 * 12))
    assert value.item() == pytest.approx(closed, rel=1e-9) and closed == pytest.approx(7.050145, abs=1e-6)
    slope = torch.autograd.grad(value, planes)[0]
    expected = numbers(12.9787, 3.3648, -1.2017, -2.1631, -0.9614)
    torch.testing.assert_close(slope, torch.cat([expected, -expected.flip(0)]), rtol=0, atol=1e-4)
    best = numbers(*[0.0] * 3, *[0.5] * 6, *[1.0] * 3)
    assert curvature_error(best).item() == pytest.approx(16 / math.sqrt(12), rel=1e-9)
    assert curvature_error(torch.linspace(0, 1, 12, dtype=DOUBLE)).item() == pytest.approx(6.624132, abs=1e-6)


def test_what_says_nothing_and_what_cannot_be_said():
    dark = fisher_information(lambda theta: torch.cat([theta, 0 * theta]), numbers(4.0))  # a bin that stays empty
    torch.testing.assert_close(dark, numbers(0.25).reshape(1, 1))
    with pytest.raises(NonFiniteError, match="not positive"):
        fisher_information(lambda theta: theta, numbers(0.0))
    with pytest.raises(NonFiniteError, match="not positive"):
        fisher_information(lambda theta: theta, numbers(1.0), numbers(-1.0))
    with pytest.raises(NonFiniteError, match="not positive"):
        fisher_information(lambda theta: theta, numbers(1.0, 1.0), numbers(1.0, 2.0, 2.0, 1.0).reshape(2, 2))
    with pytest.raises(ShapeError, match="variance"):
        fisher_information(lambda theta: theta, numbers(1.0, 2.0), numbers(1.0, 1.0, 1.0))
    with pytest.raises(ShapeError, match="observables"):
        fisher_information(lambda theta: theta.reshape(1, 1), numbers(1.0))
    for bound in (cramer_rao_bound, a_optimality, d_optimality):
        with pytest.raises(NonFiniteError, match="singular"):
            bound(fisher_information(lambda theta: theta.sum().reshape(1), numbers(1.0, 1.0)))
        with pytest.raises(NonFiniteError, match="singular"):
            bound(torch.zeros(1, 1))


@given(st.floats(1e-9, 1e9), st.floats(-0.99, 0.99))
def test_units_of_the_parameters_do_not_make_a_matrix_singular(unit, correlation):
    matrix = numbers(1.0, correlation * unit, correlation * unit, unit**2).reshape(2, 2)
    assert d_optimality(matrix).item() == pytest.approx(-math.log(unit**2 * (1 - correlation**2)), abs=1e-6)


def sample(*truth, weight=None):
    values = numbers(*truth).reshape(1, -1, 1)
    return Events.of(values, torch.zeros(1, len(truth), 1, 1, dtype=DOUBLE), weight=weight)


def response(truth, phi):
    """One observable, proportional to the truth and to the gain."""
    return phi["gain"].reshape(-1) * truth


@settings(deadline=None, max_examples=15)
@given(st.floats(0.3, 5.0), st.lists(st.floats(0.5, 50.0), min_size=1, max_size=6), st.floats(0.1, 4.0))
def test_the_objective_averages_the_bound_over_the_truth(gain, truth, variance):
    """λ = g x: counts x/g; Gaussians v/g², with slope −2 v/g³; a prior p gives 1/(g²/v + 1/p²)."""
    value = torch.tensor([[gain]], dtype=DOUBLE, requires_grad=True)
    phi, weight = DesignPoint.of(gain=value), torch.arange(1.0, len(truth) + 1, dtype=DOUBLE)
    events = sample(*truth, weight=weight.unsqueeze(0))
    mean = (weight * numbers(*truth)).sum().item() / weight.sum().item()
    assert CramerRao(response)(events, None, phi).item() == pytest.approx(mean / gain)
    found = CramerRao(response, variance, scales=(0.5,))(events, None, phi)
    assert found.item() == pytest.approx(4 * variance / gain**2)
    assert torch.autograd.grad(found.sum(), value)[0].item() == pytest.approx(-8 * variance / gain**3)
    ellipsoid = CramerRao(response, variance, "D")(events, None, phi)
    assert ellipsoid.item() == pytest.approx(math.log(variance / gain**2), abs=1e-6)
    known = CramerRao(response, variance, prior=[2.0])(events, None, phi)
    assert known.item() == pytest.approx(1 / (gain**2 / variance + 0.25))


def test_a_variance_that_follows_the_truth_and_single_precision():
    """N(g x, g² x²): I = 1/x² + 2/x² for any gain."""
    objective = CramerRao(response, lambda truth, phi: response(truth, phi) ** 2)
    phi = DesignPoint.of(gain=torch.tensor([[2.0], [3.0]]))
    events = Events.of(torch.tensor([[[3.0], [6.0]]]).expand(2, -1, -1), torch.zeros(2, 2, 1, 1))
    found = objective(events, None, phi)
    assert found.dtype == torch.float32 and objective.additive
    torch.testing.assert_close(found, torch.full((2,), (9 + 36) / 2 / 3))


def test_what_the_objective_cannot_use():
    phi = DesignPoint.of(gain=torch.ones(1, 1, dtype=DOUBLE))
    for options, key in (
        ({"criterion": "E"}, "criterion"),
        ({"variance": 0.0}, "variance"),
        ({"variance": [1.0, -1.0]}, "variance"),
        ({"scales": (0.0,)}, "scales"),
        ({"prior": [0.0]}, "prior"),
    ):
        with pytest.raises(ConfigurationError, match=f"objective.{key}"):
            CramerRao(response, **options)
    with pytest.raises(ShapeError, match=r"objective\.prior"):
        CramerRao(response, prior=[1.0, 1.0])(sample(1.0), None, phi)
    with pytest.raises(ShapeError, match="variance"):
        CramerRao(response, [1.0, 1.0])(sample(1.0), None, phi)
    with pytest.raises(NonFiniteError, match="not positive"):
        CramerRao(response)(sample(1.0, -1.0), None, phi)
    with pytest.raises(NonFiniteError, match="singular"):
        CramerRao(lambda truth, phi: 0 * truth + 1.0)(sample(1.0), None, phi)
    with pytest.raises(NonFiniteError, match="no event with weight"):
        CramerRao(response)(sample(1.0, weight=torch.zeros(1, 1, dtype=DOUBLE)), None, phi)
