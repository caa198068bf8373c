"""The toy as a detector: configuration, objective and an experiment with it."""

import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.detectors.branching_toy import CentralSource, RadiusDeviation, branching_toy
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.experiment import Experiment
from mode_opt.gradients import FiniteDifferences
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import Promise, stream


def test_the_numbers_of_the_paper_are_the_defaults():
    detector = branching_toy()
    program = detector.simulator()
    assert program.promise == Promise.STOCHASTIC and program.variant == "shower"
    assert (program.step_length, program.kick, program.loss) == (0.02, 0.05, 2.0)
    assert (program.energy_cut, program.radius_cut) == (0.5, 20.0)
    assert detector.primaries.energy == 25.0 and detector.objective.target == 2.0
    assert detector.design()["inner_radius"].item() == pytest.approx(3.0)


def test_entries_of_the_configuration_can_be_changed():
    detector = branching_toy(variant="energy_loss", program={"loss": 5.0}, energy=10.0)
    assert detector.simulator().variant == "energy_loss" and detector.simulator().loss == 5.0
    hits = detector.simulator()(detector.design().detach(), detector.primaries.sample(5), stream("cpu", 0)).hits
    assert hits[0, :, 0, 1].tolist() == [3.0] * 5  # 10, 5, 0 MeV: two interactions and a stop


def test_wrong_entries_are_refused():
    with pytest.raises(ConfigurationError, match=r"detector.radius.*one of the entries.*variant"):
        branching_toy(radius=3.0)
    with pytest.raises(ConfigurationError, match="shower or energy_loss"):
        branching_toy(variant="both")


def test_directions_cover_the_circle():
    primaries = CentralSource().sample(1000, stream("cpu", 0))
    assert torch.equal(primaries.truth[..., 0], primaries.hits[..., 0, 0])
    assert primaries.truth.abs().max() <= torch.pi and primaries.truth.min() < -3 and primaries.truth.max() > 3
    assert (primaries.hits[..., 1] == 25.0).all()


def test_the_objective_is_the_weighted_mean():
    hits = torch.tensor([[6.0, 2.0], [4.0, 4.0]]).reshape(1, 2, 1, 2)  # mean radii 3 and 1
    events = Events.of(torch.zeros(1, 2, 1), hits, weight=torch.tensor([[3.0, 1.0]]))
    belief = PriorBelief()(events, DesignPoint.of(x=0.0))
    assert RadiusDeviation(1.0)(events, belief, DesignPoint.of(x=0.0)).item() == pytest.approx(3 / 4 * 4.0)


@pytest.mark.parametrize("gradient", [None, FiniteDifferences(0.1)], ids=["automatic", "finite differences"])
def test_an_experiment_gets_value_and_gradient(gradient):
    detector = branching_toy(program={"step_length": 0.1}, energy=5.0)
    experiment = Experiment.of(detector, gradient=gradient)
    loss, _ = experiment.design_loss(400, stream("cpu", 1))
    loss.backward()
    assert loss.item() > 0 and experiment.design.psi.grad is not None and experiment.design.psi.grad.item() > 0
