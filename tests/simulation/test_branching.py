import pytest
import torch
from branching_programs import Point, Poissonian, Shower, quiet, shaped
from programs import Offspring
from statistical import assert_mean

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, SimulationError
from mode_opt.simulation import BranchingProgram, Children, Deposits, Step, stream
from mode_opt.simulation.choices import Choices, Lineages, Recording


def point(*values, name="a"):
    phi = DesignPoint.of(**{name: torch.tensor(values).reshape(-1, 1)})
    return DesignPoint(phi.values.requires_grad_(), phi.layout)


def of_seed(program, phi, primaries, seed=3):
    """Run with event streams of a known seed."""
    primaries = primaries.expand(phi.designs)
    choices = Choices(Lineages.of_events(phi.designs, primaries.count, seed), Recording(phi.designs * primaries.count))
    return program.run(phi, primaries, choices).hits


class Splitting(BranchingProgram):
    """One step of everybody: what `moves` says."""

    def __init__(self, moves, **settings):
        super().__init__(cells=2, **settings)
        self.moves = moves

    def start(self, phi, primaries, choices):
        event = torch.arange(phi.designs * primaries.count)
        return event, {"x": torch.zeros(len(event))}

    def step(self, phi, state, choices):
        return self.moves(phi, state["x"], choices)


def test_energy_is_conserved_cell_by_cell():
    events = Shower()(point(0.8), shaped(200, 3), stream("cpu", 1))
    assert events.hits.shape == (1, 200, 4, 2) and events.mask.all()
    assert (events.hits[..., 0].sum(-1) < 6).all() and (events.hits[..., 1].sum(-1) >= 3).all()


def test_the_mean_of_a_galton_watson_process():
    for program, name, m in ((Offspring(5, False), "p", 1.3), (Poissonian(5), "m", 1.3)):
        events = program(point(m - (name == "p"), name=name), quiet(20000), stream("cpu", 2))
        assert_mean(events.hits.flatten(), m**5)


PROGRAMS = [
    pytest.param(Shower(), point(0.8), id="shower"),
    pytest.param(Shower(looped=True), point(0.8), id="accept/reject"),
    pytest.param(Poissonian(5), point(1.5, name="m"), id="many children"),
]


@pytest.mark.parametrize(("program", "phi"), PROGRAMS)
def test_an_event_does_not_know_the_others(program, phi):
    """Alone, in another place of the batch or among others: the same hits, bit for bit."""
    together = of_seed(program, phi, shaped(30, 2))
    for count in (1, 7):
        assert torch.equal(of_seed(program, phi, shaped(count, 2)), together[:, :count])


@pytest.mark.parametrize(("program", "phi"), PROGRAMS)
def test_designs_do_not_know_each_other(program, phi):
    name = next(iter(phi.layout.columns))
    both = of_seed(program, point(phi.values.item(), 1.1, name=name), shaped(40, 2))
    assert torch.equal(both[:1], of_seed(program, phi, shaped(40, 2)))
    assert not torch.equal(both[0], both[1])


def test_two_designs_have_their_own_log_probabilities():
    both = point(0.3, 0.9)
    events = Shower()(both, shaped(50, 2), stream("cpu", 1))
    (slope,) = torch.autograd.grad(events.log_probability[1].sum(), both.values)
    assert slope[0] == 0 and slope[1] != 0
    (slope,) = torch.autograd.grad(Shower()(both, shaped(50, 2), stream("cpu", 1)).controls[0].sum(), both.values)
    assert slope[1] == 0 and slope[0] != 0


def test_the_design_moves_outcomes_with_common_numbers():
    low, high = (of_seed(Offspring(4, False), point(p, name="p"), quiet(500)) for p in (0.2, 0.7))
    assert (low <= high).all() and low.mean() < high.mean()


def test_events_may_be_empty():
    number = torch.tensor([0, 2, 0, 1, 0])
    events = Shower()(point(0.8), shaped(5, number), stream("cpu", 1))
    assert (events.hits[0, number == 0] == 0).all() and (events.hits[0, number > 0, 0, 1] > 0).all()
    assert (events.log_probability[0, number == 0] == 0).all() and (events.controls[0, number == 0] == 0).all()
    nobody = Shower()(point(0.8), shaped(5, 0), stream("cpu", 1))
    assert (nobody.hits == 0).all() and (nobody.log_probability == 0).all() and nobody.hits.shape == (1, 5, 4, 2)
    assert nobody.controls is None


