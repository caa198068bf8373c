"""Overlaps: found where they are, with their depth, and not where volumes only touch."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mode_opt.geometry import Box, Cone, Layer, Placement, Tube, Volume, material, overlaps, stack

LEAD, AIR = material("Pb"), material("air")
TURN = (math.pi / 2, 0.0, 0.0)


def inside(*children: Volume, size: float = 1000.0) -> Volume:
    return Volume("world", Box(size, size, size), AIR, children=children)


def box(name: str, *place: float, size: tuple[float, float, float] = (10, 10, 10), turn=(0.0, 0.0, 0.0)) -> Volume:
    return Volume(name, Box(*size), LEAD, Placement(place or (0, 0, 0), turn))


def tube(name: str, solid: Tube | Cone, *place: float, turn=(0.0, 0.0, 0.0)) -> Volume:
    return Volume(name, solid, LEAD, Placement(place or (0, 0, 0), turn))


def test_neighbours_that_touch_do_not_overlap():
    layers = [Layer("plate", 0.1 + 0.01 * k, LEAD) for k in range(100)]
    assert overlaps(stack("world", layers, 100)) == []
    shells = [tube(f"shell_{k}", Tube(10.1 + 0.1 * k, 20, 10 + 0.1 * k)) for k in range(20)]
    assert overlaps(inside(*shells)) == []
    sectors = [tube(f"sector_{k}", Tube(50, 20, 10, k * math.pi / 3, math.pi / 3)) for k in range(6)]
    assert overlaps(inside(*sectors)) == []
    assert overlaps(inside(box("a", 0, 0, 0), box("b", 0, 0, 10, turn=(0, 0, 0.3)))) == []
    assert overlaps(inside(tube("near", Cone(10, 20, 30), 0, 0, -15), tube("far", Cone(20, 5, 30), 0, 0, 15))) == []


def test_sisters_and_mothers_in_closed_form():
    (found,) = overlaps(inside(box("a", 0, 0, 0), box("b", 3, 0, 9.5)))
    assert (found.first, found.second, found.outside, found.exact) == ("world/a", "world/b", False, True)
    assert found.depth == pytest.approx(0.5) and str(found) == "world/a overlaps with world/b by 0.5 mm"
    (found,) = overlaps(inside(box("a", 0, 496, 0)))
    assert found.outside and found.depth == pytest.approx(1)
    assert str(found) == "world/a protrudes from world by 1 mm"
    (found,) = overlaps(inside(box("outer", size=(20, 20, 20)), box("inner")))  # wholly inside: 15 mm to get out
    assert found.depth == pytest.approx(15)
    (found,) = overlaps(inside(tube("a", Tube(10, 20)), tube("b", Tube(12, 20, 9.8))))
    assert found.exact and found.depth == pytest.approx(0.2)
    hole = Volume("pipe", Tube(20, 100, 5), LEAD, children=(tube("core", Tube(10, 50, 4)),))
    (found,) = overlaps(inside(hole))
    assert found.exact and found.outside and found.depth == pytest.approx(1)


def test_every_level_is_looked_at_and_the_deepest_comes_first():
    layer = Volume("layer", Box(30, 30, 30), AIR, children=(box("a", 0, 0, 12), box("b", 0, 0, 5)))
    found = overlaps(inside(layer, box("c", 495.5, 0, 0)))
    assert [(o.first, o.second) for o in found] == [
        ("world/layer/a", "world/layer/b"),
        ("world/layer/a", "world/layer"),
        ("world/c", "world"),
    ]
    assert [o.depth for o in found] == pytest.approx([3, 2, 0.5])


def test_a_quarter_turn_is_still_exact():
    first = box("first", 0, 0, 0, size=(10, 20, 40), turn=TURN)  # 10 x 40 x 20 as it stands
    (found,) = overlaps(inside(first, box("second", 0, 24, 0)))
    assert found.exact and found.depth == pytest.approx(1)


@pytest.mark.parametrize(
    ("first", "second", "depth"),
    [
        (box("a"), box("b", 0, 0, 11, turn=(math.pi / 4, 0, 0)), 5 + 50**0.5 - 11),  # an edge in a face
        (tube("a", Tube(10, 20)), box("b", 14.8, 0, 0), 0.2),  # a face in the round
        (tube("a", Tube(10, 50)), tube("b", Tube(10, 50), 0, 0, 0, turn=TURN), 10),  # crossed
        (tube("a", Cone(10, 20, 30)), box("b", 0, 0, 18), 2),
        (tube("a", Tube(10, 20)), tube("b", Tube(10, 20), 19, 0, 0), 1),  # beside each other
        (tube("a", Tube(10, 20, 0, 0, 3)), tube("b", Tube(10, 20, 0, 2.9, 2)), 1e-3),
        (tube("a", Cone(9, 9, 20)), tube("b", Cone(9, 9, 20)), 9),  # the same twice: faces on faces
        (box("a", size=(100, 100, 100), turn=(0.2, 0, 0)), box("b", 5, 5, 5), 5),  # swallowed
    ],
)
def test_overlaps_without_closed_form_are_found(first, second, depth):
    (found,) = overlaps(inside(first, second))
    assert not found.exact and found.depth > 0.7 * depth
    assert (found.first, found.second) == ("world/a", "world/b") and "at least" in str(found)


def test_protrusions_without_closed_form_are_found():
    pipe = Volume("pipe", Tube(20, 100), AIR, children=(box("a", size=(30, 30, 10)),))  # corners at 21.2 mm
    (found,) = overlaps(inside(pipe))
    assert found.outside and found.depth == pytest.approx(450**0.5 - 20, rel=1e-6)
    ring = Volume("ring", Tube(50, 100, 2), AIR, children=(box("a", size=(10, 10, 10)),))  # around the hole
    (found,) = overlaps(inside(ring))
    assert found.outside and 0.5 < found.depth <= 2
    turned = inside(box("a", 0, 0, 0, size=(100, 100, 100), turn=(0, 0, math.pi / 4)), size=120)
    (found,) = overlaps(turned)
    assert found.depth == pytest.approx(5000**0.5 - 60)
    assert overlaps(inside(box("a", 0, 0, 0, size=(100, 100, 100), turn=(0, 0, math.pi / 4)), size=142)) == []


def test_the_same_points_every_time():
    world = inside(tube("a", Tube(10, 20)), box("b", 14.8, 1, 2, turn=(0.1, 0.2, 0.3)))
    assert overlaps(world) == overlaps(world) != []
    assert overlaps(world, tolerance=100) == []


LENGTH, PLACE = st.floats(1, 20), st.floats(-10, 10)
SIZE = st.tuples(LENGTH, LENGTH, LENGTH)


@settings(max_examples=50, deadline=None)
@given(SIZE, SIZE, st.tuples(PLACE, PLACE, PLACE))
def test_points_agree_with_the_closed_form_of_boxes(first, second, place):
    """A cone of no slope beside a box is compared by points; boxes turned by nothing but rounding, exactly."""
    exact = overlaps(inside(box("a", size=first), box("b", *place, size=second)), tolerance=0)
    slight = overlaps(inside(box("a", size=first, turn=(1e-9, 0, 0)), box("b", *place, size=second)), tolerance=1e-6)
    if not exact or exact[0].depth < 0.5:
        assert not slight or (exact and slight[0].depth <= exact[0].depth + 1e-6)
    else:
        assert not slight[0].exact and 0.2 * exact[0].depth < slight[0].depth <= exact[0].depth + 1e-6
