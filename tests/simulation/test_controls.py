"""The controls of branching programs: mean zero at every design, with the weights that they claim to have."""

import pytest
import torch
from branching_programs import Poissonian, Shower, quiet, shaped
from programs import Offspring
from statistical import assert_mean

from mode_opt.design import DesignPoint
from mode_opt.simulation import stream
from mode_opt.simulation.choices import Lineages, Site
from mode_opt.simulation.controls import ControlSums
from mode_opt.simulation.particles import Particles

COUNT = 4000


def per_event(program, primaries, name, value):
    """One design an event: the derivatives of every event apart from each other."""
    phi = DesignPoint.of(**{name: torch.full((COUNT, 1), value)})
    phi = DesignPoint(phi.values.requires_grad_(), phi.layout)
    return phi, program(phi, primaries.expand(COUNT), stream("cpu", 11))


CASES = [
    pytest.param(Shower(), shaped(1, 2), "a", [0.1, 0.8, 2.0], 4, id="shower"),
    pytest.param(Shower(looped=True), shaped(1, 2), "a", [0.3, 1.5], 16, id="accept/reject"),
    pytest.param(Offspring(4, True), quiet(1), "p", [0.05, 0.6, 0.95], 1, id="split or die"),
    pytest.param(Poissonian(3), quiet(1), "m", [0.2, 1.5], 1, id="Poisson"),
]


@pytest.mark.parametrize(("program", "primaries", "name", "values", "most"), CASES)
def test_controls_and_their_products_with_the_score_have_mean_zero(program, primaries, name, values, most):
    """``E[M] = 0`` and ``E[M ∇log p + ∇M] = 0``."""
    for value in values:
        phi, events = per_event(program, primaries, name, value)
        controls = events.controls[:, 0]
        assert 1 <= controls.shape[1] <= most
        (score,) = torch.autograd.grad(events.log_probability.sum(), phi.values, retain_graph=True)
        assert_mean(score, 0.0)
        for column in controls.T:
            if not bool(column.any()):
                continue
            (slope,) = torch.autograd.grad(column.sum(), phi.values, retain_graph=True)
            assert_mean(column.detach(), 0.0)
            assert_mean(column.detach() * score[:, 0] + slope[:, 0], 0.0)


def test_controls_are_weighed_by_the_states_before_the_step():
    """The first step of one particle an event: energy 1 + u, where u is the noise of the event."""
    program = Shower(max_steps=100)
    phi = DesignPoint.of(a=0.8)
    phi = DesignPoint(phi.values.requires_grad_(), phi.layout)
    seen = []
    step = program.step

    def noting(rows, state, choices):
        result = step(rows, state, choices)
        seen.append((state["energy"].clone(), result))
        return result

    program.step = noting
    events = program(phi, shaped(50), stream("cpu", 1))
    # A coin that falls on 1 gives a child, or the energy was too low for one: there p - x is what the sums must tell.
    assert events.controls.shape == (1, 50, 2)
    energy, first = seen[0]
    split = torch.zeros(50).index_fill(0, first.children[0].parent, 1.0)
    residual = split - (1 - torch.exp(-0.8 * energy))
    single = Shower(max_steps=100)
    single.step = lambda rows, state, choices: _one_step(step, rows, state, choices)
    only = single(phi, shaped(50), stream("cpu", 1)).controls[0].detach()
    ones, weighed = only.T
    assert torch.allclose(ones, residual, atol=1e-6)
    assert torch.allclose(weighed, residual * energy, atol=1e-6)


def _one_step(step, rows, state, choices):
    result = step(rows, state, choices)
    return type(result)(result.state, result.alive & False, [], result.deposits)


def particles():
    lineages = Lineages(torch.tensor([0, 0, 1]), torch.tensor([5, 6, 5]), torch.zeros(3, dtype=torch.int64))
    return Particles(lineages, {"energy": torch.tensor([1.0, 10.0, 100.0])}, torch.zeros(3, dtype=torch.int64))


def test_sums_of_residuals():
    sums = ControlSums(("energy",), 2, torch.zeros(()))
    residual, everybody = torch.tensor([0.1, 0.2, 0.3]), torch.arange(3)
    sums.add(0, particles(), everybody, residual, torch.tensor([[1.0], [2.0], [3.0]]))
    assert torch.allclose(sums.values(2), torch.tensor([[0.3, 2.1], [0.3, 30.0]]))
    sums.add(1, particles(), torch.tensor([1, 1]), torch.tensor([0.5, 0.25]))  # one particle chose twice
    assert torch.allclose(sums.values(4)[:, 2:], torch.tensor([[0.75, 7.5], [0.0, 0.0]]))
    phi = DesignPoint.of(a=1.0)
    phi = DesignPoint(phi.values.requires_grad_(), phi.layout)
    total = sums.total(phi, torch.zeros(2, dtype=torch.int64), 4)
    for column, wanted in enumerate([6.0, 321.0]):
        assert torch.autograd.grad(total[:, column].sum(), phi.values, retain_graph=True)[0] == wanted
    sums.clear(torch.tensor([0]))
    assert (sums.values(5)[0] == 0).all() and sums.values(5).shape == (2, 5) and sums.values(5)[1, 0] == 0.3


def test_only_those_that_are_kept_count():
    sums = ControlSums(("energy",), 2, torch.zeros(()))
    kept = torch.tensor([False, True, True])
    sums.add(0, particles(), torch.arange(3), torch.tensor([0.1, 0.2, 0.3]), kept=kept)
    assert torch.allclose(sums.values(2), torch.tensor([[0.2, 2.0], [0.3, 30.0]]))
    some = ControlSums((), 2, torch.zeros(()))
    some.add(0, particles(), torch.tensor([0, 2]), torch.tensor([0.1, 0.3]), kept=kept)  # particle 1 did not choose
    assert torch.allclose(some.values(1), torch.tensor([[0.0], [0.3]]))


def test_many_calls_share_the_last_sums():
    sums = ControlSums((), 2, torch.zeros(()))
    for number in range(20):
        sums.add(number, particles(), torch.arange(3), torch.ones(3))
    assert sums.width == 8 and sums.values(8)[1].tolist() == [1.0] * 7 + [13.0]


def test_owners_are_found_by_event_and_key():
    """Particles 0 and 2 have the same key in different events."""
    some = particles()
    for index in ([2, 0], [1], [0, 1, 2], []):
        chosen = torch.tensor(index, dtype=torch.int64)
        lineages = some.lineages.flat(chosen)
        assert some.owner(Site(lineages, lineages.key)).tolist() == index
    lineages = some.lineages.flat(torch.tensor([2, 1]))
    assert some.owner(Site(lineages, lineages.key[:, None].expand(2, 2))).tolist() == [2, 2, 1, 1]
