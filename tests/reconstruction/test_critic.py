"""A critic trained by its bound, on the Gaussian channel ``h = x + φ n``, where I = ½ ln(1 + 1/φ²)."""

import math

import pytest
import torch
from toys import one_parameter

from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.experiment import Experiment, VerificationEffort, trained_at
from mode_opt.objectives import ContrastiveInformation, Resolution
from mode_opt.reconstruction import Critic
from mode_opt.simulation import DifferentiableSimulator, PrimarySource, stream

NOISE = 0.5
EXACT = 0.5 * math.log1p(1 / NOISE**2)  # 0.805
SLOPE = 1 / (NOISE * (NOISE**2 + 1))  # −dI/dφ, 1.6
EFFORT = VerificationEffort(steps=150, batch=256, learning_rate=0.02)


class Standard(PrimarySource):
    """Truth from a unit Gaussian."""

    truth_names, truth_units = ("x",), ("",)

    def sample(self, count, generator):
        x = torch.randn(1, count, 1, generator=generator)
        return Events.of(x, torch.zeros(1, count, 1, 1))


class Channel(DifferentiableSimulator):
    """``h = x + φ n``."""

    def forward(self, phi, primaries, generator=None):
        events = primaries.expand(phi.designs)
        noise = torch.randn(events.truth.shape, generator=generator)
        return Events.of(events.truth, (events.truth + phi["x"].unsqueeze(1) * noise).unsqueeze(2))


def experiment(bound="info_nce", goal="objective"):
    objective = ContrastiveInformation(contrasts=63, bound=bound)
    design = one_parameter(NOISE, 0.1, 3.0)
    return Experiment(design, Channel(), Standard(), Critic.fitting, objective, reconstruction_goal=goal)


@pytest.mark.parametrize("bound", ["info_nce", "nguyen_wainwright_jordan", "donsker_varadhan"])
def test_a_trained_critic_finds_the_information_and_its_slope(bound):
    """Fresh events; the slope is that of the information because the critic is at its best (envelope theorem)."""
    built = experiment(bound)
    phi = built.design()
    built.reconstruction = trained_at(built, phi.detach(), EFFORT, seed=1)
    values, slopes = [], []
    for k in range(8):
        events = Channel()(phi, Standard().sample(1000, stream("cpu", 7, k)), stream("cpu", 8, k))
        value = built.score()(events, phi).sum()
        values.append(-value.item())
        slopes.append(torch.autograd.grad(value, phi.values, retain_graph=True)[0].item())
    found, slope = torch.tensor(values), torch.tensor(slopes)
    error = found.std().item() / 8**0.5
    assert EXACT - 0.06 - 4 * error < found.mean().item() < EXACT + 4 * error + 0.01
    assert slope.mean().item() == pytest.approx(SLOPE, abs=0.15 * SLOPE + 4 * slope.std().item() / 8**0.5)


def test_an_untrained_critic_knows_nothing():
    built = experiment()
    phi = built.design().detach()
    events = Channel()(phi, Standard().sample(1000, stream("cpu", 7)), stream("cpu", 8))
    with torch.no_grad():
        assert -built.score()(events, phi).item() < 0.3


def test_a_critic_cannot_be_trained_for_the_truth():
    """Its scores have no upper limit: training would run away."""
    with pytest.raises(ConfigurationError, match=r"reconstruction_goal.*truth.*objective.*Critic"):
        experiment(goal="truth")


def test_an_objective_that_reads_an_estimate_is_refused():
    events = Standard().sample(10, stream("cpu", 0))
    phi = one_parameter(NOISE)().detach()
    belief = Critic.fitting(events, phi)(events, phi)
    with pytest.raises(ConfigurationError, match=r"contrastive_information"):
        Resolution()(events, belief, phi)


def test_scores_of_the_same_truth_are_those_of_an_outer_product():
    """T is a sum of products of functions of the truth and of the hits: a matrix of scores of rank r + 2 at most."""
    events, phi = Standard().sample(40, stream("cpu", 0)), one_parameter(NOISE)().detach()
    critic = Critic.fitting(events, phi, rank=3)
    belief = critic(events, phi)
    with torch.no_grad():
        rows = [belief.log_prob(events.truth[:, k : k + 1].expand(1, 40, 1))[0] for k in range(40)]
    assert int(torch.linalg.matrix_rank(torch.stack(rows).double(), rtol=1e-5)) <= 5


@pytest.mark.parametrize("key", ["targets", "rank", "hidden", "depth"])
def test_sizes_below_one_are_refused(key):
    with pytest.raises(ConfigurationError, match=rf"reconstruction\.{key}"):
        Critic(1, 1, **{key: 0})


def test_an_unknown_bound_is_refused():
    with pytest.raises(ConfigurationError, match=r"objective\.bound.*info_nce"):
        ContrastiveInformation(bound="guess")
