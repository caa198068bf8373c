"""Estimators that use nothing but values at displaced designs."""

import pytest
import torch
from statistical import assert_mean

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.gradients import EvolutionStrategies, FiniteDifferences, SimultaneousPerturbation
from mode_opt.simulation import BlackBoxSimulator, Counted, stream

SLOPES = torch.tensor([1.0, -2.0, 0.5])


class Line(BlackBoxSimulator):
    """``hit = Σ slope_i φ_i + noise``; it notes the state of each generator it is given."""

    def __init__(self):
        super().__init__()
        self.seeds = []

    def simulate(self, phi, primaries, generator):
        self.seeds.append(generator.initial_seed())
        noise = torch.randn(1, primaries.count, generator=generator)
        hits = (phi.values @ SLOPES).unsqueeze(1) + noise
        return Events.of(primaries.truth, hits[..., None, None])


def design():
    return Design({name: {"start": 1.0, "bounds": [-1.0, 3.0]} for name in "abc"})


def primaries(count=10):
    return Events.of(torch.zeros(1, count, 1), torch.ones(1, count, 1, 1))


def linear(events, phi):
    return events.hits[..., 0, 0].mean(1)


def square(events, phi):
    return events.hits[..., 0, 0].mean(1) + phi.values.square().sum(1)


def jump(events, phi):
    return (phi["a"][:, 0] > 1.0).float()


def slopes(estimator, score, repeats=400):
    mine, found = design(), []
    (scale,) = torch.autograd.grad(mine().values.sum(), mine.psi)
    for k in range(repeats):
        loss = estimator.loss(Line(), mine, primaries(), score, stream("cpu", 3, k))
        found.append(torch.autograd.grad(loss, mine.psi)[0][0])
    return torch.stack(found), scale[0]


@pytest.mark.parametrize("estimator", [SimultaneousPerturbation(0.01, 3), EvolutionStrategies(0.01, 3)])
@pytest.mark.parametrize("score", [linear, square])
def test_the_mean_is_the_gradient(estimator, score):
    found, scale = slopes(estimator, score)
    expected = SLOPES + (2.0 if score is square else 0.0)
    assert_mean(found, expected * scale, sigmas=4.0)
    assert (found.std(0) / len(found) ** 0.5 < 0.2 * (expected * scale).abs().max()).all()


def test_the_noise_of_a_direction_comes_from_the_other_parameters():
    """One direction: var_i = Σ_{j≠i} g_j² for signs; Σ_j g_j² + g_i² for normal numbers."""
    g = SLOPES**2
    found, scale = slopes(SimultaneousPerturbation(0.01, 1), linear, 1500)
    assert torch.allclose(found.var(0) / scale**2, g.sum() - g, rtol=0.15, atol=0.02)
    found, scale = slopes(EvolutionStrategies(0.01, 1), linear, 1500)
    assert torch.allclose(found.var(0) / scale**2, g.sum() + g, rtol=0.2)


def test_evolution_strategies_differentiate_the_smoothed_objective():
    """Of a jump at ψ₀ the gradient is the normal density 1/(σ √(2π)); finite differences have 1/2h of their own."""
    found, _ = slopes(EvolutionStrategies(0.3, 4), jump, 800)
    assert_mean(found, torch.tensor([1 / (0.3 * (2 * torch.pi) ** 0.5), 0.0, 0.0]))


@pytest.mark.parametrize(
    ("estimator", "simulations"),
    [(FiniteDifferences(), 6), (SimultaneousPerturbation(directions=2), 4), (EvolutionStrategies(pairs=5), 10)],
)
def test_all_sides_share_their_random_numbers_and_are_counted(estimator, simulations):
    line = Line()
    counted, generator = Counted(line), stream("cpu", 1)
    loss = estimator.loss(counted, design(), primaries(), linear, generator)
    assert len(line.seeds) == simulations and len(set(line.seeds)) == 1 and counted.calls == 10 * simulations
    assert torch.isfinite(loss) and loss.requires_grad
    estimator.loss(counted, design(), primaries(), linear, generator)
    assert len(set(line.seeds)) == 2  # another step, other numbers


def test_the_value_is_that_of_the_design():
    """A linear response is the same on average over opposite displacements; its noise is common."""
    for estimator in (FiniteDifferences(), SimultaneousPerturbation(), EvolutionStrategies()):
        line, mine = Line(), design()
        value = estimator.loss(line, mine, primaries(), linear, stream("cpu", 1))
        again = line(mine(), primaries(), torch.Generator().manual_seed(line.seeds[0])).hits.mean()
        assert torch.allclose(value, again, atol=0.05)


@pytest.mark.parametrize(
    ("build", "key"),
    [
        (lambda: SimultaneousPerturbation(step=0.0), "gradient.step: got 0"),
        (lambda: SimultaneousPerturbation(directions=0), "gradient.directions: got 0"),
        (lambda: EvolutionStrategies(width=-1.0), "gradient.width: got -1"),
        (lambda: EvolutionStrategies(pairs=0), "gradient.pairs: got 0"),
    ],
)
def test_bad_numbers_are_refused_with_their_key(build, key):
    with pytest.raises(ConfigurationError, match=key):
        build()
