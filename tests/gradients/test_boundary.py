import math
from dataclasses import replace

import pytest
import torch
from statistical import assert_mean
from toys import ClosedGauge, Counter, Gauge

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.gradients import BoundaryTerms, FiniteDifferences, Pathwise
from mode_opt.simulation import (
    Acceptance,
    Chain,
    Counted,
    DifferentiableSimulator,
    Disc,
    Edge,
    EdgedSimulator,
    PointSource,
    Polygon,
    Rectangle,
    UniformBeam,
    stream,
)

BATCHES, EVENTS = 30, 4096


def design(**start):
    return Design({name: {"start": value, "bounds": [0.0, 4 * value]} for name, value in start.items()})


def primaries(count=EVENTS):
    return Events.of(torch.zeros(1, count, 1), torch.zeros(1, count, 1, 1))


def accepted(events, phi):
    """Fraction of events with a hit."""
    return (events.weight * events.mask[:, :, 0]).sum(-1) / events.weight.sum(-1)


def square(events, phi):
    """Mean square distance of the hit from the origin; nothing counts 0."""
    return (events.weight * events.hits[:, :, 0].square().sum(-1)).sum(-1) / events.weight.sum(-1)


def gradients(simulator, mine, score, estimator=None):
    found, values = [], []
    (scale,) = torch.autograd.grad(mine().values.sum(), mine.psi)
    for batch in range(BATCHES):
        loss = (estimator or BoundaryTerms()).loss(simulator, mine, primaries(), score, stream("cpu", 53, batch))
        found.append(torch.autograd.grad(loss, mine.psi)[0][0] / scale[0])
        values.append(loss.detach())
    return torch.stack(values), torch.stack(found)


def agrees(found, expected):
    """4σ, σ below 2 % of the gradient; 1e-4 of it is float32."""
    error, expected = found.std(0) / len(found) ** 0.5, torch.as_tensor(expected)
    assert (error < 0.02 * expected.abs()).all(), error / expected
    assert ((found.mean(0) - expected).abs() < 4 * error + 1e-4 * expected.abs()).all(), (found.mean(0), expected)


def plain(simulator, mine, score):
    """The derivative of the values alone."""
    phi = mine()
    value = score(simulator.simulate(phi, primaries(), stream("cpu", 1)), phi).sum()
    if not value.requires_grad:
        return torch.zeros(phi.values.shape[1])
    return torch.autograd.grad(value, phi.values)[0][0]


def test_a_disc_before_a_point_source():
    radius, distance = 0.7, 1.2
    d = math.hypot(radius, distance)
    simulator, mine = Acceptance(PointSource("L"), Disc("R")), design(R=radius, L=distance)
    values, found = gradients(simulator, mine, accepted)
    assert_mean(values, 0.5 * (1 - distance / d))
    agrees(found, (0.5 * distance * radius / d**3, -0.5 * radius**2 / d**3))
    assert (plain(simulator, mine, accepted) == 0).all()


def test_the_pathwise_part_and_the_edge_add_up():
    """E[r²; r < R] with p(r) = L/4π(L² + r²)^{3/2} is (d + L²/d − 2L)·L/2, d = √(L² + R²)."""
    radius, distance = 0.7, 1.2
    inputs = torch.tensor([radius, distance], dtype=torch.float64, requires_grad=True)
    d = (inputs**2).sum().sqrt()
    value = inputs[1] / 2 * (d + inputs[1] ** 2 / d - 2 * inputs[1])
    (exact,) = torch.autograd.grad(value, inputs)
    simulator, mine = Acceptance(PointSource("L"), Disc("R")), design(R=radius, L=distance)
    values, found = gradients(simulator, mine, square)
    assert_mean(values, value.item())
    agrees(found, exact.float())
    partial = plain(simulator, mine, square)
    assert partial[0] == 0 and partial[1] > 0 > exact[1]  # the positions alone have even the wrong sign


