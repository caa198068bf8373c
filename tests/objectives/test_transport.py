"""Transport objectives: translations, Gaussians, sorting against brute force, recorded samples."""

import math

import pytest
import torch
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, Normal

from mode_opt.data import RootReader
from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, DataError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives import Separation, Sinkhorn
from mode_opt.objectives.transport import binned_divergence, sinkhorn_divergence, sorted_transport

POINT = DesignPoint.of(x=0.0)


def points(count, features=1, seed=0):
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(count, seed=5):
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5


def sample(found, true, weight=None):
    """One design; hits and belief hold what is found."""
    events = Events.of(true.unsqueeze(0), found.unsqueeze(0).unsqueeze(2), weight=weight)
    return events, Independent(Normal(found.unsqueeze(0), 1.0, validate_args=False), 1)


def equal(x):
    return torch.ones(len(x), dtype=torch.float64)


@settings(deadline=None, max_examples=15)
@given(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0), st.floats(0.05, 5.0), st.integers(0, 100))
def test_a_translation_costs_half_its_square_whatever_the_blur(right, up, blur, seed):
    """m²/2, and m/n for each of n points."""
    y, move = points(60, 2, seed), torch.tensor([right, up], dtype=torch.float64)
    x = (y + move).requires_grad_()
    value = sinkhorn_divergence(x, y, equal(x), equal(y), blur, 0.9)
    (slope,) = torch.autograd.grad(value, x)
    assert value.item() == pytest.approx(move.square().sum().item() / 2, abs=1e-3)
    torch.testing.assert_close(slope.sum(0), move, rtol=5e-3, atol=5e-3)


@settings(deadline=None, max_examples=25)
@given(st.floats(-2.0, 2.0), st.integers(1, 30), st.integers(0, 100))
def test_sorting_knows_translations_exactly(move, count, seed):
    y = points(count, 1, seed)[:, 0]
    x = (y + move).requires_grad_()
    value = sorted_transport(x, y, weights(count), weights(count))
    (slope,) = torch.autograd.grad(value, x)
    assert value.item() == pytest.approx(move**2 / 2, abs=1e-12)
    torch.testing.assert_close(slope, move * weights(count) / weights(count).sum(), rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.sampled_from([1.0, 2.0, 3.0]),
)
def test_integer_weights_are_repeated_points(first, second, power):
    """Of repeated points, brought to equal numbers, transport pairs the sorted ones."""
    if not sum(first) or not sum(second):
        return
    (x, y) = (points(len(v), 1, seed)[:, 0] for seed, v in enumerate((first, second)))
    value = sorted_transport(x, y, torch.tensor(first).double(), torch.tensor(second).double(), power)
    many = [
        z.repeat_interleave(torch.tensor(v) * other).sort().values
        for z, v, other in ((x, first, sum(second)), (y, second, sum(first)))
    ]
    expected = (many[0] - many[1]).abs().pow(power).mean() / power
    assert value.item() == pytest.approx(expected.item(), abs=1e-12)


def test_sorting_has_the_derivatives_of_its_weights_too():
    x, y, w, v = points(9, 1, 1)[:, 0], points(7, 1, 2)[:, 0], weights(9, 3), weights(7, 4)
    inputs = [tensor.requires_grad_() for tensor in (x, y, w, v)]
    assert torch.autograd.gradcheck(sorted_transport, inputs, eps=1e-7, atol=1e-6)


def bures(a, b, move):
    root = torch.linalg.cholesky(a)
    middle = torch.linalg.eigvalsh(root.T @ b @ root).clamp_min(0).sqrt().sum()
    return (move.square().sum() + torch.trace(a) + torch.trace(b)) / 2 - middle


@settings(deadline=None, max_examples=6)
@given(st.floats(0.5, 2.0), st.floats(0.5, 2.0), st.floats(-0.8, 0.8), st.floats(0.0, 2.0), st.integers(0, 50))
def test_gaussians_have_the_distance_of_bures(first, second, correlation, move, seed):
    """A linear map that is the gradient of a convex function is optimal: then the sample itself has the answer."""
    x = points(300, 2, seed)
    x = (x - x.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(x.T.cov(correction=0))).T  # moments exactly 0 and 1
    cross = correlation * math.sqrt(first * second)
    matrix = torch.tensor([[first, cross], [cross, second]], dtype=torch.float64)
    shift = torch.tensor([move, 0.0], dtype=torch.float64)
    expected = bures(torch.eye(2, dtype=torch.float64), matrix @ matrix, shift).item()
    value = sinkhorn_divergence(x @ matrix + shift, x, equal(x), equal(x), 0.05, 0.9).item()
    assert value == pytest.approx(expected, rel=0.01, abs=0.003)


