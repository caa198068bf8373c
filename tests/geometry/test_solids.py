"""Solids: volumes in closed form, depths and crossings against each other."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from volumes import solids

from mode_opt.errors import ConfigurationError
from mode_opt.geometry import Box, Cone, Tube
from mode_opt.geometry.rays import _inside

LENGTHS = st.floats(0.1, 1000)


@settings(deadline=None)
@given(LENGTHS, LENGTHS, LENGTHS)
def test_volume_of_a_box(x, y, z):
    assert Box(x, y, z).volume == x * y * z


@settings(deadline=None)
@given(LENGTHS, st.floats(0, 0.99), LENGTHS, st.floats(-7, 7), st.floats(0.01, 6.28))
def test_volume_of_a_tube(outer, share, z, start, opening):
    tube = Tube(outer, z, share * outer, start, opening)
    assert tube.volume == pytest.approx(opening / 2 * (outer**2 - (share * outer) ** 2) * z)
    whole = Tube(outer, z, share * outer)
    assert whole.volume == pytest.approx(math.pi * (outer - share * outer) * (outer + share * outer) * z)


@settings(deadline=None)
@given(LENGTHS, LENGTHS, LENGTHS)
def test_volume_of_a_cone(near, far, z):
    """Of the whole cone less the tip; equal radii make a tube."""
    cone = Cone(max(near, far), min(near, far), z)
    if max(near, far) > 1.001 * min(near, far):
        height = z * max(near, far) / abs(near - far)
        tip = height - z
        expected = math.pi / 3 * (max(near, far) ** 2 * height - min(near, far) ** 2 * tip)
        assert cone.volume == pytest.approx(expected, rel=1e-6)
    assert Cone(near, near, z, near / 2, near / 2).volume == pytest.approx(Tube(near, z, near / 2).volume)


@settings(max_examples=60, deadline=None)
@given(solids())
def test_volume_is_the_share_of_points_inside(solid):
    points = solid.interior(20_000, np.random.default_rng(0))
    box = math.prod(2 * half for half in solid.half_size)
    share = solid.volume / box
    assert len(points) / 20_000 == pytest.approx(share, abs=5 * math.sqrt(max(share * (1 - share), 1e-4) / 20_000))


@settings(max_examples=60, deadline=None)
@given(solids())
def test_points_on_the_surface_have_no_depth(solid):
    points = solid.surface(50, np.random.default_rng(1))
    size = max(solid.half_size)
    np.testing.assert_allclose(solid.depth(points), 0, atol=1e-9 * size)
    assert (np.abs(points) <= np.array(solid.half_size) * (1 + 1e-12)).all()


@settings(max_examples=60, deadline=None)
@given(solids(), st.integers(0, 2**31))
def test_depth_is_the_distance_to_the_surface(solid, seed):
    """No point of the surface is nearer than the depth says, inside or outside."""
    generator = np.random.default_rng(seed)
    surface = solid.surface(400, generator)
    points = generator.uniform(-1.5, 1.5, (20, 3)) * np.array(solid.half_size)
    nearest = np.linalg.norm(points[:, None] - surface, axis=2).min(axis=1)
    assert (np.abs(solid.depth(points)) <= nearest + 1e-9 * max(solid.half_size)).all()


@settings(max_examples=60, deadline=None)
@given(solids(), st.integers(0, 2**31))
def test_rays_are_inside_where_points_are(solid, seed):
    generator = np.random.default_rng(seed)
    origin = generator.uniform(-1, 1, 3) * np.array(solid.half_size)
    direction = generator.normal(size=3)
    direction /= np.linalg.norm(direction)
    times = generator.uniform(-2, 2, 500) * max(solid.half_size)
    depth = solid.depth(origin + times[:, None] * direction)
    inside = np.zeros(500, dtype=bool)
    for start, end in _inside(solid, origin, direction):
        inside |= (times > start) & (times < end)
    clear = np.abs(depth) > 1e-6 * max(solid.half_size)
    np.testing.assert_array_equal(inside[clear], depth[clear] > 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Box(0, 1, 1),
        lambda: Box(1, -1, 1),
        lambda: Box(1, 1, float("inf")),
        lambda: Box(1, 1, "3 mm"),
        lambda: Box(True, 1, 1),
        lambda: Tube(1, 1, 1),
        lambda: Tube(1, 1, -0.1),
        lambda: Tube(1, 0),
        lambda: Tube(float("nan"), 1),
        lambda: Tube(1, 1, 0, 0, 7),
        lambda: Tube(1, 1, 0, float("nan"), 1),
        lambda: Tube(1, 1, 0, 0, 0),
        lambda: Cone(1, 2, 1, 0, 2),
        lambda: Cone(0, 2, 1),
    ],
)
def test_impossible_solids_are_refused(make):
    with pytest.raises(ConfigurationError, match=r"box|tube|cone"):
        make()
