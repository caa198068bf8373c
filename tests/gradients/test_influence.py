import torch
from branching_programs import quiet

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.gradients.influence import influence


def events(values, weight):
    return Events.of(torch.zeros(1, len(values), 1), values.reshape(1, -1, 1, 1), None, weight.reshape(1, -1))


def average(events, phi):
    return (events.weight * events.hits[..., 0, 0] ** 2).sum(-1) / events.weight.sum(-1)


PHI = DesignPoint.of(x=1.0)
VALUES, WEIGHT = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.5, 1.0, 2.0])


def test_of_a_mean():
    value, found, others = influence(average, events(VALUES, WEIGHT), PHI)
    exact = float((WEIGHT * VALUES**2).sum() / 3.5)
    assert torch.allclose(value, torch.tensor([exact])) and others is None
    assert torch.allclose(found[0], (VALUES**2 - exact) / 3.5)
    assert torch.allclose((found[0] * WEIGHT).sum(), torch.tensor(0.0), atol=1e-5)


def test_others_have_the_influence_they_would_have():
    more = events(torch.tensor([3.0, 0.0]), torch.tensor([9.0, 9.0]))
    value, found, others = influence(average, events(VALUES, WEIGHT), PHI, others=more)
    alone, same, _ = influence(average, events(VALUES, WEIGHT), PHI)
    assert torch.equal(value, alone) and torch.allclose(found, same)
    assert torch.allclose(others[0], (torch.tensor([9.0, 0.0]) - value) / 3.5)


def test_the_influence_can_be_differentiated():
    values = VALUES.clone().requires_grad_()
    _, found, _ = influence(average, events(values, WEIGHT), PHI, create_graph=True)
    (slope,) = torch.autograd.grad(found[0, 1], values)
    step = 1e-2
    shifts = torch.eye(3) * step
    moved = [
        [influence(average, events(VALUES + sign * shift, WEIGHT), PHI)[1][0, 1] for sign in (1, -1)]
        for shift in shifts
    ]
    wanted = torch.tensor([(up - down) / (2 * step) for up, down in moved])
    assert torch.allclose(slope, wanted, atol=1e-3)
    with torch.no_grad():
        assert influence(average, events(VALUES, WEIGHT), PHI)[1].shape == (1, 3)


def test_log_probabilities_do_not_matter():
    recorded = quiet(3).with_choices(torch.zeros(1, 3))
    assert influence(average, recorded, PHI, others=quiet(2))[2].shape == (1, 2)
