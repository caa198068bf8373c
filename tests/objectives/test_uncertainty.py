import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.experiment import jackknife
from mode_opt.objectives import Resolution
from mode_opt.reconstruction import normal

PHI = DesignPoint.of(x=1.0)


def sample(seed, count=2000, width=0.1, noise=None):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(1, count, 1, generator=generator) if noise is None else noise
    truth = torch.ones(1, count, 1)
    return Events.of(truth, torch.zeros(1, count, 1, 1)), normal(truth + width * drawn, torch.ones_like(truth))


@pytest.mark.parametrize("width", ["rms", "quantile"])
def test_standard_errors_cover_the_truth(width):
    """400 samples of a Gaussian of width 0.1: pulls have mean 0 and width 1 (4σ of each: 0.2 and 0.14, jackknife
    with 20 groups: 19 degrees of freedom, width 1.06)."""
    exact = 0.1
    pulls = []
    for seed in range(400):
        estimate = jackknife(Resolution(width=width), *sample(seed), PHI).estimate()
        pulls.append((estimate.value - exact) / estimate.standard_error)
    pulls = torch.tensor(pulls)
    assert pulls.mean().abs() < 0.25
    assert 0.9 < pulls.std() < 1.25


def test_rms_error_is_that_of_a_gaussian():
    """σ(rms) = σ/√(2n)."""
    errors = [jackknife(Resolution(width="rms"), *sample(seed), PHI).estimate().standard_error for seed in range(50)]
    assert torch.tensor(errors).mean().item() == pytest.approx(0.1 / (2 * 2000) ** 0.5, rel=0.1)


def test_common_noise_cancels_in_a_paired_difference():
    noise = torch.randn(1, 2000, 1, generator=torch.Generator().manual_seed(1))
    first = jackknife(Resolution(width="rms"), *sample(0, noise=noise, width=0.10), PHI)
    second = jackknife(Resolution(width="rms"), *sample(0, noise=noise, width=0.11), PHI)
    difference = (second - first).estimate()
    assert difference.value == pytest.approx(0.01 * noise.square().mean().sqrt().item(), rel=1e-3)
    assert difference.standard_error < 0.2 * first.estimate().standard_error


def test_fewer_events_than_groups():
    assert jackknife(Resolution(width="rms"), *sample(0, count=3), PHI).left_out.numel() == 3


def test_each_replica_leaves_out_every_twentieth_event():
    """Interleaved groups: an order in the events (by energy, by file) does not become a difference of groups."""
    events, belief = sample(3, count=50)
    replicas = jackknife(Resolution(width="rms"), events, belief, PHI)
    for k in (0, 7, 19):
        rest = torch.arange(50) % 20 != k
        square = (belief.mean / events.truth - 1)[0, rest, 0].square().mean()
        assert replicas.left_out[k].item() == pytest.approx(square.sqrt().item(), rel=1e-5)
