import math

import pytest
import torch
from statistical import assert_mean

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation import Acceptance, Disc, PointSource, Polygon, Promise, Rectangle, UniformBeam, stream

POINT = DesignPoint.of(R=torch.tensor([[0.5], [0.8]]), w=torch.tensor([[0.3], [0.6]]), L=torch.tensor([[1.0], [2.0]]))

REGIONS = {
    "disc": (Disc("R", (0.1, "w")), lambda R, w: math.pi * R**2, lambda R, w: 2 * math.pi * R),
    "rectangle": (Rectangle("w", 0.4), lambda R, w: 1.6 * w, lambda R, w: 4 * w + 1.6),
    "triangle": (
        Polygon([(0.0, 0.0), ("R", 0.0), (0.0, "w")]),
        lambda R, w: R * w / 2,
        lambda R, w: R + w + math.hypot(R, w),
    ),
    "clockwise": (
        Polygon([(0.0, "w"), ("R", 0.0), (0.0, 0.0)]),
        lambda R, w: R * w / 2,
        lambda R, w: R + w + math.hypot(R, w),
    ),
    "concave": (
        Polygon([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5), (0.0, 1.0)]),
        lambda R, w: 0.75,
        lambda R, w: 3 + 2**0.5,
    ),
}


def primaries(count=4):
    return Events.of(torch.zeros(1, count, 1), torch.zeros(1, count, 1, 1))


@pytest.mark.parametrize("name", REGIONS)
def test_area_and_length_of_the_edge(name):
    region, area, edge = REGIONS[name]
    inside = region.inside(POINT, 4 * torch.rand(2, 40_000, 2, generator=stream("cpu", 1)) - 2)
    density = region.edge(POINT, torch.rand(2, 10, generator=stream("cpu", 2))).density
    for k, (radius, width) in enumerate(((0.5, 0.3), (0.8, 0.6))):
        assert_mean(16.0 * inside[k], area(radius, width))
        assert torch.allclose(density[k], torch.tensor(1 / edge(radius, width)))


@pytest.mark.parametrize("name", REGIONS)
def test_normals_point_outwards_from_the_edge(name):
    region = REGIONS[name][0]
    point = region.edge(POINT, torch.rand(2, 1000, generator=stream("cpu", 3)))
    assert torch.allclose(point.normal.norm(dim=-1), torch.tensor(1.0))
    step = 1e-3 * point.normal
    inner, outer = (region.inside(POINT, point.position + shift) for shift in (-step, step))
    assert (inner & ~outer).float().mean() > 0.98  # but for the corners


@pytest.mark.parametrize("name", ["disc", "rectangle", "triangle", "clockwise"])
@pytest.mark.parametrize("parameter", ["R", "w"])
def test_the_edge_moves_as_the_area_grows(name, parameter):
    """dA/dφ = ∮ v·n ds."""
    region, area, _ = REGIONS[name]
    values = {"R": 0.5, "w": 0.3, "L": 1.0}
    phi = DesignPoint.of(**values)
    phi = DesignPoint(phi.values.requires_grad_(), phi.layout)
    point = region.edge(phi, ((torch.arange(20_000) + 0.5) / 20_000).unsqueeze(0))
    flux = ((point.position * point.normal).sum(-1) / point.density).mean()
    slope = torch.autograd.grad(flux, phi.values)[0][0][list(values).index(parameter)]
    above, below = ({**values, parameter: values[parameter] + h} for h in (1e-4, -1e-4))
    central = (area(above["R"], above["w"]) - area(below["R"], below["w"])) / 2e-4
    assert slope.item() == pytest.approx(central, abs=1e-3)


@pytest.mark.parametrize("designs", [1, 2])
def test_the_acceptance_of_a_disc_from_a_point_source(designs):
    phi = DesignPoint(POINT.values[:designs], POINT.layout)
    events = Acceptance(PointSource("L"), Disc("R"))(phi, primaries(100_000), stream("cpu", 4))
    assert events.hits.shape == (designs, 100_000, 1, 2) and not events.hits.requires_grad
    for k, (radius, distance) in enumerate([(0.5, 1.0), (0.8, 2.0)][:designs]):
        assert_mean(events.mask[k, :, 0], 0.5 * (1 - distance / math.hypot(distance, radius)))
    assert (events.hits[~events.mask] == 0).all() and events.hits[events.mask].norm(dim=-1).max() <= 0.8


@pytest.mark.parametrize("beam", [PointSource("L"), UniformBeam(2.0, 1.0)], ids=lambda b: type(b).__name__)
def test_the_density_of_a_beam_is_that_of_its_positions(beam):
    phi = DesignPoint.of(L=1.5)
    uniform = torch.rand(1, 200_000, 2, generator=stream("cpu", 5))
    position, crosses = beam.position(phi, uniform)
    square = ((position - 0.6).abs() < 0.05).all(-1) & crosses
    _, density = beam.following(phi, torch.full((1, 1, 2), 0.6))
    assert_mean(square[0], 0.01 * density.item())


def test_positions_follow_the_distance_at_fixed_random_numbers():
    phi = DesignPoint.of(L=1.5)
    phi = DesignPoint(phi.values.requires_grad_(), phi.layout)
    beam = PointSource("L")
    position, crosses = beam.position(phi, torch.rand(1, 50, 2, generator=stream("cpu", 6)))
    following, _ = beam.following(phi, position)
    slopes = [torch.autograd.grad(x[crosses].square().sum(), phi.values)[0] for x in (position, following)]
    assert torch.allclose(*slopes)


def test_to_those_who_do_not_know_edges_it_is_a_black_box():
    assert Acceptance(PointSource(1.0), Disc(1.0)).promise == Promise.BLACK_BOX


def test_a_polygon_needs_three_corners():
    with pytest.raises(ConfigurationError, match=r"region\.vertices"):
        Polygon([(0.0, 0.0), (1.0, 1.0)])
