"""What a reconstruction may depend on: real hits and the design, and not the padding."""

import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.reconstruction import CellNetwork, SetNetwork, log_normal


def shaken(network):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network


def events(count=32, hits=3):
    generator = torch.Generator().manual_seed(0)
    return Events.of(torch.rand(1, count, 1, generator=generator), torch.rand(1, count, hits, 2, generator=generator))


def test_more_padding_changes_nothing():
    """The same three hits in a batch with room for three and in one with room for nine."""
    batch, phi = events(), DesignPoint.of(x=1.0)
    wide = torch.cat([batch.hits, torch.zeros(1, 32, 6, 2)], 2)
    mask = torch.cat([batch.mask, torch.zeros(1, 32, 6, dtype=torch.bool)], 2)
    network = shaken(SetNetwork.fitting(batch, phi))
    torch.testing.assert_close(network(batch, phi).mean, network(Events.of(batch.truth, wide, mask), phi).mean)


@pytest.mark.parametrize("kind", [CellNetwork, SetNetwork])
def test_the_belief_depends_on_the_design(kind):
    """Trained over a neighbourhood, a network that did not see the design could only average over it."""
    batch = events()
    first, second = DesignPoint.of(x=1.0), DesignPoint.of(x=2.0)
    network = shaken(kind.fitting(batch, first))
    assert (network(batch, first).mean - network(batch, second).mean).abs().min() > 0


def test_an_untrained_log_normal_belief_stays_finite_and_can_be_trained():
    """The mean holds exp(spread²/2): a spread of 50 must not overflow."""
    raw = torch.tensor([[[50.0]]], requires_grad=True)
    belief = log_normal(torch.zeros(1, 1, 1), raw)
    assert torch.isfinite(belief.mean).all() and torch.isfinite(belief.log_prob(torch.ones(1, 1, 1))).all()
    assert log_normal(torch.zeros(1, 1, 1), torch.tensor([[[0.1]]])).mean.item() == pytest.approx(1.00501, rel=1e-4)
