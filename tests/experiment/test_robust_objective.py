"""An objective over scenarios inside an experiment: what changes the hits is reconstructed anew, everywhere."""

import pytest
import torch
from exact import reading_experiment, sigma

from mode_opt.experiment import VerificationEffort, verify
from mode_opt.objectives import Miscalibration, Nominal, Resolution, Robust
from mode_opt.simulation import stream

GAINS = {"nominal": Nominal(), "gain": Miscalibration(0, factor=1.2)}


def rms(gain: float, x: float) -> float:
    """Of ``gain (1 + σ ε) − 1``."""
    return ((gain - 1) ** 2 + (gain * sigma(x)) ** 2) ** 0.5


@pytest.mark.parametrize(("risk", "weights"), [("mean", (0.5, 0.5)), ("cvar", (0.0, 1.0))])
def test_value_and_derivative_are_those_of_the_risk(risk, weights):
    robust = Robust(Resolution(width="rms"), GAINS, risk)
    experiment = reading_experiment(objective=robust)

    def loss(x):
        experiment.design.assign({"x": x})
        return experiment.design_loss(20_000, stream("cpu", 0, "test"))[0]

    value = loss(1.0)
    assert value.item() == pytest.approx(
        sum(w * rms(g, 1.0) for w, g in zip(weights, (1.0, 1.2), strict=True)), rel=0.02
    )
    psi = experiment.design.psi
    (slope,) = torch.autograd.grad(value, psi)
    along = torch.autograd.functional.jacobian(lambda p: experiment.design.point(p)["x"].sum(), psi).item()
    central = (loss(1.05).item() - loss(0.95).item()) / 0.1
    assert slope.item() / along == pytest.approx(central, rel=0.01)


def test_verification_sees_the_scenarios():
    """rms averaged over both gains, of the start design and of one that is better."""
    experiment = reading_experiment(objective=Robust(Resolution(width="rms"), GAINS))
    initial = experiment.design().detach()
    experiment.design.assign({"x": 2.0})
    effort = VerificationEffort(steps=0, events=4000, replicas=1)
    found = verify(experiment, {"initial": initial, "final": experiment.design().detach()}, effort)
    for estimate, x in ((found.initial, 1.0), (found.final, 2.0)):
        expected = (rms(1.0, x) + rms(1.2, x)) / 2
        assert abs(estimate.value - expected) < 5 * estimate.standard_error < 0.1 * expected
