"""Fronts and hypervolumes: sets made by hand, fronts in closed form, and what holds for all."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mode_opt.design import DesignPoint
from mode_opt.errors import ShapeError
from mode_opt.search import Front, non_dominated, reference_point
from mode_opt.search.front import hypervolume

STAIRS = torch.tensor([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [3.0, 3.0]])
FOUR = torch.tensor([4.0, 4.0])


def front(values, errors=0.1):
    values = torch.as_tensor(values, dtype=torch.float64)
    designs = DesignPoint.of(x=torch.arange(float(len(values)))[:, None])
    names = tuple("abcd"[: values.shape[1]])
    return Front(names, ("",) * len(names), values, torch.full_like(values, errors), designs)


def values_of(goals, most=8):
    number = st.integers(-20, 20).map(lambda n: n / 4)  # coarse, so that ties are common
    row = st.lists(number, min_size=goals, max_size=goals)
    return st.lists(row, min_size=1, max_size=most).map(lambda rows: torch.tensor(rows, dtype=torch.float64))


def by_definition(values):
    """Flags of rows that no other one beats, row by row."""
    rows = values.tolist()

    def beats(one, other):
        return all(a <= b for a, b in zip(one, other, strict=True)) and one != other

    return [not any(beats(other, row) for other in rows) for row in rows]


def by_inclusion(values, reference):
    """Volume of the union of boxes, by inclusion and exclusion."""
    total = 0.0
    for chosen in range(1, 2 ** len(values)):
        rows = values[[k for k in range(len(values)) if chosen >> k & 1]]
        total += (-1) ** (len(rows) + 1) * float((reference - rows.max(0).values).clamp_min(0).prod())
    return total


def test_a_set_made_by_hand():
    assert non_dominated(STAIRS).tolist() == [True, True, True, False]
    assert hypervolume(STAIRS, FOUR) == pytest.approx(3 + 2 + 1)
    assert hypervolume(STAIRS[:1], FOUR) == pytest.approx(3 * 1)
    assert hypervolume(STAIRS, torch.tensor([3.0, 2.0])) == 0.0  # the boundary is not below
    assert hypervolume(STAIRS[:0], FOUR) == 0.0


def test_equal_values_share_the_front_and_failed_designs_are_not_on_it():
    values = torch.tensor([[1.0, 1.0], [1.0, 1.0], [math.nan, 0.0], [0.0, -math.inf], [2.0, 1.0]])
    assert non_dominated(values).tolist() == [True, True, False, False, False]
    assert hypervolume(values, FOUR) == pytest.approx(9)


def test_three_goals_by_hand():
    """Unit boxes that overlap in pairs: 3·2 − 3·1 + 1 of half-open cubes below (2, 2, 2)."""
    values = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    assert hypervolume(values, torch.full((3,), 2.0)) == pytest.approx(3 * 2 - 3 * 1 + 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4).flatmap(values_of))
def test_the_front_and_its_volume_are_those_of_their_definitions(values):
    reference = torch.full((values.shape[1],), 3.0, dtype=torch.float64)
    assert non_dominated(values).tolist() == by_definition(values)
    assert hypervolume(values, reference) == pytest.approx(by_inclusion(values, reference), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(values_of(3), st.randoms(use_true_random=False), st.floats(0, 2))
def test_dominated_points_and_the_order_do_not_matter_and_more_is_never_less(values, random, worse):
    reference = torch.full((3,), 3.0, dtype=torch.float64)
    before, order = hypervolume(values, reference), list(range(len(values)))
    random.shuffle(order)
    assert hypervolume(values[order], reference) == pytest.approx(before, rel=1e-12)
    assert non_dominated(values[order]).tolist() == [non_dominated(values).tolist()[k] for k in order]
    assert hypervolume(torch.cat([values, values[:1] + worse]), reference) == pytest.approx(before, rel=1e-12)
    better = torch.cat([values, values[:1] - worse])
    assert hypervolume(better, reference) >= before - 1e-12
    assert hypervolume(values, reference + worse) >= before - 1e-12


@settings(max_examples=40, deadline=None)
@given(values_of(2), st.lists(st.floats(0.1, 10), min_size=2, max_size=2))
def test_units_scale_the_volume_and_leave_the_front(values, factors):
    reference, factors = torch.full((2,), 3.0, dtype=torch.float64), torch.tensor(factors, dtype=torch.float64)
    expected = hypervolume(values, reference) * float(factors.prod())
    assert hypervolume(values * factors, reference * factors) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_volume_of_zdt1():
    """f₂ = 1 − √f₁ for f₁ in [0, 1], reference (11, 11): 121 − 1/3; stairs miss at most a step."""
    first = torch.linspace(0, 1, 1001, dtype=torch.float64)
    values = torch.stack([first, 1 - first.sqrt()], 1)
    exact = 121 - 1 / 3
    assert exact - 1e-3 < hypervolume(values, torch.tensor([11.0, 11.0])) < exact


def test_the_volume_of_bnh():
    """x = y up to 3, then y = 3 up to x = 5; ∫(50 − f₂) df₁ = 2232 + 8608/3, and 4 · 46 beyond the end."""
    x = torch.linspace(0, 5, 4001, dtype=torch.float64)
    y = x.clamp_max(3)
    values = torch.stack([4 * x**2 + 4 * y**2, (x - 5) ** 2 + (y - 5) ** 2], 1)
    exact = 2232 + 8608 / 3 + 4 * 46
    assert exact - 4 < hypervolume(values, torch.tensor([140.0, 50.0])) < exact


def test_the_volume_of_dtlz2():
    """The unit sphere in the positive octant below (1.1, 1.1, 1.1): 1.1³ − π/6; any points on it are within."""
    normal = torch.randn(400, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).abs()
    values = normal / normal.norm(dim=1, keepdim=True)
    exact = 1.1**3 - math.pi / 6
    found = [hypervolume(values[:count], torch.full((3,), 1.1)) for count in (50, 400)]
    assert non_dominated(values).all()
    assert found[0] < found[1] < exact
    assert exact - found[1] < 0.08 * exact


def test_the_default_reference_point_is_a_tenth_beyond_the_front():
    failed, dominated = torch.tensor([[math.nan, 1.0]]), torch.tensor([[9.0, 9.0]])
    assert reference_point(torch.cat([STAIRS, failed, dominated])).tolist() == pytest.approx([3.2, 3.2])
    assert (reference_point(STAIRS[:1]) > STAIRS[0]).all()
    assert (reference_point(-STAIRS[:1]) > -STAIRS[0]).all()
    assert (reference_point(0 * STAIRS[:1]) > 0).all()


def test_a_front_is_thinned_and_sorted():
    thinned = front(STAIRS.flip(0)).thinned()
    assert thinned.values.tolist() == STAIRS[:3].tolist()
    assert thinned.designs["x"].flatten().tolist() == [3.0, 2.0, 1.0]
    assert thinned.count == 3 and thinned.goals == ("a", "b")


def test_the_error_of_a_volume_is_that_of_the_formula_for_one_design():
    """V = (4 − a)(4 − b): σ_V = σ √((4 − a)² + (4 − b)²) to first order."""
    found = front([[1.0, 3.0]], 0.01).hypervolume(FOUR, draws=1000)
    assert found.value == pytest.approx(3)
    assert found.standard_error == pytest.approx(0.01 * math.hypot(3, 1), rel=0.1)
    again = front([[1.0, 3.0]], 0.01).hypervolume(FOUR, draws=1000)
    assert again == found
    assert front([[1.0, 3.0]], 0.01).hypervolume(FOUR, draws=1000, seed=1) != found


def test_what_lies_beyond_the_reference_point_has_no_part_in_the_error():
    both, inside = front([[1.0, 3.0], [9.0, 0.0]], 0.01), front([[1.0, 3.0]], 0.01)
    expected = inside.hypervolume(FOUR, 1000).standard_error
    assert both.hypervolume(FOUR, 1000).standard_error == pytest.approx(expected, rel=0.1)
    unknown = Front(both.goals, both.units, both.values, torch.tensor([[0.1, 0.1], [math.nan, 0.1]]), both.designs)
    assert math.isfinite(unknown.hypervolume(FOUR).standard_error)
    assert math.isnan(unknown.hypervolume(torch.tensor([10.0, 10.0])).standard_error)


def test_how_sure_it_is_that_a_design_is_on_the_front():
    values = [[0.0, 0.0], [5.0, 5.0], [0.0, 20.0], [-20.0, 5.0]]
    assert front(values, 0.1).certainty()[[1, 3]].tolist() == [0.0, 1.0]
    assert front([[0.0, 0.0], [0.0, 0.0]], 1.0).certainty(2000).tolist() == pytest.approx([0.75, 0.75], abs=0.04)


def test_the_noise_of_a_front_lets_it_reach_further():
    """Of 50 equal designs the luckiest make the front: what `Front.hypervolume` says of its bias."""
    noisy = front(torch.ones(50, 2), 0.1)
    volumes = torch.tensor([hypervolume(values, FOUR) for values in noisy.resampled()])
    assert float(volumes.mean()) > 9 + 3 * noisy.hypervolume(FOUR).standard_error


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="reference"):
        hypervolume(STAIRS, torch.tensor([1.0]))
    good = front(STAIRS)
    with pytest.raises(ShapeError, match=r"Front\.values"):
        Front(good.goals, good.units, STAIRS[:2], good.errors, good.designs)
    with pytest.raises(ShapeError, match=r"Front\.errors"):
        Front(good.goals, good.units, good.values, good.errors[:, :1], good.designs)
    with pytest.raises(ShapeError, match=r"Front\.units"):
        Front(good.goals, ("mm",), good.values, good.errors, good.designs)