def test_particles_of_one_event_are_independent():
    class Pair(Splitting):
        def start(self, phi, primaries, choices):
            event = torch.arange(primaries.count).repeat(2)  # in any order
            return event, {"x": torch.arange(2.0).repeat_interleave(primaries.count)}

    def moves(phi, x, choices):
        return end(x, alive=x > 5, deposits=deposit(x.long(), choices.uniform()))

    hits = Pair(moves)(point(0.5), quiet(4000), stream("cpu", 1)).hits[0, :, :, 0]
    assert abs(torch.corrcoef(hits.T)[0, 1]) < 4 / 4000**0.5 and (hits > 0).all()


def test_siblings_and_generations_have_streams_of_their_own():
    """Everybody gets two children in each step and notes a number: no number occurs twice."""
    noted = []

    def moves(phi, x, choices):
        noted.append(choices.uniform(dtype=torch.float64))
        everybody = torch.arange(len(x))
        children = [Children(everybody, {"x": x + 1})] * 2
        return Step({"x": x + 1}, x < 4, children, [])

    def silent(phi, x, choices):
        if float(x[0]) < 4:  # no number is drawn: the streams do not advance by themselves
            everybody = torch.arange(len(x))
            return Step({"x": x + 1}, torch.ones_like(x) > 0, [Children(everybody, {"x": x + 1})], [])
        noted.append(choices.uniform(dtype=torch.float64))
        return Step({"x": x}, x < 0)

    for move, count in ((moves, None), (silent, 3 * 16)):
        noted.clear()
        program = Splitting(move, capacity=2000)
        if count is None:
            with pytest.raises(SimulationError):
                program(point(0.5), quiet(3), stream("cpu", 1))
        else:
            program(point(0.5), quiet(3), stream("cpu", 1))
        numbers = torch.cat(noted)
        assert len(numbers.unique()) == len(numbers) and (count is None or len(numbers) == count)


def test_limits():
    with pytest.raises(SimulationError, match=r"Offspring: \d+ particles in 10 events exceed the capacity of 50"):
        program = Offspring(20, False)
        program.capacity = 50
        program(point(0.9, name="p"), quiet(10), stream("cpu", 1))
    shower = Shower(max_steps=3)
    with pytest.raises(SimulationError, match=r"Shower: \d+ particles are still alive after 3 steps"):
        shower(point(0.5), shaped(10), stream("cpu", 1))
    enough = Offspring(6, False)
    enough.max_steps = 6
    assert enough(point(0.5, name="p"), quiet(3), stream("cpu", 1)).hits.shape == (1, 3, 1, 1)
    for setting in ("cells", "capacity", "max_steps", "features"):
        with pytest.raises(ConfigurationError, match=rf"simulator\.{setting}: got 0"):
            Splitting(None, **{setting: 0}) if setting != "cells" else Zero()


class Zero(Splitting):
    def __init__(self):
        BranchingProgram.__init__(self, cells=0)


def end(x, **changes):
    parts = {"state": {"x": x}, "alive": x < 0, **changes}
    return Step(**parts)


def deposit(cell, value):
    return [Deposits(cell, value)]


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        (
            lambda phi, x, c: end(x, children=[Children(torch.tensor([1, 1]), {"x": x[:2]})]),
            "Children.parent must rise",
        ),
        (
            lambda phi, x, c: end(x, children=[Children(torch.tensor([1, 0]), {"x": x[:2]})]),
            "Children.parent must rise",
        ),
        (
            lambda phi, x, c: end(x, children=[Children(torch.tensor([1]), {"y": x[:1]})]),
            "same state as their parents: x",
        ),
        (lambda phi, x, c: end(x, deposits=deposit(torch.full((3,), 2), x)), "cell 2, expected cells 0 to 1"),
        (lambda phi, x, c: end(x, deposits=deposit(torch.full((3,), -1), x)), "cell -1, expected cells 0 to 1"),
    ],
)
def test_wrong_steps_are_refused(moves, message):
    with pytest.raises(SimulationError, match=message):
        Splitting(moves)(point(0.5), quiet(3), stream("cpu", 1))


