"""A belief that reads no hits."""

import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.reconstruction import PriorBelief

PHI = DesignPoint.of(x=1.0)


def test_it_has_mean_and_spread_of_the_truth_and_reads_no_hits():
    generator = torch.Generator().manual_seed(0)
    truth = 5 + 2 * torch.randn(1, 4000, 2, generator=generator)
    events = Events.of(truth, torch.full((1, 4000, 1, 1), torch.nan))
    belief = PriorBelief.fitting(events, PHI)(events.expand(3), PHI)
    assert belief.batch_shape == (3, 4000) and belief.event_shape == (2,)
    torch.testing.assert_close(belief.mean, truth.mean(1, keepdim=True).expand(3, 4000, 2))
    torch.testing.assert_close(belief.stddev[0, 0], truth[0].std(0))


def test_it_has_nothing_to_train_and_keeps_its_numbers():
    events = Events.of(torch.tensor([[[1.0], [3.0]]]), torch.zeros(1, 2, 1, 1))
    belief = PriorBelief.fitting(events, PHI)
    assert not any(parameter.requires_grad for parameter in belief.parameters())
    other = PriorBelief()
    other.load_state_dict(belief.state_dict())
    assert torch.equal(other(events, PHI).mean, torch.full((1, 2, 1), 2.0))


def test_no_targets_are_refused():
    with pytest.raises(ConfigurationError, match=r"reconstruction.targets.*0"):
        PriorBelief(0)