@pytest.mark.parametrize(
    ("region", "start", "exact"),
    [
        (Disc("R"), {"R": 0.6}, (math.pi * 0.6 / 2,)),
        (Rectangle("w", "h"), {"w": 0.6, "h": 0.3}, (0.3, 0.6)),
        (Polygon([(-0.5, -0.5), ("x", -0.5), (-0.5, "y")]), {"x": 0.4, "y": 0.7}, (1.2 / 8, 0.9 / 8)),
    ],
    ids=["disc", "rectangle", "triangle"],
)
def test_regions_in_the_square(region, start, exact):
    """Areas over 4: π R²/4, w h, (x + ½)(y + ½)/8."""
    simulator, mine = Acceptance(UniformBeam(), region), design(**start)
    agrees(gradients(simulator, mine, accepted)[1], exact)
    assert (plain(simulator, mine, accepted) == 0).all()


def test_a_disc_that_moves_out_of_the_beam():
    """Centre (1, 0): the derivative with respect to x is minus the chord 2R over 4."""
    simulator, mine = Acceptance(UniformBeam(), Disc(0.5, ("x", 0.0))), design(x=1.0)
    agrees(gradients(simulator, mine, accepted)[1], (-0.25,))


class Slabs(EdgedSimulator):
    """A particle stops where its optical depth, Exp(1), is used up: in slab 1, in slab 2, or not at all.

    One hit: (stopped in slab 1, stopped in slab 2). The interfaces are fixed in depth while the coefficients and
    thicknesses move them in optical depth.
    """

    def depths(self, phi):
        first = phi["S1"] * phi["L1"]
        return first, first + phi["S2"] * phi["L2"]

    def stopped(self, primaries, depth, phi):
        first, second = self.depths(phi)
        return self.hit(primaries, depth < first, (depth >= first) & (depth < second))

    def hit(self, primaries, one, two):
        return replace(primaries, hits=torch.stack([one, two], -1).float().unsqueeze(2))

    def simulate(self, phi, primaries, generator):
        events = primaries.expand(phi.designs)
        depth = -torch.rand(1, events.count, generator=generator).log().expand(phi.designs, -1)
        return self.stopped(events, depth, phi)

    def edges(self, phi, primaries, generator):
        events = primaries.expand(phi.designs)
        yes = torch.ones(events.weight.shape, dtype=torch.bool)
        one, two, none = self.hit(events, yes, ~yes), self.hit(events, ~yes, yes), self.hit(events, ~yes, ~yes)
        first, second = self.depths(phi)
        density = [torch.exp(-depth.detach()) for depth in (first, second)]
        return [
            Edge(one, two, (density[0] * first).expand(yes.shape)),
            Edge(two, none, (density[1] * second).expand(yes.shape)),
        ]


SLABS = {"S1": 0.8, "L1": 1.1, "S2": 1.5, "L2": 0.4}


def test_edges_on_a_line():
    """P(stop in slab 1) = 1 − e^{−S₁L₁}; in slab 2: e^{−S₁L₁} (1 − e^{−S₂L₂}). Pathwise: zero."""
    mine = design(**SLABS)
    for cell in (0, 1):

        def stops(events, phi, cell=cell):
            return (events.weight * events.hits[:, :, 0, cell]).sum(-1) / events.weight.sum(-1)

        inputs = torch.tensor(list(SLABS.values()), dtype=torch.float64, requires_grad=True)
        one = torch.exp(-inputs[0] * inputs[1])
        value = 1 - one if cell == 0 else one * (1 - torch.exp(-inputs[2] * inputs[3]))
        (exact,) = torch.autograd.grad(value, inputs)
        values, found = gradients(Slabs(), mine, stops)
        assert_mean(values, value.item())
        assert torch.allclose(found.mean(0), exact.float(), rtol=1e-3)  # the edges are points: no noise at all
        assert (plain(Slabs(), mine, stops) == 0).all()


def yields(events, phi):
    """A population objective: s/√b of the two slabs."""
    s, b = (30 * (events.weight * events.hits[:, :, 0, k]).sum(-1) / events.weight.sum(-1) for k in (0, 1))
    return s / b.sqrt()


