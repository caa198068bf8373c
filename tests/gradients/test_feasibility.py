"""What is learnt of designs that fail."""

import torch

from mode_opt.gradients.feasibility import Feasibility


def tried(b, d, seed, fails, radius=0.4):
    psi = radius * (2 * torch.rand(b, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1)
    return psi, ~fails(psi)


def test_without_failures_everything_is_feasible():
    known = Feasibility()
    centre = torch.zeros(1, 3)
    assert known.probability(torch.ones(2, 3), centre, 0.4).tolist() == [1, 1]
    known.note(torch.zeros(5, 3), torch.ones(5, dtype=torch.bool))
    assert known.probability(torch.ones(2, 3), centre, 0.4).tolist() == [1, 1]
    assert known.shortened(centre, centre + 1, 0.4).tolist() == [[1, 1, 1]]


def test_a_border_is_found_by_its_direction_and_steps_end_before_it():
    known = Feasibility()
    known.note(*tried(200, 10, 0, lambda psi: psi[:, 0] > 0.1))
    centre, across, along = torch.zeros(1, 10), torch.zeros(1, 10), torch.zeros(1, 10)
    across[0, 0], along[0, 1] = 0.4, 0.4
    assert float(known.probability(across, centre, 0.4)) < 0.1 < 0.7 < float(known.probability(along, centre, 0.4))
    end = known.shortened(centre, across, 0.4)
    assert 0.03 < float(end[0, 0]) < 0.2 and float(end[0, 1:].abs().max()) == 0
    assert torch.equal(known.shortened(centre, along, 0.4), along)


def test_failures_at_random_do_not_stop_a_step():
    known = Feasibility()
    generator = torch.Generator().manual_seed(1)
    known.note(*tried(300, 5, 2, lambda psi: torch.rand(len(psi), generator=generator) < 0.2))
    end = torch.full((1, 5), 0.3)
    assert abs(float(known.probability(torch.zeros(1, 5), torch.zeros(1, 5), 0.4)) - 0.8) < 0.1
    assert torch.equal(known.shortened(torch.zeros(1, 5), end, 0.4), end)


def test_a_start_that_fails_is_kept():
    known = Feasibility()
    known.note(torch.zeros(20, 2, dtype=torch.float64), torch.zeros(20, dtype=torch.bool))
    start = torch.zeros(1, 2, dtype=torch.float64)
    assert float((known.shortened(start, start + 0.3, 0.4) - start).norm()) < 1e-5


def test_failures_far_away_are_forgotten_by_distance():
    known = Feasibility()
    far = torch.full((50, 2), 10.0, dtype=torch.float64)
    known.note(far, torch.zeros(50, dtype=torch.bool))
    known.note(*tried(50, 2, 3, lambda psi: psi[:, 0] > 99))
    assert float(known.probability(torch.zeros(1, 2), torch.zeros(1, 2), 0.4)) > 0.9


def test_another_number_of_parameters_begins_anew_and_states_continue():
    known, again = Feasibility(), Feasibility()
    known.note(torch.zeros(4, 3), torch.zeros(4, dtype=torch.bool))
    known.note(*tried(60, 2, 4, lambda psi: psi[:, 1] < -0.1))
    again.load(known.state())
    points = torch.tensor([[0.2, 0.2], [0.0, -0.3]])
    first, second = (each.probability(points, torch.zeros(1, 2), 0.4) for each in (known, again))
    assert torch.equal(first, second) and first[0] > 0.8 > 0.2 > first[1]
