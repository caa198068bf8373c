import pytest
import torch
from branching_programs import Point, Shower, quiet, shaped
from programs import Formula, row

from mode_opt.gradients.alternatives import scattered
from mode_opt.gradients.sites import Candidates, Overriding, Surveying, candidates, sensitivity
from mode_opt.simulation.choices import Bernoulli, Binomial, Categorical, Choices, Drawing, Lineages, Recording, Site

COUNT = 40


def several(phi, choices):
    """All shapes and kinds of choices, with an accept/reject loop."""
    p = row(phi, "p", choices)
    coin = choices.bernoulli(p)
    classes = choices.categorical(torch.stack([p, p**2, 1 - p], -1).unsqueeze(2).expand(-1, -1, 3, -1))
    count = choices.poisson(1 + p + coin)
    few = choices.binomial(torch.full((*choices.shape, 2), 4.0), p.unsqueeze(-1).expand(*choices.shape, 2))
    length = choices.exponential(1 + p)
    place = choices.accepted(lambda some, index: some.uniform(), lambda x, index: (p.flatten()[index] + x) / 2)
    return torch.cat([torch.stack([coin, count, length, place, choices.normal()], -1), few, classes.argmax(-1)], -1)


def survey(count=COUNT):
    point = Point(p=0.4)
    surveying = Surveying(Recording(count))
    lineages = Lineages.of_events(1, count, 7)
    events = Formula(several).run(point(), quiet(count), Choices(lineages, surveying))
    return point, events, Candidates.cat(surveying.found)


def repeat(point, chooser, count=COUNT):
    return Formula(several).run(point(), quiet(count), Choices(Lineages.of_events(1, count, 7), chooser))


def test_every_choice_is_surveyed():
    _, _, found = survey()
    loops = len(found.event) / COUNT - (1 + 3 * 3 + 1 + 2 * 2 + 1)
    assert loops >= 1 and (found.tangent.requires_grad) and len(found.uniform.unique()) > 0.99 * len(found.uniform)
    assert torch.equal(found.event[:COUNT], torch.arange(COUNT))
    assert found.element.max() == 2 and (found.counter[:COUNT] == 0).all()


def test_changing_nothing_changes_nothing():
    """Each event repeats one of its choices with the outcome it had: the same hits, bit for bit."""
    point, events, found = survey()
    hits = events.hits[0, :, 0].detach()
    # Columns: coin, count, length, place, noise, two counts, three classes; the value drawn and where it is.
    for call, column, elements in ((0, 0, 1), (1, 7, 3), (2, 1, 1), (3, 5, 2), (4, 2, 1)):
        for element in range(elements):
            mine = (found.counter == call) & (found.element == element)
            first = torch.stack([(mine & (found.event == event)).nonzero()[0, 0] for event in range(COUNT)])
            chosen = scattered(found, first, COUNT)
            same = Candidates(**{**vars(chosen), "value": hits[:, column + element]})
            assert torch.equal(repeat(point, Overriding(same, Drawing())).hits, events.hits.detach())
            other = repeat(point, Overriding(chosen, Drawing())).hits[0, :, 0].detach()
            changed = other[:, column + element] != hits[:, column + element]
            assert torch.equal(other[:, column + element], chosen.value) and (changed.any() or call == 1)
            if call != 0:  # nobody else depends on it
                rest = torch.arange(hits.shape[1]) != column + element
                assert torch.equal(other[:, rest], hits[:, rest])
            else:  # the count depends on the coin
                assert torch.equal(other[:, 2:], hits[:, 2:]) and not torch.equal(other[:, 1], hits[:, 1])


def test_a_turned_acceptance_goes_on_where_it_was():
    point, events, found = survey()
    loop = (found.counter == 6) & (found.value == 0)  # accepted at once, now rejected
    chosen = scattered(found, loop.nonzero().squeeze(1), COUNT)
    here = chosen.counter == 6
    assert here.any() and not here.all()
    other = repeat(point, Overriding(chosen, Drawing())).hits.detach()
    assert torch.equal(other[0, ~here], events.hits.detach()[0, ~here])
    assert (other[0, here, 0, 3] != events.hits[0, here, 0, 3]).all()
    assert torch.equal(other[0, here, 0, :3], events.hits.detach()[0, here, 0, :3])