def test_a_population_objective():
    inputs = torch.tensor(list(SLABS.values()), dtype=torch.float64, requires_grad=True)
    one = torch.exp(-inputs[0] * inputs[1])
    value = 30**0.5 * (1 - one) / (one * (1 - torch.exp(-inputs[2] * inputs[3]))).sqrt()
    (exact,) = torch.autograd.grad(value, inputs)
    agrees(gradients(Slabs(), design(**SLABS), yields)[1], exact.float())


class Smear(DifferentiableSimulator):
    """Hits scaled by a gain and smeared; nothing where there was none."""

    def forward(self, phi, primaries, generator=None):
        noise = 0.1 * torch.randn(primaries.hits.shape, generator=generator)
        hits = phi["g"].unsqueeze(-1).unsqueeze(-1) * primaries.hits + noise
        return replace(primaries, hits=hits * primaries.mask.unsqueeze(-1))


def test_a_chain_with_an_edge_in_the_middle_counts_the_events_on_it():
    """E[r² g² + 2·0.01; r < R] over the square: g² π R⁴/8 + 0.02 π R²/4."""
    radius, gain = 0.6, 1.3
    simulator = Counted(Chain({"accept": Acceptance(UniformBeam(), Disc("R")), "smear": Smear()}))
    mine = design(R=radius, g=gain)
    values, found = gradients(simulator, mine, square)
    assert simulator.calls == 3 * BATCHES * EVENTS
    assert_mean(values, gain**2 * math.pi * radius**4 / 8 + 0.005 * math.pi * radius**2)
    slope = gain**2 * math.pi * radius**3 / 2 + 0.01 * math.pi * radius
    agrees(found, (slope, gain * math.pi * radius**4 / 4))


def test_two_edges_in_a_row():
    """A second acceptance of the same kind: the events on the first edge have no weight and no jump of their own."""
    simulator = Chain({"first": Slabs(), "second": Slabs()})
    events = BoundaryTerms().events(simulator, design(**SLABS)(), primaries(10), 1)
    assert events.count == 10 * (1 + 4 + 4) and torch.equal(events.weight[0] != 0, torch.arange(90) < 10)


def test_weights_of_the_primaries_count():
    mine = design(**SLABS)
    heavy = primaries(100)
    heavy = replace(heavy, weight=1.0 + torch.arange(100.0).unsqueeze(0))
    events = BoundaryTerms().events(Slabs(), mine(), heavy, 1)
    assert torch.equal(events.weight[0, :100], heavy.weight[0])
    (slope,) = torch.autograd.grad(events.weight[0, 100:200].sum(), mine.psi)
    (unit,) = torch.autograd.grad(BoundaryTerms().events(Slabs(), mine(), primaries(1), 1).weight[0, 1], mine.psi)
    assert torch.allclose(slope, unit * heavy.weight.sum())


@pytest.mark.parametrize(
    ("simulator", "message"),
    [
        (Gauge(), "without edges: Gauge has none"),
        (Chain({"slabs": Slabs(), "counter": Counter()}), "Counter, which is stochastic"),
        (Chain({"slabs": Slabs(), "gauge": ClosedGauge()}), "ClosedGauge, which is black box"),
    ],
)
def test_what_has_no_edges_is_refused(simulator, message):
    with pytest.raises(ConfigurationError, match=message):
        BoundaryTerms().loss(simulator, design(**SLABS), primaries(3), accepted)


def test_pathwise_is_refused_and_finite_differences_agree():
    simulator, mine = Acceptance(PointSource("L"), Disc("R")), design(R=0.7, L=1.2)
    with pytest.raises(ConfigurationError, match="Acceptance, which is black box"):
        Pathwise().check(simulator)
    _, found = gradients(simulator, mine, accepted, FiniteDifferences(step=0.2))
    assert_mean(found, torch.tensor([0.5 * 1.2 * 0.7, -0.5 * 0.7**2]) / math.hypot(0.7, 1.2) ** 3, sigmas=5.0)
