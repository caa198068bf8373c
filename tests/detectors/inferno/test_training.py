"""The construction of the paper, derivatives in the unknown parameters, and a short training."""

import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.detectors.inferno import (
    STEPS,
    MixtureSource,
    exact_uncertainty,
    inferno,
    reweighted,
    summary_templates,
)
from mode_opt.detectors.inferno.measure import measured
from mode_opt.events import Events
from mode_opt.experiment import Experiment, VerificationEffort, trained_at
from mode_opt.objectives import ExpectedUncertainty
from mode_opt.reconstruction import SummaryNetwork
from mode_opt.simulation import stream

POINT = DesignPoint.of(share=0.5)
NAMES = ("signal", "shift", "rate", "yield")
START = torch.tensor([50.0, 0.0, 3.0, 1000.0], dtype=torch.float64)
PRIORS = {2: (0.0, 0.0, 0.0), 4: (0.4**-2, 1.0, 100.0**-2)}


def sample(count, seed=0):
    events = MixtureSource().sample(count, stream("cpu", seed))
    return Events.of(events.truth.double(), events.hits.double())


def network_of(events, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SummaryNetwork.fitting(events, POINT, hidden=16).double()


def expected(network, events, theta, width):
    """λ of θ = (s, r, rate, b), with the background moved as by the authors of the paper."""
    x, y, z = events.hits[:, :, 0].unbind(-1)
    is_signal = events.truth[..., 0] > 0.5
    there = torch.stack([x + theta[1], y, z * 3 / theta[2]], -1)
    hits = torch.where(is_signal.unsqueeze(-1), events.hits[:, :, 0], there).unsqueeze(2)
    logits = network(Events.of(events.truth, hits), POINT).mixture_distribution.logits
    bins = torch.softmax(logits / width, -1)[0]
    return theta[0] * bins[is_signal[0]].mean(0) + theta[3] * bins[~is_signal[0]].mean(0)


def paper(network, events, width, benchmark):
    """σ(s) of the Hessian of −ln L at Asimov data that do not move with θ, but do with the weights of the network."""
    asimov = expected(network, events, START, width)

    def surprise(theta):
        rate = expected(network, events, theta, width)
        return (rate - asimov * rate.log()).sum()

    hessian = torch.autograd.functional.hessian(surprise, START, create_graph=True)
    used = [0, 1, 2] if benchmark == 2 else [0, 1, 2, 3]
    prior = torch.diag(torch.tensor([0.0, *PRIORS[benchmark]])).double()
    return torch.linalg.inv((hessian + prior)[used][:, used])[0, 0].sqrt()


def gradient(value, network):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(network.network.parameters()))])


@pytest.mark.parametrize("benchmark", [2, 4])
@pytest.mark.parametrize("width", [0.3, 1.0])
def test_value_and_gradient_are_those_of_the_construction_of_the_paper(benchmark, width):
    """The steps of the differences are made small enough that nothing of them is seen."""
    events = sample(600)
    network = network_of(events)
    steps = {name: 1e-3 * step for name, step in STEPS.items()}
    objective = ExpectedUncertainty(summary_templates(benchmark, width, steps))
    wanted = paper(network, events, width, benchmark)
    found = 50 * objective.judged(events, network(events, POINT), POINT, network).sum()
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)
    slopes = gradient(found, network), gradient(wanted, network)
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-5 * float(slopes[1].abs().max()))


def test_the_steps_of_the_configuration_are_small_enough():
    """Against exact derivatives: 0.1 % of σ(s), a few per cent of its gradient (along itself: less than one)."""
    events = sample(20_000)
    network = network_of(events)
    wanted = paper(network, events, 1.0, 2)
    found = 50 * ExpectedUncertainty(summary_templates(2)).judged(events, network(events, POINT), POINT, network).sum()
    assert found.item() == pytest.approx(wanted.item(), rel=1e-3)
    one, other = gradient(found, network), gradient(wanted, network)
    assert float((one - other).norm() / other.norm()) < 0.03
    assert float((one @ other) / (other @ other)) == pytest.approx(1, abs=0.01)


def test_a_short_training_is_far_better_than_any_classifier():
    """150 steps: below 19 with soft and hard bins, where the classifier has 24.9, and above the floor of 15.63."""
    experiment = Experiment.of(inferno(), "sharp")
    phi = experiment.design().detach()
    effort = VerificationEffort(steps=150, batch=2000, learning_rate=5e-3)
    network = trained_at(experiment, phi, effort)
    ways = {"soft": summary_templates(2, move=reweighted), "hard": summary_templates(2, None, move=reweighted)}
    found = measured(experiment, network, ways, 100_000, 3)
    for estimate in found.values():
        assert estimate.standard_error < 0.2
        assert exact_uncertainty(2) - 3 * estimate.standard_error < estimate.value < 19


def test_the_share_of_the_channels_moves_to_where_the_exact_information_is_larger():
    """dσ(s)/dq of a network trained for a moment, at the start, against that of the floor: a third of each other."""
    experiment = Experiment.of(inferno())
    effort = VerificationEffort(steps=100, batch=2000, learning_rate=5e-3)
    network = trained_at(experiment, experiment.design().detach(), effort)
    psi = experiment.design.psi
    (step,) = torch.autograd.grad(experiment.design().values.sum(), psi)
    loss, _ = experiment.design_loss(40_000, stream("cpu", 5), network)
    (slope,) = torch.autograd.grad(loss, psi)
    floors = [exact_uncertainty(2, (0.5 / q, 0.5 / (1 - q))) for q in (0.84, 0.86)]
    wanted = (floors[1] - floors[0]) / 0.02
    assert 50 * float(slope / step) == pytest.approx(wanted, rel=1 / 3)
