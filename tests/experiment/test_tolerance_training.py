"""A reconstruction that has learnt what a displacement means, one that has not, and one that is not told."""

import math

import pytest
import torch
from exact import Reading
from torch import nn
from toys import gun

from mode_opt.design import Design, DesignPoint
from mode_opt.events import Events
from mode_opt.experiment import Experiment, ToleranceEffort, VerificationEffort, tolerances, trained_around
from mode_opt.experiment.tolerance import Untold
from mode_opt.objectives import Resolution
from mode_opt.reconstruction import Reconstruction, normal
from mode_opt.simulation import BlackBoxSimulator, DifferentiableSimulator

SHORT = VerificationEffort(steps=250, batch=128, learning_rate=2e-2)


class Gain(DifferentiableSimulator):
    """``hit = E (1 + x/2) (1 + 5 % noise)``: a perfect reconstruction divides by the gain."""

    def forward(self, phi, primaries, generator=None):
        events = primaries.expand(phi.designs)
        noise = torch.randn(events.hits.shape, generator=generator, dtype=events.hits.dtype)
        gain = (1 + phi["x"] / 2)[:, :, None, None]
        return Events.of(events.truth, events.hits * gain * (1 + 0.05 * noise), weight=events.weight)


class Divided(Reconstruction):
    """``N(hit exp(a + b x + c x²), 0.05 …)`` with first weights that are wrong about x."""

    def __init__(self, events: Events, phi: DesignPoint):
        super().__init__()
        self.factors = nn.Parameter(torch.tensor([0.1, 0.5, 0.3]))

    def forward(self, events: Events, phi: DesignPoint):
        a, b, c = self.factors
        estimate = events.hits[:, :, 0] * torch.exp(a + b * phi["x"] + c * phi["x"] ** 2)[:, None, :]
        return normal(estimate, 0.05 * estimate)


def experiment(simulator=None, **bounds) -> Experiment:
    design = Design({"x": {"start": 0.2, "bounds": [-1.0, 1.0]}} | bounds)
    return Experiment(design, simulator or Gain(), gun(), Divided, Resolution(width="rms"))


def test_a_known_displacement_costs_nothing_an_unknown_one_its_bias():
    """J² = 0.05² + bias²: ∂²J/∂x² is 0 if the gain is divided out, else (½/1.1)²/0.05 = 4.1 (in 1/x²)."""
    subject = experiment()
    subject.reconstruction = trained_around(subject, effort=SHORT)
    known = tolerances(subject, effort=ToleranceEffort("regression", calls=6000)).parameters[0]
    unknown = tolerances(subject, effort=ToleranceEffort("regression", calls=6000, surveyed=False)).parameters[0]
    assert unknown.curvature.value == pytest.approx((0.5 / 1.1) ** 2 / 0.05, rel=0.1)
    assert abs(known.curvature.value) < 0.1 * unknown.curvature.value
    exact = tolerances(
        subject, effort=ToleranceEffort("differences", events=1000, batches=4, surveyed=False)
    ).parameters[0]
    assert exact.curvature.value == pytest.approx(unknown.curvature.value, rel=0.1)
    assert unknown.spread.value == pytest.approx(math.sqrt(2 * 0.01 * 0.05 / 4.13), rel=0.15)


def test_it_is_trained_at_displaced_designs_within_their_limits():
    seen = []

    class Noted(Gain):
        def forward(self, phi, primaries, generator=None):
            seen.append(phi.values.detach().clone())
            return super().forward(phi, primaries, generator)

    y = {"y": {"start": 0.5, "bounds": [0.0, 1.0]}}
    design = Design({"x": {"start": 0.2, "bounds": [-1.0, 1.0]}} | y, constraints=["x + y <= 0.8"])
    subject = Experiment(design, Noted(), gun(), Divided, Resolution(width="rms"))
    seen.clear()
    trained_around(subject, effort=VerificationEffort(steps=20, batch=64), radius=0.6)
    drawn = torch.cat([values for values in seen if len(values) > 1])
    assert len(drawn) == 160 and (drawn.sum(1) <= 0.8 + 1e-5).all()
    assert (drawn[:, 0] - 0.2).abs().max() <= 0.6 + 1e-6 and drawn[:, 0].min() < -0.2
    assert drawn[:, 1].min() >= 0.0 and drawn[:, 1].max() <= 0.8 + 1e-6


class Closed(BlackBoxSimulator):
    """`Gain` as a black box; designs above a limit fail."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit = limit

    def simulate(self, phi, primaries, generator):
        if bool((phi["x"] > self.limit).any()):
            raise RuntimeError("too wide")
        return Gain()(phi, primaries, generator)


def test_designs_that_fail_are_left_out_and_a_pool_is_drawn_from():
    subject = experiment(Closed(0.35))
    calls = subject.simulator_calls
    effort = VerificationEffort(steps=300, batch=128, pool=6400, learning_rate=2e-2)
    found = trained_around(subject, effort=effort)
    # Designs that raise are tried again in halves of the batch, and counted once more.
    assert 6400 <= subject.simulator_calls - calls < 3 * 6400
    phi = DesignPoint(torch.tensor([[0.0]]), subject.design.layout)
    events = subject.simulate(phi, 2000, torch.Generator().manual_seed(1))
    with torch.no_grad():
        ratio = found(events, phi).mean / events.truth
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.02)


def test_what_cannot_learn_is_returned_as_it_is():
    design = Design({"x": {"start": 0.2, "bounds": [-1.0, 1.0]}})
    fixed = Reading()
    fixed.gain.requires_grad_(False)
    subject = Experiment(design, Gain(), gun(), fixed, Resolution(width="rms"))
    found = trained_around(subject)
    assert isinstance(found, Reading) and subject.simulator_calls == 0


def test_untold_hides_the_displacement():
    nominal = DesignPoint(torch.tensor([[0.2]]), experiment().design.layout)
    other = DesignPoint(torch.tensor([[0.5], [0.7]]), nominal.layout)
    events = gun().sample(10, torch.Generator().manual_seed(0)).expand(2)
    network = Divided(events, nominal)
    told = network(events, DesignPoint(nominal.values.expand(2, -1), nominal.layout)).mean
    torch.testing.assert_close(Untold(network, nominal)(events, other).mean, told)
    assert not torch.allclose(network(events, other).mean, told)
