"""One alternative of a branching program: exactly the program run again with one choice changed."""

import pytest
import torch
from branching_programs import Point, Poissonian, Shower, quiet, shaped
from programs import Offspring
from statistical import assert_mean

from mode_opt.errors import ConfigurationError, SimulationError
from mode_opt.gradients import tree
from mode_opt.gradients.sites import Overriding
from mode_opt.gradients.tree import explore_tree
from mode_opt.simulation import BranchingProgram, Step
from mode_opt.simulation.choices import Choices, Drawing, Lineages, Recording
from mode_opt.simulation.program import recorded

CASES = [
    pytest.param(Shower(), Point(a=0.8), shaped(60, 2), id="shower"),
    pytest.param(Shower(looped=True), Point(a=0.8), shaped(60, 2), id="accept/reject"),
    pytest.param(Offspring(6, False), Point(p=0.3), quiet(60), id="split or go on"),
    pytest.param(Offspring(6, True), Point(p=0.6), quiet(60), id="split or die"),
    pytest.param(Poissonian(5), Point(m=1.3), quiet(60), id="Poisson"),
]


def spied(monkeypatch, program, point, primaries, seed=3):
    """What the exploration finds, and the choices that it changed."""
    slots, original = [], tree.Exploration.slots
    monkeypatch.setattr(tree.Exploration, "slots", lambda self: slots.append(original(self)) or slots[-1])
    return *explore_tree(program, point(), primaries, seed), slots[0]


def rerun(program, point, primaries, chooser=None, seed=3):
    recording = Recording(primaries.count)
    choices = Choices(Lineages.of_events(1, primaries.count, seed), chooser(recording) if chooser else recording)
    return recorded(program.run(point(), primaries, choices), recording)


@pytest.mark.parametrize(("program", "point", "primaries"), CASES)
def test_what_was_drawn_is_what_a_run_draws(monkeypatch, program, point, primaries):
    drawn, _, tangent, simulated, _ = spied(monkeypatch, program, point, primaries)
    plain = rerun(program, point, primaries)
    assert torch.equal(drawn.hits, plain.hits) and simulated == 60
    assert drawn.controls.shape == plain.controls.shape
    assert torch.allclose(drawn.controls, plain.controls, atol=1e-5)
    both = [torch.autograd.grad(events.controls.square().sum(), point.phi.values)[0] for events in (drawn, plain)]
    assert torch.allclose(*both, rtol=1e-4)
    assert (tangent == 0).all()


@pytest.mark.parametrize(("program", "point", "primaries"), CASES)
def test_the_alternative_is_a_run_with_that_choice_changed(monkeypatch, program, point, primaries):
    """Bit for bit: subtree taken out, followed again and put back."""
    drawn, other, _, _, slots = spied(monkeypatch, program, point, primaries)
    assert torch.equal(slots.event, torch.arange(60))
    full = rerun(program, point, primaries, lambda _: Overriding(slots.changes, Drawing()))
    assert torch.equal(other.hits, full.hits)
    assert not torch.equal(other.hits, drawn.hits) and not other.controls.requires_grad


@pytest.mark.parametrize(("program", "point", "primaries"), CASES)
def test_controls_of_the_alternative_are_those_of_the_run(monkeypatch, program, point, primaries):
    _, other, _, _, slots = spied(monkeypatch, program, point, primaries)
    program.continuous = True  # records everything that `Overriding` draws: the sums with weight 1
    try:
        full = rerun(program, point, primaries, lambda recording: Overriding(slots.changes, recording))
    finally:
        program.continuous = False
    ones = other.controls[0, :, :: 1 + len(program.controls)].sum(-1)
    assert torch.allclose(ones, full.controls[0].sum(-1), atol=1e-4)


@pytest.mark.parametrize(("program", "point", "primaries"), CASES)
def test_changing_nothing_gives_the_same_hits(monkeypatch, program, point, primaries):
    """The drawn outcome in the place of the alternative: what is taken out is exactly what is put back."""
    original = tree.candidates

    def same(law, outcome, site):
        found = original(law, outcome, site)
        return [tree.Candidates(**{**vars(one), "value": law.encode(outcome).flatten()}) for one in found]

    monkeypatch.setattr(tree, "candidates", same)
    drawn, other, *_ = explore_tree(program, point(), primaries, 3)
    assert torch.equal(drawn.hits, other.hits)
    assert torch.allclose(drawn.controls, other.controls, atol=1e-5)


def test_a_choice_is_changed_in_proportion_to_its_sensitivity(monkeypatch):
    """Yule for two generations: 2 choices an event, or 3 after a split, one of them the first; all as sensitive."""
    slots = spied(monkeypatch, Offspring(2, False), Point(p=0.5), quiet(8000))[-1]
    assert_mean((slots.particles.state["age"] == 0).float(), 0.5 / 2 + 0.5 / 3)
    assert set(slots.slope.abs().flatten().tolist()) == {2.0, 3.0}


def test_events_without_choices_are_repeated(monkeypatch):
    number = torch.tensor([0, 2, 0, 1])
    drawn, other, tangent, simulated, _ = spied(monkeypatch, Shower(), Point(a=0.8), shaped(4, number))
    assert simulated == 2
    for events in (drawn, other):
        assert (events.hits[0, number == 0] == 0).all() and (events.controls[0, number == 0] == 0).all()
    drawn, other, tangent, simulated = explore_tree(Shower(), Point(a=0.8)(), shaped(4, 0), 1)
    assert simulated == 0 and torch.equal(drawn.hits, other.hits) and (tangent == 0).all()


def test_continuous_programs_are_refused():
    with pytest.raises(ConfigurationError, match="which is continuous"):
        explore_tree(Shower(moving=True), Point(a=0.8)(), shaped(4), 1)


def test_several_choices_in_one_call_are_refused():
    class Wide(BranchingProgram):
        def start(self, phi, primaries, choices):
            return torch.arange(primaries.count), {"x": torch.zeros(primaries.count)}

        def step(self, phi, state, choices):
            choices.bernoulli(phi["p"].expand(-1, 3))
            return Step(state, state["x"] > 0)

    with pytest.raises(SimulationError, match=r"Bernoulli in step\(\): got \(4, 3\) choices .*, expected \(4,\)"):
        explore_tree(Wide(1), Point(p=0.8)(), quiet(4), 1)
