"""The generic family against a problem whose answer is known, and the contract of a fit."""

import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError, ShapeError
from mode_opt.events import Events
from mode_opt.surrogates import (
    ChainRule,
    CoarseToFine,
    DensitySurrogate,
    PlainCoordinates,
    SinhArcsinh,
    Training,
)
from mode_opt.surrogates.training import hold_out

SLOPE = torch.tensor([[1.0, -0.5], [0.3, 0.8], [-0.7, 0.2], [0.0, 1.1]])
"""d mean / d (thickness, energy) of the four hits."""

FACTOR = torch.tensor([[0.5, 0.0, 0.0, 0.0], [0.3, 0.4, 0.0, 0.0], [0.1, -0.2, 0.3, 0.0], [-0.2, 0.1, 0.2, 0.6]])
"""The covariance of the hits is ``FACTOR FACTORᵀ``."""


def linear_gaussian(designs: int, count: int, seed: int = 0) -> tuple[DesignPoint, Events, Events]:
    """``x ~ N(SLOPE (ψ, E), FACTOR FACTORᵀ)``, four hits of one feature."""
    generator = torch.Generator().manual_seed(seed)
    phi = DesignPoint.of(thickness=2 * torch.rand(designs, 1, generator=generator))
    energy = 1 + torch.rand(designs, count, 1, generator=generator)
    noise = torch.randn(designs, count, 4, generator=generator) @ FACTOR.T
    inputs = torch.cat([phi.values[:, None].expand(-1, count, -1), energy], dim=2)
    hits = (inputs @ SLOPE.T + noise).unsqueeze(3)
    return phi, Events.of(energy, energy.unsqueeze(3)), Events.of(energy, hits)


def model(training: Training | None = None) -> DensitySurrogate:
    return DensitySurrogate(PlainCoordinates((4, 1)), CoarseToFine((2, 2), 2, hidden=16), 2, training)


SHORT = Training(steps=60, batch=64, check_every=20)


@pytest.fixture(scope="module")
def fitted() -> DensitySurrogate:
    surrogate = model(Training(steps=1000, batch=1024, weight_decay=0.0))
    surrogate.fit(*linear_gaussian(40, 1000), seed=1)
    return surrogate


def sample(surrogate: DensitySurrogate, thickness: torch.Tensor, count: int) -> torch.Tensor:
    energy = torch.full((1, count, 1), 1.5, dtype=thickness.dtype)
    phi = DesignPoint.of(thickness=torch.ones(1, 1))
    phi = DesignPoint(thickness.reshape(1, 1), phi.layout)
    return surrogate(phi, Events.of(energy, energy.unsqueeze(3)), torch.Generator().manual_seed(7)).hits[0, :, :, 0]


def test_it_learns_mean_covariance_and_gradient_of_a_linear_gaussian(fitted: DensitySurrogate) -> None:
    """40 000 training events: errors of about 0.005; allowed 0.03 (mean), 0.02 (covariance), 0.05 (slope)."""
    thickness = torch.tensor(1.2, requires_grad=True)
    hits = sample(fitted, thickness, 100_000)
    truth = SLOPE @ torch.tensor([1.2, 1.5])
    slope = torch.stack([torch.autograd.grad(h, thickness, retain_graph=True)[0] for h in hits.mean(0)])
    torch.testing.assert_close(hits.mean(0).detach(), truth, atol=0.03, rtol=0)
    torch.testing.assert_close(torch.cov(hits.detach().T), FACTOR @ FACTOR.T, atol=0.02, rtol=0)
    torch.testing.assert_close(slope, SLOPE[:, 0], atol=0.05, rtol=0)


def test_the_likelihood_reaches_the_entropy(fitted: DensitySurrogate) -> None:
    """``-E log p`` of fresh events is the entropy ``2 (1 + log 2π) + log det FACTOR``, 0.03 nats (4σ)."""
    phi, primaries, events = linear_gaussian(100, 400, seed=5)
    condition = fitted.coordinates.condition(phi, primaries)
    scaled = (condition - fitted.condition_mean) / fitted.condition_scale
    x = (events.hits.flatten(2) - fitted.feature_mean) / fitted.feature_scale
    with torch.no_grad():
        loss = -fitted.density.log_prob(x.flatten(0, 1), scaled.flatten(0, 1)).mean()
    loss = loss + fitted.feature_scale.log().sum()
    entropy = 2 * (1 + torch.log(torch.tensor(2 * torch.pi))) + FACTOR.diagonal().log().sum()
    assert float(loss) == pytest.approx(float(entropy), abs=0.03)


def test_samples_have_the_derivative_of_central_differences(fitted: DensitySurrogate) -> None:
    """Common random numbers, double precision."""
    double = model().double()
    double.load_state_dict(fitted.state_dict())
    thickness = torch.tensor(0.9, dtype=torch.double, requires_grad=True)
    weight = torch.linspace(-1, 2, 4, dtype=torch.double)
    (slope,) = torch.autograd.grad((sample(double, thickness, 50) ** 2 @ weight).mean(), thickness)
    with torch.no_grad():
        up, down = ((sample(double, thickness + h, 50) ** 2 @ weight).mean() for h in (1e-6, -1e-6))
    assert float(slope) == pytest.approx(float(up - down) / 2e-6, rel=1e-6)


