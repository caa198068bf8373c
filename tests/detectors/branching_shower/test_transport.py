"""Steps of particles: conservation, attenuation, scattering, and the independence of the reference."""

import math

import pytest
import torch
from statistical import assert_mean

from mode_opt.detectors.branching_shower.materials import MATERIALS
from mode_opt.detectors.branching_shower.particles import (
    ELECTRON,
    PHOTON,
    POSITRON,
    Particles,
    isotropic,
    scattered,
    turned,
)
from mode_opt.detectors.branching_shower.tables import Tables
from mode_opt.detectors.branching_shower.transport import Transport

TABLES = Tables([MATERIALS["PbWO4"], MATERIALS["lAr"]])


class Numbers:
    """Random numbers from one generator."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator

    def poisson(self, rate: torch.Tensor) -> torch.Tensor:
        return torch.poisson(rate, generator=self.generator)

    def uniform(self, *extra: int) -> torch.Tensor:
        return torch.rand(self.count, *extra, generator=self.generator).clamp(1e-7, 1 - 1e-7)


def entering(count: int, kind: int, energy: float) -> Particles:
    zero, whole = torch.zeros(count), torch.zeros(count, dtype=torch.long)
    filled = torch.full((count,), energy)
    return Particles(whole + kind, whole, filled, zero, zero, zero, zero, zero, zero + 1)


def shower(transport: Transport, particles: Particles, stretch: torch.Tensor, seed: int = 0):
    """Energy left in each slab, ``n x s``, and leaked, ``n``, of one particle an event."""
    count, slabs = len(particles.kind), len(transport.material)
    event, generator = torch.arange(count), torch.Generator().manual_seed(seed)
    left, leaked = torch.zeros(count * slabs), torch.zeros(count)
    while len(event):
        step = transport.step(particles, stretch[particles.slab], Numbers(len(event), generator))
        left.index_add_(0, event * slabs + step.slab, step.deposit)
        leaked.index_add_(0, event, step.leaked)
        alive = step.alive.nonzero()[:, 0]
        particles = Particles.joined([step.particles.rows(alive), *(born for _, born in step.families)])
        event = torch.cat([event[alive], *(event[parent] for parent, _ in step.families)])
    return left.reshape(count, slabs), leaked


def layers(count: int, absorber: float = 2.3, gap: float = 5.7, width: float = 400.0) -> Transport:
    return Transport([0, 1] * count, [absorber, gap] * count, TABLES, width)


@pytest.mark.parametrize("kind", [PHOTON, ELECTRON, POSITRON])
def test_energy_is_conserved_in_every_event(kind):
    """Deposits and leakage are what entered, with the mass of a positron and the electron it finds."""
    left, leaked = shower(layers(15), entering(60, kind, 400.0), torch.ones(30))
    expected = 400.0 + (1.021998 if kind == POSITRON else 0.0)
    torch.testing.assert_close(left.sum(1) + leaked, torch.full((60,), expected), rtol=2e-6, atol=2e-3)
    assert bool((left >= 0).all() and (leaked >= 0).all() and (leaked > 0).any())


@pytest.mark.parametrize("stretch", [0.5, 1.0, 3.0])
def test_photons_are_attenuated_with_the_tabulated_mean_free_path(stretch):
    """Through 12 mm in steps of any stretch: P(no interaction) = exp(-r l / lambda)."""
    transport = Transport([0, 1], [12.0, 5.0], TABLES, 400.0)
    particles, generator = entering(40_000, PHOTON, 500.0), torch.Generator().manual_seed(1)
    untouched = torch.ones(40_000, dtype=torch.bool)
    for _ in range(50):
        inside = untouched & (particles.slab == 0)
        if not bool(inside.any()):
            break
        step = transport.step(particles, torch.full((40_000,), stretch), Numbers(40_000, generator))
        hit = (step.particles.energy != particles.energy) | (step.particles.kind != particles.kind)
        untouched = untouched & ~(hit & (particles.slab == 0))
        moved = Particles(*(torch.where(inside & ~hit, a, b) for a, b in zip(step.particles, particles, strict=True)))
        particles = moved
    row = TABLES.row(torch.tensor([500.0]), torch.tensor([0]))
    expected = math.exp(-stretch * 12.0 * float(TABLES.photon[row, 0]))
    assert_mean(untouched.float(), expected)
    assert 1 / float(TABLES.photon[row, 0]) == pytest.approx(9 / 7 * 8.903, rel=0.1)


@pytest.mark.parametrize("stretch", [0.5, 1.0, 2.0])
def test_electrons_lose_what_they_should_whatever_the_stretch(stretch):
    """Quanta lost and photons radiated in a thin slab: stopping power and emission rate times its thickness."""
    transport = Transport([0], [0.2], TABLES, 400.0)
    count, generator = 200_000, torch.Generator().manual_seed(2)
    particles = entering(count, ELECTRON, 1000.0)
    step = transport.step(particles, torch.full((count,), stretch), Numbers(count, generator))
    row = TABLES.row(torch.tensor([1000.0]), torch.tensor([0]))
    loss, per_loss, share = (float(TABLES.electron[row, column]) for column in (0, 3, 4))
    born = torch.cat([children.kind for _, children in step.families])
    # A step ends with the first emission: of those that emit, half of the slab is not crossed.
    emissions = 1 - math.exp(-0.2 * stretch * loss * per_loss)
    assert len(born) / count == pytest.approx(emissions, rel=0.02)
    assert float((born == PHOTON).float().mean()) == pytest.approx(share, abs=0.01)
    lost = step.deposit - step.leaked.clamp(max=0)
    expected = emissions / per_loss  # mean loss up to the first emission or the border
    assert_mean(lost, expected)


@pytest.mark.parametrize("stretch", [0.5, 1.0, 2.0])
def test_electrons_are_scattered_as_their_transport_mean_free_path_says(stretch):
    """1 - <cos> behind a thin slab is the path up to the first emission over that mean free path."""
    transport = Transport([0], [0.2], TABLES, 400.0)
    count, generator = 200_000, torch.Generator().manual_seed(3)
    step = transport.step(entering(count, ELECTRON, 60.0), torch.full((count,), stretch), Numbers(count, generator))
    row = TABLES.row(torch.tensor([60.0]), torch.tensor([0]))
    loss, per_loss, per_scattering = (float(TABLES.electron[row, column]) for column in (0, 3, 5))
    lost = (1 - math.exp(-0.2 * stretch * loss * per_loss)) / per_loss
    assert float(1 - step.particles.w.double().mean()) == pytest.approx(lost * per_scattering, rel=0.05)
    for transverse in (step.particles.u, step.particles.v):
        assert_mean(transverse, 0.0)


def test_the_reference_thickness_only_chooses_the_steps():
    """The same design from references a factor 2 apart: 300 electrons, 4 sigma."""
    profiles = []
    for seed, (absorber, gap) in enumerate([(2.3, 5.7), (4.6, 2.85)]):
        stretch = torch.tensor([2.3 / absorber, 5.7 / gap] * 30)
        left, _ = shower(layers(30, absorber, gap, 1e9), entering(300, ELECTRON, 300.0), stretch, seed)
        profiles.append(left.unflatten(1, (30, 2)))
    for observe in (lambda p: p[..., 1].sum(1), lambda p: p[..., 0].sum(1), lambda p: p[:, :6].sum((1, 2))):
        a, b = (observe(profile).double() for profile in profiles)
        error = ((a.var() + b.var()) / 300).sqrt()
        assert abs(float((a.mean() - b.mean()) / error)) < 4


def test_a_gap_without_matter_keeps_nothing_and_costs_nothing():
    stretch = torch.tensor([1.0, 0.0] * 10)
    left, leaked = shower(layers(10), entering(50, ELECTRON, 200.0), stretch)
    assert float(left[:, 1::2].sum()) < 0.01 * float(left.sum())  # particles that stop at a border are not lost
    torch.testing.assert_close(left.sum(1) + leaked, torch.full((50,), 200.0), rtol=1e-5, atol=2e-3)


def test_the_depth_grows_with_the_logarithm_of_the_energy():
    """Mean depth in PbWO4: d<t>/d ln E = 1 radiation length (PDG review), within 15 %."""
    depths = []
    transport = Transport([0] * 40, [8.903] * 40, TABLES, 1e9)
    for seed, (energy, count) in enumerate([(200.0, 250), (3200.0, 40)]):
        left, _ = shower(transport, entering(count, ELECTRON, energy), torch.ones(40), seed)
        depths.append(float((left.sum(0) * (torch.arange(40) + 0.5)).sum() / left.sum()))
    assert (depths[1] - depths[0]) / math.log(16) == pytest.approx(1.0, rel=0.15)


def test_turned_directions_have_the_angle_and_unit_length():
    generator = torch.Generator().manual_seed(0)
    first, second, cosine, azimuth = torch.rand(4, 5000, generator=generator, dtype=torch.double)
    axis = isotropic(first, second)
    new = turned(axis, 2 * cosine - 1, 6.283185 * azimuth)
    torch.testing.assert_close(sum(a * b for a, b in zip(axis, new, strict=True)), 2 * cosine - 1)
    torch.testing.assert_close(sum(a * a for a in new), torch.ones(5000, dtype=torch.double))
    for pole in (1.0, -1.0):
        one = torch.ones(5000, dtype=torch.double)
        u, v, w = turned((0 * one, 0 * one, pole * one), 2 * cosine - 1, 6.283185 * azimuth)
        torch.testing.assert_close(w, pole * (2 * cosine - 1))
        assert abs(float(u.mean())) < 0.05 and abs(float(v.mean())) < 0.05


@pytest.mark.parametrize("mean", [0.0, 0.3, 0.9, 0.999])
def test_scattering_has_the_wanted_mean(mean):
    uniform = (torch.arange(100_000, dtype=torch.double) + 0.5) / 100_000
    found = float(scattered(torch.full_like(uniform, mean), uniform).mean())
    assert 1 - found == pytest.approx(1 - mean, rel=0.06)
