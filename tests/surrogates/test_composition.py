"""Coordinates of deposits, and what the family made of them keeps of a sum."""

import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.errors import ShapeError
from mode_opt.events import Events
from mode_opt.surrogates import Composition, deposits


def showers(b: int, n: int, seed: int) -> tuple[DesignPoint, Events, Events]:
    """Profiles of 8 cells: a sum with a resolution that improves as √E, shared out at random, deeper for larger a."""
    g = torch.Generator().manual_seed(seed)
    a = torch.rand(b, 1, generator=g)
    energy = 10 ** (2 + torch.rand(b, n, generator=g))
    total = energy * (1 + 0.5 * torch.randn(b, n, generator=g) / energy.sqrt())
    depth = 2 + 2 * a + 0.5 * torch.randn(b, n, generator=g)
    shares = torch.exp(-((torch.arange(8.0) - depth[..., None]) ** 2) / 4)
    hits = (total[..., None] * shares / shares.sum(2, keepdim=True)).unsqueeze(3)
    truth = energy.unsqueeze(2)
    return DesignPoint.of(a=a), Events.of(truth, truth.unsqueeze(3)), Events.of(truth, hits)


def test_there_and_back() -> None:
    phi, primaries, events = showers(3, 5, 0)
    coordinates = Composition((8, 1), torch.tensor([True]))
    condition = coordinates.condition(phi, primaries)
    assert torch.allclose(condition[..., 1], primaries.hits[..., 0, 0].log())
    features = coordinates.features(events, condition, None)
    assert torch.allclose(features[..., 0].exp(), events.hits.sum((2, 3)) + 1e-3)
    assert torch.allclose(coordinates.events(features, phi, primaries).hits, events.hits, rtol=1e-4, atol=1e-3)
    with pytest.raises(ShapeError):
        Composition((7, 1), torch.tensor([True])).features(events, condition, None)


def test_cells_that_are_masked_hold_nothing_and_primaries_with_zeros_stay_as_they_are() -> None:
    phi, primaries, events = showers(2, 4, 1)
    mask = events.mask.clone()
    mask[..., 3] = False
    coordinates = Composition((8, 1), torch.tensor([False]))
    condition = coordinates.condition(phi, primaries)
    assert torch.equal(condition[..., 1], primaries.hits[..., 0, 0])
    features = coordinates.features(Events.of(events.truth, events.hits, mask), condition, None)
    assert float(features[..., 4].abs().max()) == 0.0


def test_the_family_keeps_the_resolution_of_the_sum_at_every_energy() -> None:
    phi, primaries, events = showers(24, 100, 2)
    surrogate = deposits(phi, primaries, events, training={"steps": 300, "batch": 256})
    surrogate.fit(phi, primaries, events, seed=0)
    fresh, entering, expected = showers(20, 500, 3)
    with torch.no_grad():
        found = surrogate(fresh, entering, torch.Generator().manual_seed(4))
    energy = entering.hits[..., 0, 0]
    for inside in (energy < 300, energy >= 300):
        widths = [(e.hits.sum((2, 3)) / energy - 1)[inside].std() for e in (found, expected)]
        assert float(widths[0] / widths[1]) == pytest.approx(1.0, abs=0.1)
    depths = [(e.hits[..., 0] * torch.arange(8.0)).sum(2) / e.hits.sum((2, 3)) for e in (found, expected)]
    assert float(depths[0].std() / depths[1].std()) == pytest.approx(1.0, abs=0.15)
    assert float((depths[0] - depths[1]).mean()) == pytest.approx(0.0, abs=0.05)