def test_without_a_choice_to_meet_nothing_changes():
    point, events, found = survey()
    nothing = scattered(found, torch.zeros(0, dtype=torch.int64), COUNT)
    assert torch.equal(repeat(point, Overriding(nothing, Drawing())).hits, events.hits.detach())


@pytest.mark.parametrize(
    ("law", "outcome", "values"),
    [
        (Bernoulli(torch.full((2, 3), 0.3)), torch.tensor([[1.0, 0, 0], [0, 1, 1]]), [[0, 1, 1, 1, 0, 0]]),
        (
            Binomial(torch.full((2, 1), 5.0), torch.full((2, 1), 0.3)),
            torch.tensor([[5.0], [0.0]]),
            [[5, 1], [4, 0]],
        ),
        (Categorical(torch.full((2, 1, 3), 0.3)), torch.eye(3)[:2].unsqueeze(1), [[0, 0], [1, 1], [2, 2]]),
    ],
)
def test_candidates_know_their_place(law, outcome, values):
    lineages = Lineages(torch.tensor([4, 9]), torch.tensor([11, 12]), torch.tensor([3, 5]))
    site = Site(lineages, torch.arange(law.shape.numel()).reshape(law.shape))
    found = candidates(law, outcome, site)
    inner = law.shape[1]
    for candidate, value in zip(found, values, strict=True):
        assert candidate.value.tolist() == value
        assert candidate.event.tolist() == [4] * inner + [9] * inner
        assert candidate.key.tolist() == [11] * inner + [12] * inner
        assert candidate.counter.tolist() == [3] * inner + [5] * inner
        assert candidate.element.tolist() == list(range(inner)) * 2
    assert len(torch.stack([candidate.uniform for candidate in found]).unique()) == len(found) * 2 * inner


def tangents(values):
    """Functions of the parameters: of one, of many, of none."""
    first, total = values[0, 0], values.sum()
    return torch.stack([first**2, total.sin(), 3 * first - values[0, -1], values.new_tensor(1.0), first * total])


@pytest.mark.parametrize("parameters", [1, 2, 8])
def test_sensitivities_are_norms_of_derivatives(parameters):
    values = torch.rand(1, parameters, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    scale = torch.linspace(0.5, 3, parameters, dtype=torch.float64)
    found = sensitivity(tangents(values), values, scale, torch.Generator())
    jacobian = torch.autograd.functional.jacobian(tangents, values.detach())[:, 0]
    assert torch.allclose(found, (jacobian * scale).norm(dim=1))


def test_with_many_parameters_random_directions_measure_the_size():
    """The mean square of 8 directions, up to a common factor: within a factor of three of the norm here."""
    values = torch.rand(1, 20, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    scale = torch.ones(20, dtype=torch.float64)
    found = sensitivity(tangents(values), values, scale, torch.Generator().manual_seed(0)) / 8**0.5
    norm = torch.autograd.functional.jacobian(tangents, values.detach())[:, 0].norm(dim=1)
    assert found[3] == 0 and ((found / norm)[[0, 1, 2, 4]] > 1 / 3).all() and ((found / norm)[[0, 1, 2, 4]] < 3).all()


def test_what_does_not_depend_has_no_sensitivity():
    values = torch.ones(1, 2, requires_grad=True)
    other = torch.ones(3, requires_grad=True)
    assert (sensitivity(2 * other, values, torch.ones(2), torch.Generator()) == 0).all()


def test_a_program_of_particles_is_repeated_bit_for_bit():
    point = Point(a=0.8)
    program, primaries = Shower(looped=True, continuous=True), shaped(20, 2)

    def run(chooser):
        return program.run(point(), primaries, Choices(Lineages.of_events(1, 20, 3), chooser))

    surveying = Surveying(Recording(20))
    drawn = run(surveying)
    found = Candidates.cat(surveying.found)
    nothing = scattered(found, torch.zeros(0, dtype=torch.int64), 20)
    assert torch.equal(run(Overriding(nothing, Drawing())).hits, drawn.hits)
    first = torch.stack([(found.event == event).nonzero()[0, 0] for event in range(20)])
    assert not torch.equal(run(Overriding(scattered(found, first, 20), Drawing())).hits, drawn.hits)
