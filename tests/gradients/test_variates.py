import pytest
import torch
from branching_programs import Point, quiet, sampled
from programs import Formula, mean, row
from statistical import assert_mean

from mode_opt.events import Events
from mode_opt.gradients import ScoreFunction
from mode_opt.gradients.variates import RIDGE, explained, explained_columns, features_of_primaries, leave_one_out
from mode_opt.simulation import stream


def numbers(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_leaving_one_out_in_closed_form_is_refitting():
    columns, target = numbers(30, 3), numbers(30, seed=2)
    found = leave_one_out(columns, target)
    x = torch.cat([torch.ones(30, 1, dtype=torch.float64), columns], 1)
    # The refits keep the penalty of the fit to all events.
    penalty = torch.diag(torch.tensor([0.0, 1.0, 1.0, 1.0], dtype=torch.float64)) * RIDGE * 30
    for event in range(30):
        rest = torch.arange(30) != event
        refit = torch.linalg.solve(x[rest].T @ x[rest] + penalty, x[rest].T @ target[rest])
        assert torch.allclose(found[event], refit[1:], rtol=1e-9)


def test_the_coefficients_do_not_know_their_event():
    columns, target = numbers(30, 2), numbers(30, seed=2)
    before = leave_one_out(columns, target)
    target[7] += 100.0
    after = leave_one_out(columns, target)
    assert torch.allclose(before[7], after[7]) and not torch.allclose(before[8], after[8])


def test_a_constant_of_all_targets_does_not_matter():
    columns, target = numbers(30, 2), numbers(30, seed=2)
    assert torch.allclose(leave_one_out(columns, target), leave_one_out(columns, target + 5))


def test_what_is_linear_is_explained():
    columns = torch.cat([numbers(50, 2), torch.full((50, 1), 3.0)], 1)
    target = columns[:, 0] * 1e3 - 2 * columns[:, 1] + 7
    found = explained(target, columns, 50)
    assert torch.allclose(found, target - 7, rtol=1e-2, atol=1.0)
    coefficients = explained_columns(target, columns, 50)
    assert (coefficients[:, 2] == 0).all()  # a constant column explains nothing


def test_alternatives_use_the_coefficients_of_their_event():
    columns, target = numbers(60, 2), numbers(20, seed=2)
    found = explained(target, columns, 20)
    coefficients = explained_columns(target, columns[:20], 20)
    assert torch.allclose(found[20:40], (coefficients * columns[20:40]).sum(1))
    assert torch.allclose(found[40:], (coefficients * columns[40:]).sum(1))


@pytest.mark.parametrize(("count", "enough"), [(1, False), (2, False), (7, False), (11, False), (12, True)])
def test_too_few_events(count, enough):
    found = explained(numbers(count), numbers(count, 2), count)
    assert (found is not None) == enough
    assert explained(numbers(50), torch.ones(50, 2, dtype=torch.float64), 50) is None


def test_derivatives_pass_through_the_columns_alone():
    columns = numbers(40, 2).requires_grad_()
    target = numbers(40, seed=2)
    (slope,) = torch.autograd.grad(explained(target, columns, 40).sum(), columns)
    assert torch.allclose(slope, explained_columns(target, columns.detach(), 40))


def test_features_of_primaries():
    truth, hits = numbers(1, 200, 2).float(), torch.full((1, 200, 3, 2), 0.1)
    features = features_of_primaries(Events.of(truth, hits))
    assert features.shape == (200, 2 + 2 + 32)
    assert features.mean(0).abs().max() < 1e-5
    # A function of the truth that is not linear is explained.
    target = torch.sin(2 * truth[0, :, 0]) * truth[0, :, 1]
    rest = target - explained(target, features, 200)
    assert rest.var() < 0.3 * target.var()


@pytest.mark.parametrize("value", [0.0, 0.1, 50.1, -1e4])
@pytest.mark.parametrize("count", [1, 2, 1000])
def test_primaries_that_are_all_alike_have_no_features(value, count):
    alike = Events.of(torch.full((1, count, 1), value), torch.full((1, count, 1, 2), value))
    assert features_of_primaries(alike).shape == (count, 0)


def linear():
    """f = 3 x₁ + x₂ + noise, x two coins: all but the noise is a matter of the controls."""

    def draw(phi, choices):
        p = row(phi, "p", choices)
        return 3 * choices.bernoulli(p) + choices.bernoulli(p**2) + 0.5 * choices.normal()

    return Formula(draw), Point(p=0.4), 3 + 2 * 0.4


@pytest.mark.parametrize("weighted", [False, True])
def test_controls_are_unbiased_and_take_the_explained_part_away(weighted):
    program, point, exact = linear()
    weight = 0.2 + torch.rand(1, 400, generator=torch.Generator().manual_seed(1)) * 2 if weighted else None
    primaries = quiet(400, weight)
    plain, better = (
        sampled(ScoreFunction(controls=controls), program, point, mean(lambda x: x), primaries, 150)
        for controls in (False, True)
    )
    assert_mean(plain[:, 0], exact)
    assert_mean(better[:, 0], exact)
    # With controls the noise alone is left: Var(noise · score) = 0.25 I, I the information of both coins.
    information = 1 / (0.4 * 0.6) + 4 * 0.16 / (0.16 * 0.84)
    size = 400 if weight is None else float(weight.sum() ** 2 / (weight**2).sum())
    predicted = 0.25 * information / size
    assert 0.7 < better.var() / predicted < 1.45
    assert plain.var() > 10 * better.var()


def test_the_value_is_that_of_the_objective():
    program, point, _ = linear()
    values = [
        ScoreFunction().loss(program, point, quiet(400), mean(lambda x: x), stream("cpu", 1, batch)).detach()
        for batch in range(100)
    ]
    assert_mean(torch.stack(values), 3 * 0.4 + 0.16)


@pytest.mark.parametrize("estimator", [ScoreFunction("none"), ScoreFunction()])
@pytest.mark.parametrize("weights", [[0.2, 3.0, 1.0], [5.0, 5.0, 5.0]])
def test_few_events_with_any_weights_are_unbiased(estimator, weights):
    program, point, exact = linear()
    found = sampled(estimator, program, point, mean(lambda x: x), quiet(3, torch.tensor([weights])), 1500)
    assert_mean(found[:, 0], exact)


@pytest.mark.parametrize("baseline", ["none", "leave_one_out", "learned"])
def test_baselines_with_primaries_that_matter(baseline):
    """The primaries say most of f: the learned baseline takes it away."""

    class Shifted(type(linear()[0])):
        def run(self, phi, primaries, choices):
            events = super().run(phi, primaries, choices)
            return Events.of(events.truth, events.hits + 10 * primaries.truth.unsqueeze(-1) ** 2)

    program, point, exact = linear()
    energies = torch.randn(1, 300, 1, generator=torch.Generator().manual_seed(2))
    primaries = Events.of(energies, torch.zeros(1, 300, 1, 1))
    estimator, shifted = ScoreFunction(baseline, controls=False), Shifted(program.draw)
    found = sampled(estimator, shifted, point, mean(lambda x: x), primaries, 150)
    assert_mean(found[:, 0], exact)
    spread = float(found.std()) * 300**0.5
    assert {"none": spread > 45, "leave_one_out": 30 < spread < 50, "learned": spread < 8}[baseline]


def test_an_objective_of_the_design_alone():
    program, point, _ = linear()
    loss = ScoreFunction().loss(program, point, quiet(50), lambda events, phi: phi["p"][:, 0] ** 2, stream("cpu", 1))
    assert torch.allclose(torch.autograd.grad(loss, point.phi.values)[0], torch.tensor([[0.8]]))