def densities() -> dict[str, CoarseToFine | SinhArcsinh | ChainRule]:
    return {
        "coarse to fine": CoarseToFine((1, 2, 2), 3, 8),
        "uncorrelated": CoarseToFine((5,), 3, 8, correlated=1),
        "sinh-arcsinh": SinhArcsinh(5, 3, 8),
        "chain rule": ChainRule(SinhArcsinh(2, 3, 8), CoarseToFine((1, 2), 5, 8), limit=100.0),
    }


@pytest.mark.parametrize("name", densities())
def test_generating_undoes_normalising_and_the_volume_is_the_jacobian(name: str) -> None:
    density = densities()[name].double()
    generator = torch.Generator().manual_seed(3)
    for value in density.parameters():
        value.data = 0.4 * torch.randn(value.shape, generator=generator, dtype=torch.double)
    x, condition = (torch.randn(6, k, generator=generator, dtype=torch.double) for k in (5, 3))
    u, volume = (value.detach() for value in density.normalise(x, condition))
    torch.testing.assert_close(density.generate(u, condition).detach(), x)
    for k in range(6):
        jacobian = torch.autograd.functional.jacobian(
            lambda row, k=k: density.generate(row[None], condition[k : k + 1])[0], u[k]
        )
        assert float(torch.linalg.slogdet(jacobian)[1]) == pytest.approx(-float(volume[k]), abs=1e-8)


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    weights = []
    for seed in (3, 3, 4):
        surrogate = model(SHORT)
        surrogate.fit(*linear_gaussian(10, 50), seed=seed)
        weights.append(torch.nn.utils.parameters_to_vector(surrogate.parameters()))
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_a_warm_fit_goes_on_from_the_present_weights() -> None:
    surrogate, data = model(SHORT), linear_gaussian(10, 50)
    first = surrogate.fit(*data, seed=3)
    warm = surrogate.fit(*data, seed=3, warm=True)
    assert warm.history[0][2] < first.history[0][2] and warm.held_out_loss < first.held_out_loss


@pytest.mark.parametrize(("designs", "count"), [(20, 3), (2, 30)])
def test_held_out_events_share_no_design_and_no_event_with_the_others(designs: int, count: int) -> None:
    """Every design comes twice; of fewer than five different ones single events are held out."""
    values = torch.arange(designs, dtype=torch.float)[:, None].repeat(2, 1)
    phi = DesignPoint.of(thickness=values)
    kept, held = hold_out(phi, count, 0.1, torch.Generator().manual_seed(0))
    assert sorted(torch.cat([kept, held]).tolist()) == list(range(2 * designs * count))
    assert len(held) == round(0.1 * 2 * designs * count)
    if designs >= 5:
        of_event = values[:, 0].repeat_interleave(count)
        assert not set(of_event[kept].tolist()) & set(of_event[held].tolist())


def test_progress_is_reported_and_ends_at_one() -> None:
    seen: list[float] = []
    model(SHORT).fit(*linear_gaussian(10, 50), progress=lambda what, fraction: seen.append(fraction))
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) == 4


def test_early_stopping_keeps_the_best_weights() -> None:
    """Few events and many steps: the fit stops long before it has learnt them by heart."""
    surrogate = model(Training(steps=4000, batch=32, learning_rate=2e-2, weight_decay=0.0, check_every=20, patience=5))
    report = surrogate.fit(*linear_gaussian(10, 6))
    assert report.steps == report.best_step + 100 < 4000
    assert report.held_out_loss == min(held for _, _, held in report.history)


@pytest.mark.parametrize("field", ["hits", "design"])
def test_data_that_are_not_finite_are_refused(field: str) -> None:
    phi, primaries, events = linear_gaussian(10, 5)
    (events.hits if field == "hits" else phi.values).view(-1)[0] = float("nan")
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        model(SHORT).fit(phi, primaries, events)


def test_a_loss_that_becomes_infinite_stops_the_fit_and_keeps_finite_weights() -> None:
    surrogate = model(Training(steps=200, batch=32, learning_rate=1e6, gradient_norm=1e9, check_every=10))
    with pytest.raises(NonFiniteError, match=r"held-out designs; lower surrogate\.training\.learning_rate"):
        surrogate.fit(*linear_gaussian(10, 50))
    assert all(torch.isfinite(value).all() for value in surrogate.parameters())


def test_events_of_the_wrong_shape_are_refused() -> None:
    phi, primaries, events = linear_gaussian(10, 5)
    with pytest.raises(ShapeError, match="b x n of the primaries"):
        model(SHORT).fit(phi, primaries, events.select(slice(0, 3)))
    with pytest.raises(ShapeError, match="4 x 1"):
        model(SHORT).fit(phi, primaries, Events.of(events.truth, events.hits[:, :, :3]))
    mask = torch.ones(10, 5, 4, dtype=torch.bool)
    mask[0, 0, 3] = False
    with pytest.raises(ShapeError, match="same number of real hits"):
        model(SHORT).fit(phi, primaries, Events.of(events.truth, events.hits, mask))


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("learning_rate", float("nan")), ("held_out", 1.0)])
def test_settings_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"surrogate.training.{name}"):
        Training(**{name: value})


def test_blocks_must_be_positive() -> None:
    with pytest.raises(ConfigurationError, match="blocks"):
        CoarseToFine((2, 0), 1)
