from dataclasses import replace

import pytest
import torch
from programs import Formula, row
from statistical import assert_mean

from mode_opt.design import DesignPoint
from mode_opt.errors import ShapeError, SimulationError
from mode_opt.events import Events
from mode_opt.simulation import stream
from mode_opt.simulation.choices import Choices, Lineages, Recording


def leaf(**values):
    point = DesignPoint.of(**{name: torch.as_tensor(value) for name, value in values.items()})
    return DesignPoint(point.values.requires_grad_(), point.layout)


def nothing(count):
    return Events.of(torch.zeros(1, count, 1), torch.zeros(1, count, 1, 1))


def three(phi, choices):
    """A coin, three classes an event, and a count whose mean depends on them."""
    p = row(phi, "p", choices)
    coin = choices.bernoulli(p)
    classes = choices.categorical(torch.stack([p, 1 - p], -1).unsqueeze(2).expand(-1, -1, 3, -1))
    count = choices.poisson(p * (1 + coin) + classes[..., 0].sum(-1))
    return torch.stack([coin, classes[..., 0].sum(-1), count], -1)


def test_log_probability_and_controls_are_those_of_the_outcomes():
    phi = leaf(p=[[0.3], [0.6]])
    events = Formula(three)(phi, nothing(50), stream("cpu", 1))
    coin, first, count = events.hits[:, :, 0].unbind(-1)
    p = phi["p"]
    rate = p * (1 + coin) + first
    wanted = torch.where(coin > 0.5, p, 1 - p).log() + first * p.log() + (3 - first) * (1 - p).log()
    wanted = wanted + count * rate.log() - rate - torch.lgamma(count + 1)
    assert torch.allclose(events.log_probability, wanted, atol=1e-5)
    # Classes are numbered: the second counts 1.
    controls = torch.stack([coin - p, (3 - first) - 3 * (1 - p), count - rate], -1)
    assert torch.allclose(events.controls, controls, atol=1e-5)
    direction = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(2))
    for found, exact in ((events.log_probability, wanted), (events.controls[..., 2], controls[..., 2])):
        slopes = [
            torch.autograd.grad((value * direction).sum(), phi.values, retain_graph=True)[0] for value in (found, exact)
        ]
        assert torch.allclose(*slopes, rtol=1e-4)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.95])
def test_controls_have_mean_zero_at_every_design(p):
    """E[M] = 0, and its derivative: E[M ∇log p + ∇M] = 0 (weighted sums give it in one backward pass an event)."""
    phi, count = leaf(p=p), 20000
    events = Formula(three)(phi, nothing(count), stream("cpu", 3))
    assert_mean(events.controls[0].detach(), 0.0)
    for column in range(3):
        per_event = _slopes(events, column, p)
        assert_mean(per_event, 0.0)


def _slopes(events, column, p):
    coin, first, count = events.hits[0, :, 0].T
    rate = p * (1 + coin) + first
    score = coin / p - (1 - coin) / (1 - p) + first / p - (3 - first) / (1 - p) + (count / rate - 1) * (1 + coin)
    slope = [-torch.ones_like(coin), 3 * torch.ones_like(coin), -(1 + coin)][column]
    return events.controls[0, :, column].detach() * score + slope


def test_choices_that_do_not_depend_on_the_design_are_not_recorded():
    def noise(phi, choices):
        return choices.bernoulli(torch.full(choices.shape, 0.5)) + choices.normal()

    events = Formula(noise)(leaf(p=0.5), nothing(10), stream("cpu", 1))
    assert events.controls is None and (events.log_probability == 0).all()
    with torch.no_grad():
        events = Formula(three)(leaf(p=0.5), nothing(10), stream("cpu", 1))
    assert events.controls is None and (events.log_probability == 0).all()