def test_independent_gaussian_samples_agree_within_the_sampling_error():
    """N(0, 1) and N(1, 2²) on a line: (1 + (2 − 1)²)/2 = 1, by blur and by sorting, which agree."""
    x, y = points(500, 1, 1), 1 + 2 * points(500, 1, 2)
    exact = sorted_transport(x[:, 0], y[:, 0], equal(x), equal(y)).item()
    assert exact == pytest.approx(1.0, abs=4 * math.sqrt((1 + 4 + 0.5 + 0.5 * 4) / 500))
    assert sinkhorn_divergence(x, y, equal(x), equal(y), 0.05, 0.9).item() == pytest.approx(exact, rel=0.01)


def test_samples_of_the_same_law_are_not_at_zero():
    """The floor of a finite sample: about 0.05 for 1000 points in three dimensions, published in the docstring."""
    x, y = points(1000, 3, 1), points(1000, 3, 2)
    floor = sinkhorn_divergence(x, y, equal(x), equal(y), 0.05).item()
    assert 0.03 < floor < 0.08
    assert sinkhorn_divergence(x, x, equal(x), equal(x), 0.05).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("blur", "scaling"), [pytest.param(0.2, 0.999, marks=pytest.mark.slow), (1.0, 0.98)])
def test_derivatives_by_central_differences(blur, scaling):
    """Those at fixed potentials are exact where the iteration has converged; one event has weight 0."""
    x, y, w, v = points(40, 2, 1), points(30, 2, 2) + 0.5, weights(40, 3), weights(30, 4)
    w[3] = 0.0
    inputs = [tensor.requires_grad_() for tensor in (x, y, w, v)]

    def value(*arguments):
        return sinkhorn_divergence(*arguments, blur, scaling)

    slopes = torch.autograd.grad(value(*inputs), inputs)
    for which, slope in enumerate(slopes):
        places = [(5, 0), (9, 1)] if which < 2 else [(5,), (3,)]
        for place in places:
            sides = []
            for step in (1e-3, 0.0 if which == 2 and place == (3,) else -1e-3):
                moved = [tensor.detach().clone() for tensor in inputs]
                moved[which][place] += step
                sides.append((value(*moved).item(), step))
            numeric = (sides[0][0] - sides[1][0]) / (sides[0][1] - sides[1][1])
            assert slope[place].item() == pytest.approx(numeric, rel=0.01, abs=0.01 * slope.abs().max().item())


def test_derivatives_that_are_switched_off_stay_off():
    x = points(10).requires_grad_()
    with torch.no_grad():
        value = sinkhorn_divergence(x, points(10, seed=1), equal(x), equal(x))
        assert not value.requires_grad and not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


OBJECTIVES = [
    Sinkhorn(size=None),
    Sinkhorn(source="hits", blur=0),
    Separation(target=1, boundary=0.0),
    Separation(source="hits", target=1, boundary=0.0, blur=0),
]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_order_and_scale_of_the_weights_and_the_precision_do_not_matter(objective):
    true = points(60, 2, 1)
    found, weight = true[:, :1] + 0.3 * points(60, 1, 2) + 0.2, weights(60).unsqueeze(0)
    value = objective(*sample(found, true, weight), POINT)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    moved = objective(*sample(found[order], true[order], 3 * weight[:, order]), POINT)
    torch.testing.assert_close(moved, value, rtol=1e-9, atol=1e-12)
    single = objective(*sample(found.float(), true.float(), weight.float()), POINT)
    assert single.dtype == torch.float32 and single.item() == pytest.approx(value.item(), rel=1e-3, abs=1e-5)