def test_start_may_draw_noise_only():
    class Choosing(Splitting):
        def start(self, phi, primaries, choices):
            return torch.arange(3), {"x": choices.bernoulli(torch.full(choices.shape, 0.5)).flatten()}

    with pytest.raises(SimulationError, match="may draw noise only"):
        Choosing(None)(point(0.5), quiet(3), stream("cpu", 1))


@pytest.mark.parametrize(
    ("moves", "what"),
    [
        (lambda phi, x, c: end(x + phi["a"][:, 0]), "x"),
        (lambda phi, x, c: end(x, deposits=deposit(torch.zeros(3).long(), x + phi["a"][:, 0])), "deposit"),
        (lambda phi, x, c: end(x, children=[Children(torch.arange(3), {"x": phi["a"][:, 0]})]), "child x"),
    ],
)
def test_a_state_that_follows_the_design_has_to_be_declared(moves, what):
    with pytest.raises(SimulationError, match=f"^{what} depends on the design .* continuous=True"):
        Splitting(moves)(point(0.5), quiet(3), stream("cpu", 1))
    declared = Splitting(moves, continuous=True, max_steps=1)
    try:
        declared(point(0.5), quiet(3), stream("cpu", 1))
    except SimulationError as error:
        assert "still alive" in str(error)


def test_continuous_deposits_have_their_derivative():
    phi = point(0.7)
    hits = of_seed(Shower(moving=True), phi, shaped(100))
    (slope,) = torch.autograd.grad(hits[..., 0].sum(), phi.values)
    assert torch.allclose(slope, hits[..., 0].sum() / 0.7, rtol=1e-5)


@pytest.mark.parametrize("looped", [False, True])
def test_local_scores_are_those_of_the_full_record(looped):
    """Log-probability, its derivative and the controls, for two designs and several primaries."""
    phi, primaries = point(0.4, 0.9), shaped(20, torch.arange(20) % 3)
    local, taped = (
        Shower(looped=looped, continuous=continuous)(phi, primaries, stream("cpu", 1)) for continuous in (False, True)
    )
    assert torch.equal(local.hits, taped.hits)
    assert torch.allclose(local.log_probability, taped.log_probability, atol=1e-5)
    direction = torch.randn(2, 20, generator=torch.Generator().manual_seed(1))
    slopes = [
        torch.autograd.grad((events.log_probability * direction).sum(), phi.values, retain_graph=True)[0]
        for events in (local, taped)
    ]
    assert torch.allclose(*slopes, rtol=1e-5)


def test_local_controls_are_those_of_the_full_record():
    """One call a step: the sums of the record are the first local sums (those with weight 1)."""
    phi, primaries = point(0.2, 0.5, name="p"), quiet(30)
    local = Offspring(6, False)(phi, primaries, stream("cpu", 1))
    program = Offspring(6, False)
    program.continuous = True
    taped = program(phi, primaries, stream("cpu", 1))
    total = taped.controls.sum(-1)
    assert local.controls.shape == (2, 30, 1) and torch.allclose(local.controls[..., 0], total, atol=1e-5)
    slopes = [torch.autograd.grad(c.square().sum(), phi.values, retain_graph=True)[0] for c in (local.controls, total)]
    assert torch.allclose(*slopes, rtol=1e-5)


def nodes(tensor):
    """Size of the graph that stands behind a tensor."""
    seen, todo = set(), [tensor.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [following for following, _ in node.next_functions]
    return len(seen)


def test_the_record_does_not_grow_with_the_steps():
    def graph(generations, continuous):
        program = Offspring(generations, False)
        program.continuous = continuous
        events = program(point(0.1, name="p"), quiet(5), stream("cpu", 1))
        return nodes(events.log_probability) + nodes(events.controls)

    assert graph(30, False) == graph(3, False) < 40
    assert graph(30, True) > 3 * graph(3, True)


def test_without_derivatives_nothing_is_recorded():
    phi = point(0.5)
    with torch.no_grad():
        events = Shower()(phi, shaped(5), stream("cpu", 1))
    detached = Shower()(phi.detach(), shaped(5), stream("cpu", 1))
    assert torch.equal(events.hits, detached.hits)
    assert events.controls is None and (events.log_probability == 0).all()
    assert torch.equal(events.hits, Shower()(phi, shaped(5), stream("cpu", 1)).hits)


def test_a_point_is_a_design():
    assert Point(a=0.5, b=[1.0, 2.0])()["b"].shape == (1, 2)