def test_calls_beyond_the_eighth_share_a_control():
    def draw(phi, choices):
        return torch.stack([choices.bernoulli(row(phi, "p", choices)) for _ in range(11)], -1)

    events = Formula(draw)(leaf(p=0.5), nothing(10), stream("cpu", 1))
    assert events.controls.shape == (1, 10, 8)
    residual = events.hits[:, :, 0] - 0.5
    assert torch.allclose(events.controls[..., :7], residual[..., :7])
    assert torch.allclose(events.controls[..., 7], residual[..., 7:].sum(-1))


def test_earlier_records_are_kept():
    phi, before = leaf(p=0.5), torch.full((1, 10), -2.0)
    primaries = nothing(10).with_choices(before, torch.ones(1, 10, 2))
    events, alone = (Formula(three)(phi, given, stream("cpu", 1)) for given in (primaries, nothing(10)))
    assert torch.allclose(events.log_probability, alone.log_probability - 2)
    assert events.controls.shape == (1, 10, 5) and torch.equal(events.controls[..., 2:], alone.controls)


class _Impossible(Recording.__mro__[1]):
    """Decides for what cannot happen."""

    def __init__(self):
        self.recording = Recording(3)

    def choose(self, law, site):
        outcome = torch.ones(law.shape)
        self.recording.add(site.lineages.event, law.log_probability(outcome), outcome - law.expected)
        return outcome


def test_an_outcome_without_probability_is_an_error():
    chooser = _Impossible()
    Choices(Lineages.of_events(1, 3, 1), chooser).bernoulli(torch.tensor([[0.0, 0.5, 0.0]], requires_grad=True))
    with pytest.raises(SimulationError, match="not finite in 2 of 3 events"):
        chooser.recording.log_probability(torch.zeros(1))


@pytest.mark.parametrize("p", [0.0, 1.0, 1e-30, 1 - 1e-7])
def test_extreme_probabilities_have_finite_derivatives(p):
    def draw(phi, choices):
        p = row(phi, "p", choices)
        three = torch.full(choices.shape, 3.0)
        return choices.bernoulli(p) + choices.binomial(three, p) + choices.poisson(p)

    phi = leaf(p=p)
    events = Formula(draw)(phi, nothing(1000), stream("cpu", 1))
    (slope,) = torch.autograd.grad(events.log_probability.sum() + events.controls.sum(), phi.values)
    assert torch.isfinite(slope).all() and torch.isfinite(events.log_probability).all()


def test_events_carry_their_controls_along():
    controls = torch.arange(12.0).reshape(2, 3, 2)
    events = Events.of(torch.zeros(2, 3, 1), torch.zeros(2, 3, 1, 1)).with_choices(torch.zeros(2, 3), controls)
    assert torch.equal(events.select(torch.tensor([2, 0])).controls, controls[:, [2, 0]])
    assert torch.equal(events.design(1).controls, controls[1:])
    assert torch.equal(events.design(0).expand(4).controls, controls[:1].expand(4, -1, -1))
    assert torch.equal(Events.cat([events, events]).controls, torch.cat([controls, controls], 1))
    assert torch.equal(events.reweighted(torch.full((2, 3), 2.0)).controls, controls)
    assert torch.equal(
        events.with_choices(torch.zeros(2, 3), controls + 1).controls, torch.cat([controls, controls + 1], 2)
    )
    assert torch.equal(events.with_choices(torch.zeros(2, 3)).controls, controls)
    moving = events.with_choices(torch.zeros(2, 3), controls.clone().requires_grad_())
    assert moving.controls.requires_grad and not moving.detach().controls.requires_grad


def test_controls_of_another_shape_are_refused():
    for shape in ((1, 10), (1, 9, 2), (2, 10, 2)):
        with pytest.raises(
            ShapeError, match=r"Events.controls: got shape .*, expected b x n x c with b x n = \(1, 10\)"
        ):
            replace(nothing(10), controls=torch.zeros(shape))
    recorded = nothing(10).with_choices(torch.zeros(1, 10), torch.zeros(1, 10, 2))
    with pytest.raises(ShapeError, match=r"Events.controls: .* recorded in all 2 parts or in none"):
        Events.cat([recorded, nothing(10).with_choices(torch.zeros(1, 10))])