def test_the_spectrum_counts_and_not_the_single_events():
    """Estimates that are the truths of other events are perfect, those that shrink to the mean are not."""
    true = points(200)
    perfect, shrunk = true.flip(0), 0.5 * true
    for blur in (0, 0.05):
        objective = Sinkhorn(blur=blur)
        assert objective(*sample(perfect, true), POINT).item() == pytest.approx(0.0, abs=1e-9)
        expected = 0.25 * true.square().mean().item() / 2
        assert objective(*sample(shrunk, true), POINT).item() == pytest.approx(expected, rel=0.02)


def test_scales_are_units():
    true = points(50, 2)
    found = true + torch.tensor([3.0, 0.5])
    objective = Sinkhorn(features=(0, 1), scales=(3.0, 0.25))
    assert objective(*sample(found, true), POINT).item() == pytest.approx((1 + 4) / 2, rel=1e-3)


def test_of_many_events_a_fixed_subset_of_that_size_counts():
    true, found = points(300), points(300, seed=1)
    objective = Sinkhorn(size=100)
    weight = torch.ones(1, 300, dtype=torch.float64, requires_grad=True)
    events, belief = sample(found, true, weight)
    value = objective(events, belief, POINT)
    assert torch.equal(objective(events, belief, POINT), value)
    (slope,) = torch.autograd.grad(value.sum(), weight)
    assert (slope != 0).sum() == 100


def test_classes_far_apart_are_better():
    label = (torch.arange(100) % 2).double().unsqueeze(1)
    base = points(50).repeat_interleave(2, 0)  # the same points for both classes
    for blur in (0, 0.1):
        objective = Separation(blur=blur)
        for move in (0.0, 1.0, 2.0):
            value = objective(*sample(base + move * label, label), POINT).item()
            assert value == pytest.approx(-(move**2) / 2, abs=1e-3)
    with pytest.raises(NonFiniteError, match="signal has no event"):
        Separation()(*sample(base, 0 * label), POINT)


def test_no_weight_no_number_and_one_event():
    one, nothing = torch.ones(1, 1).double(), torch.zeros(1, 1).double()
    for objective in (Sinkhorn(), Sinkhorn(blur=0)):
        assert objective(*sample(one, nothing), POINT).item() == pytest.approx(0.5)
        with pytest.raises(NonFiniteError, match="no event with weight"):
            objective(*sample(one, nothing, torch.zeros(1, 1)), POINT)
        with pytest.raises(NonFiniteError, match="NaN"):
            objective(*sample(math.nan * one, nothing), POINT)
        found = torch.ones(4, 1).double().requires_grad_()  # every event the same
        value = objective(*sample(found, torch.ones(4, 1).double()), POINT)
        assert value.item() == 0 and torch.isfinite(torch.autograd.grad(value.sum(), found)[0]).all()


@pytest.fixture
def recorded(tmp_path):
    """400 entries: mass and its weight, and two columns that cannot be used."""
    path = tmp_path / "recorded.root"
    mass = 91 + 2 * points(400, 1, 7)[:, 0].numpy()
    with uproot.recreate(path) as file:
        file["events"] = {"mass": mass, "w": weights(400, 8).numpy(), "bad": -mass, "pair": points(400, 2).numpy()}
    return str(path)


def test_a_simulation_is_compared_with_recorded_columns(recorded):
    """Shifted by 3 GeV with the recorded weights: 9/2, and the derivative of the shift is 3."""
    reader = RootReader(recorded, {"mass": "mass", "w": "w"})
    columns = reader.read()
    shift = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    found = columns["mass"].double().unsqueeze(1) + shift
    for blur in (0, 0.1):
        objective = Sinkhorn(source="hits", recorded=reader, weight="w", size=None, blur=blur)
        value = objective(*sample(found, found.detach(), columns["w"].double().unsqueeze(0)), POINT)
        assert value.item() == pytest.approx(4.5, rel=1e-3)
        assert torch.autograd.grad(value.sum(), shift, retain_graph=True)[0].item() == pytest.approx(3.0, rel=5e-3)
        assert not objective.state_dict()


def test_recorded_columns_that_cannot_be_used(recorded):
    with pytest.raises(DataError, match="must not be negative"):
        Sinkhorn(recorded=RootReader(recorded, ["mass", "bad"]), weight="bad")
    with pytest.raises(DataError, match="'pair' has no single number"):
        Sinkhorn(recorded=RootReader(recorded, ["pair"]))
    with pytest.raises(ConfigurationError, match="a column to compare with"):
        Sinkhorn(recorded=RootReader(recorded, ["w"]), weight="w")
    with pytest.raises(ConfigurationError, match="2, as many as compared with"):
        Sinkhorn(recorded=RootReader(recorded, ["mass", "w"]))


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"source": "sight"}, "source"),
        ({"features": ()}, "features"),
        ({"against": "sight"}, "against"),
        ({"against_features": (0, 1)}, "features"),
        ({"features": (0, 1), "blur": 0}, "blur"),
        ({"blur": -1.0}, "blur"),
        ({"size": 0}, "size"),
        ({"scaling": 1.0}, "scaling"),
        ({"scales": (1.0, 2.0)}, "scales"),
        ({"scales": (0.0,)}, "scales"),
    ],
)
def test_arguments_that_cannot_be_used(options, key):
    with pytest.raises(ConfigurationError, match=f"objective.{key}"):
        Sinkhorn(**options)


def test_score_function_and_pathwise_derivatives_agree():
    """Signal N(m, 1) against N(0, 1) by sorting: dJ/dm = m, through the points or through weights with their score."""
    count = 20000
    mean = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    moved, true = points(count, 1, 1) + mean, points(count, 1, 2)
    objective = Sinkhorn(source="hits", blur=0, size=None)
    (path,) = torch.autograd.grad(objective(*sample(moved, true), POINT).sum(), mean)
    fixed = moved.detach()
    log_probability = -((fixed[:, 0] - mean) ** 2) / 2
    weight = torch.exp(log_probability - log_probability.detach()).unsqueeze(0)
    (score,) = torch.autograd.grad(objective(*sample(fixed, true, weight), POINT).sum(), mean)
    assert path.item() == pytest.approx(1.0, abs=0.05) and score.item() == pytest.approx(path.item(), abs=0.06)


@settings(deadline=None, max_examples=6)
@given(st.floats(-1.0, 1.0), st.floats(0.3, 2.0), st.integers(0, 100))
def test_a_grid_changes_little(move, blur, seed):
    """Value, and derivatives in positions and weights, at bins of an eighth of the blur."""
    x, y = points(60, 1, seed)[:, 0] * 1.3 + move, points(50, 1, seed + 1)[:, 0]
    x, w = x.requires_grad_(), weights(60, seed).requires_grad_()
    bins = math.ceil(8 * float(torch.cat([x, y]).detach().max() - torch.cat([x, y]).detach().min()) / blur)
    results = []
    for value in (
        binned_divergence(x, y, w, weights(50), blur, 0.9, bins),
        sinkhorn_divergence(x[:, None], y[:, None], w, weights(50), blur, 0.9),
    ):
        results.append((value.item(), *torch.autograd.grad(value, (x, w))))
    (value, slope, rate), (expected, slopes, rates) = results
    assert value == pytest.approx(expected, rel=0.02, abs=0.004 * blur**2)
    # What all points share decides how a simulator is tuned: a shift, and a factor.
    for direction in (torch.ones(60, dtype=torch.float64), x.detach() - x.detach().mean()):
        size = direction.norm() * slopes.norm()
        assert float(slope @ direction) == pytest.approx(float(slopes @ direction), abs=0.03 * float(size))
    assert float((rate - rates).norm()) < 0.02 * float(rates.norm()) + 0.002 * blur**2


def test_a_grid_of_equal_points_and_in_the_objective():
    one = torch.full((5,), 2.0, dtype=torch.float64)
    assert binned_divergence(one, one, equal(one), equal(one), 0.1).item() == pytest.approx(0.0, abs=1e-12)
    found, true = points(40, 1, 1) + 0.5, points(40, 1, 2)
    plain, grid = (Sinkhorn(blur=0.2, bins=bins)(*sample(found, true), POINT) for bins in (None, 100))
    torch.testing.assert_close(grid, plain, rtol=0.02, atol=0.0)
    for changes in ({"bins": 0}, {"bins": 5, "features": [0, 1]}):
        with pytest.raises(ConfigurationError, match=r"objective\.bins"):
            Sinkhorn(**changes)
