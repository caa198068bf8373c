"""The doctor finds what is wrong with a gradient and says so, on problems whose gradient is known."""

import dataclasses
import math

import pytest
import torch
from exact import reading_experiment
from toys import ClosedGauge, Counter, Gauge, gun, network, one_parameter

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.experiment import DiagnosisEffort, Directions, Experiment, GradientCheck, Problem, diagnose
from mode_opt.experiment.diagnosis import cosine
from mode_opt.experiment.finding import AGREES, BIASED, FAILED, REFUSED, UNDECIDED, freedom, threshold
from mode_opt.experiment.guard import comparable, problem_of
from mode_opt.experiment.reference import Reference, central_differences, exact_reference
from mode_opt.gradients import Automatic, FiniteDifferences, GradientEstimator, Pathwise, ScoreFunction
from mode_opt.objectives import Resolution
from mode_opt.objectives.uncertainty import Estimate
from mode_opt.simulation import Promise, StochasticSimulator, stream

EFFORT = DiagnosisEffort(batches=32)


class Altered(GradientEstimator):
    """Another estimator's loss, its derivative changed; raises or gives NaN in some batches."""

    def __init__(self, estimator, factor=1.0, noise=0.0, error=None, every=1, detached=False):
        self.estimator, self.factor, self.noise = estimator, factor, noise
        self.error, self.every, self.detached, self.count = error, every, detached, 0

    @property
    def requires(self):
        return Promise.BLACK_BOX

    def loss(self, simulator, design, primaries, score, generator=None):
        loss = self.estimator.loss(simulator, design, primaries, score, generator)
        self.count += 1
        if self.error is not None and self.count % self.every == 0:
            if callable(self.error):
                raise self.error()
            return loss * self.error
        if self.detached:
            return loss.detach()
        # Cauchy noise: the mean of its batches has no variance
        noise = self.noise * torch.tan(math.pi * (torch.rand((), generator=generator) - 0.5))
        return self.factor * loss + (1 - self.factor) * loss.detach() + noise * (design.psi - design.psi.detach()).sum()


def spread(events: Events, phi: DesignPoint) -> torch.Tensor:
    """⟨(hit/E − 1)²⟩ = σ²(x): dJ/dx = 2 (x − 3)/100."""
    square = (events.hits[..., 0, 0] / events.truth[..., 0] - 1) ** 2
    return (square * events.weight).sum(-1) / events.weight.sum(-1)


def mean_hit(events: Events, phi: DesignPoint) -> torch.Tensor:
    """⟨hit⟩, whose derivative for `Counter` is 1."""
    return (events.hits[..., 0, 0] * events.weight).sum(-1) / events.weight.sum(-1)


def gauge(start=1.5, unit="mm", events=256, seed=0, simulator=None):
    return Problem(simulator or Gauge(), one_parameter(start, unit=unit), gun(), spread, events, seed)


def found(estimators, problem=None, exact=None, effort=EFFORT):
    diagnosis = diagnose(problem or gauge(), estimators, effort, exact)
    return {finding.name: finding for finding in diagnosis.findings}


TRUTH = torch.tensor([2 * (1.5 - 3.0) / 100])


@pytest.mark.parametrize("exact", [TRUTH, None], ids=["exact", "differences"])
def test_right_estimators_agree_and_wrong_ones_are_found(exact):
    estimators = {
        "right": Pathwise(),
        "half": Altered(Pathwise(), 0.5),
        "sign": Altered(Pathwise(), -1.0),
        "detached": Altered(Pathwise(), detached=True),
        "differences": FiniteDifferences(),
    }
    findings = found(estimators, exact=exact)
    verdicts = {name: finding.verdict for name, finding in findings.items()}
    assert verdicts == {"right": AGREES, "half": BIASED, "sign": BIASED, "detached": BIASED, "differences": AGREES}
    for name, fraction in (("half", -0.5), ("sign", -2.0), ("detached", -1.0)):
        (parameter,) = findings[name].parameters
        assert parameter.fraction == pytest.approx(fraction, abs=0.06)  # 4 sigma at errors of 1.5 %
        assert parameter.name in findings[name].words and findings[name].efficiency is None
    assert findings["right"].parameters[0].sign_rate == 1.0 and findings["sign"].parameters[0].sign_rate == 0.0
    assert findings["sign"].cosine.value == pytest.approx(-1.0)
    assert findings["detached"].cosine is None and findings["detached"].parameters[0].kurtosis == 0.0


def test_a_stochastic_simulator_pathwise_derivatives_are_refused_or_found_to_be_zero():
    problem = Problem(Counter(), one_parameter(1.5), gun(), mean_hit, 256, 0)
    estimators = {
        "score": ScoreFunction(),
        "plain": ScoreFunction(baseline="none"),
        "naive": Altered(Pathwise()),
        "pathwise": Pathwise(),
    }
    findings = found(estimators, problem, torch.tensor([1.0]))
    assert [f.verdict for f in findings.values()] == [AGREES, AGREES, BIASED, REFUSED]
    assert "Counter" in findings["pathwise"].words and not findings["pathwise"].parameters


def test_the_noise_of_one_event():
    """Var of Poisson's score-function gradient with the mean as a baseline: Var((k − x)²/x) = 2 + 1/x."""
    problem, effort = Problem(Counter(), one_parameter(1.5), gun(), mean_hit, 32, 0), DiagnosisEffort(batches=400)
    (parameter,) = found({"score": ScoreFunction()}, problem, torch.tensor([1.0]), effort)["score"].parameters
    assert parameter.per_event**2 == pytest.approx(2 + 1 / 1.5, rel=4 * (2 / 399) ** 0.5 + 1 / 32)  # 4 sigma


def test_heavy_tails_are_flagged_and_normal_noise_is_not():
    estimators = {"cauchy": Altered(Pathwise(), noise=0.02), "right": Pathwise()}
    findings = found(estimators, exact=TRUTH, effort=DiagnosisEffort(batches=128))
    assert findings["cauchy"].heavy_tails and "heavy tails" in findings["cauchy"].words
    assert findings["cauchy"].parameters[0].kurtosis > 5 and not findings["right"].heavy_tails


def test_failures_are_rows_and_not_crashes():
    findings = found(
        {
            "sometimes": Altered(Pathwise(), error=float("nan"), every=8),
            "raising": Altered(Pathwise(), error=lambda: NonFiniteError("0/0"), every=16),
            "broken": Altered(Pathwise(), error=lambda: RuntimeError("no lineage\nsecond line")),
            "unfit": Altered(Pathwise(), error=lambda: ConfigurationError("gradient", "x", "a program")),
            "right": Pathwise(),
        }
    )
    assert [f.verdict for f in findings.values()] == [FAILED, FAILED, FAILED, REFUSED, AGREES]
    assert findings["sometimes"].words == "failed: not finite in 4 of 32 batches"
    assert findings["raising"].bad_batches == 2
    assert findings["broken"].words == "failed: RuntimeError: no lineage"


def test_a_request_to_stop_is_no_failure():
    class Stop(Exception):
        pass

    with pytest.raises(Stop):
        found({"stopped": Altered(Pathwise(), error=Stop)})


def test_too_few_events_are_no_verdict():
    problem = Problem(Counter(), one_parameter(1.5), gun(), mean_hit, 4, 0)
    finding = found({"score": ScoreFunction()}, problem, torch.tensor([1.0]), DiagnosisEffort(batches=4))["score"]
    assert finding.verdict == UNDECIDED and "more batches" in finding.words


def test_false_alarms_are_as_rare_as_promised():
    """Of 100 right estimators at 0.27 % none or one is called biased: more than 2 has a probability of 0.3 %."""
    effort = DiagnosisEffort(batches=8)
    alarms = sum(
        found({"x": Pathwise()}, gauge(seed=s, events=16), TRUTH, effort)["x"].verdict == BIASED for s in range(100)
    )
    assert alarms <= 2
    assert threshold(1, 10**6) == pytest.approx(3.0, abs=0.01) and threshold(10, 10**6) > 3.5 and threshold(1, 8) > 4


def test_few_batches_of_the_reference_widen_the_limit_too():
    """Equal variances of 8 and 128 batches: Welch's degrees of freedom are (1/8 + 1/128)² / (1/8²/7 + 1/128²/127)."""
    own, other = Estimate(0.0, 128**-0.5), Estimate(0.0, 8**-0.5)
    expected = (1 / 8 + 1 / 128) ** 2 / (1 / 8**2 / 7 + 1 / 128**2 / 127)
    assert freedom(own, 128, other, 8) == pytest.approx(expected) and 7 < expected < 9
    assert freedom(own, 128, Estimate(0.0, 0.0), None) == pytest.approx(127)
    assert freedom(Estimate(1.0, 0.0), 8, Estimate(1.0, 0.0), None) == math.inf


def test_what_is_slow_gets_fewer_batches_but_not_too_few():
    effort = DiagnosisEffort(batches=12, seconds=1e-6)
    diagnosis = diagnose(gauge(events=16), {"a": Pathwise(), "b": FiniteDifferences()}, effort)
    assert [finding.batches for finding in diagnosis.findings] == [8, 8]
    assert diagnosis.as_dict()["reference"]["batches"] == 8
    every = diagnose(gauge(events=16), {"a": Pathwise()}, DiagnosisEffort(batches=12, seconds=1e6))
    assert every.findings[0].batches == 12 and every.as_dict()["reference"]["batches"] == 24
    with pytest.raises(ConfigurationError, match="seconds"):
        DiagnosisEffort(seconds=0)


def test_costs_and_efficiencies():
    findings = found({"pathwise": Pathwise(), "differences": FiniteDifferences()}, exact=TRUTH)
    assert findings["pathwise"].calls_per_event == 1 and findings["differences"].calls_per_event == 2
    assert max(f.efficiency for f in findings.values()) == 1
    ratio = findings["pathwise"].variance / (2 * findings["differences"].variance)
    assert findings["differences"].efficiency_calls == pytest.approx(ratio)


# References


def test_central_differences_with_two_steps_are_exact_for_cubics_and_carry_the_bias_that_is_left():
    """J = ψ-cubic: Richardson is exact, and what it corrects, h² J'''/24, is in the error."""

    class Cubic(Gauge):
        def forward(self, phi, primaries, generator=None):
            return primaries.expand(phi.designs)

    design = Design({"x": {"start": 1.0}})

    def score(events, phi):
        return phi["x"][:, 0] ** 3

    problem = Problem(Cubic(), design, gun(), score, 4, 0)
    reference = central_differences(problem, Directions.of_parameters(design), 4, 0.5)
    assert reference.values.item() == pytest.approx(3.0, rel=1e-4)
    slope = torch.autograd.grad(design()["x"].sum(), design.psi)[0].item()
    assert reference.errors.item() == pytest.approx((0.5 * slope) ** 2 * 6 / 24, rel=1e-2)


def test_units_and_the_map_of_the_design_are_taken_out():
    problem = Problem(Gauge(), one_parameter(0.15, 0.05, 0.6, unit="cm"), gun(), spread, 256, 0)
    centimetres = found({"p": Pathwise()}, problem, TRUTH)["p"].parameters[0]
    assert centimetres.unit == "cm" and centimetres.reference.value == pytest.approx(-0.3, rel=1e-4)
    assert centimetres.gradient.value == pytest.approx(-0.3, rel=0.06)


def test_parameters_mixed_by_a_constraint_are_reported_one_by_one():
    """J = x + 2 y near x + y <= 4: dJ/dφ is (1, 2), whatever ψ is."""
    design = Design(
        {"x": {"start": 1.9, "bounds": [0, 3], "unit": "mm"}, "y": {"start": [1.8], "bounds": [0, 9], "unit": "mm"}},
        constraints=["x + y[0] <= 4 mm"],
    )
    jacobian = torch.autograd.functional.jacobian(lambda psi: design.point(psi).values[0], design.psi.detach())[:, 0]
    assert abs(float(jacobian[0, 1])) > 0.05 * float(jacobian[0, 0])

    def score(events, phi):
        return phi["x"][:, 0] + 2 * phi["y"][:, 0]

    problem = Problem(Gauge(), design, gun(), score, 8, 0)
    diagnosis = diagnose(problem, {"pathwise": Pathwise()}, DiagnosisEffort(4))
    assert diagnosis.directions.kind == "phi" and diagnosis.directions.names == ("x", "y[0]")
    assert [p.gradient.value for p in diagnosis.findings[0].parameters] == pytest.approx([1.0, 2.0], rel=1e-4)
    assert diagnosis.findings[0].verdict == AGREES


def test_categories_are_reported_in_psi():
    parameters = {"x": {"start": 1.0, "bounds": [0, 3]}, "m": {"start": "Pb", "options": ["Pb", "W", "Fe"]}}
    design = Design(parameters)
    directions = Directions.of_parameters(design)
    assert directions.kind == "psi" and directions.names == ("x", "m=Pb", "m=W", "m=Fe")
    with pytest.raises(ConfigurationError, match="exact_gradient"):
        exact_reference(torch.zeros(4), design, directions)


def test_bad_input_is_refused():
    with pytest.raises(ConfigurationError, match="batches"):
        DiagnosisEffort(batches=3)
    with pytest.raises(ConfigurationError, match=r"reference\.step"):
        DiagnosisEffort(step=0.0)
    with pytest.raises(ConfigurationError, match="1 finite numbers"):
        diagnose(gauge(), {"p": Pathwise()}, EFFORT, torch.zeros(2))
    fixed = Design({"x": {"start": 1.0, "free": False}})
    with pytest.raises(ConfigurationError, match="free: true"):
        diagnose(dataclasses.replace(gauge(), design=fixed), {"p": Pathwise()})
    with pytest.raises(NonFiniteError, match="not finite"):
        diagnose(dataclasses.replace(gauge(), score=lambda e, phi: phi["x"][:, 0] * float("nan")), {"p": Pathwise()})


def test_nothing_is_changed_by_a_diagnosis():
    problem, state = gauge(), torch.get_rng_state()
    problem.design.psi.grad = torch.ones_like(problem.design.psi)
    estimator = Altered(Pathwise())
    before = problem.design.psi.detach().clone()
    diagnose(problem, {"p": estimator}, EFFORT)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(problem.design.psi, before)
    assert estimator.count == 0 and bool((problem.design.psi.grad == 1).all())


def test_the_cosine_and_its_error():
    """In two dimensions the angle of the mean has the error of the transverse component."""
    generator = stream("cpu", 3)
    samples = torch.tensor([3.0, 4.0]) + 0.5 * torch.randn(400, 2, generator=generator)
    exact = Reference("exact", torch.tensor([4.0, -3.0]).double(), torch.zeros(2), torch.zeros(2))
    value = cosine(samples.double(), exact)
    assert abs(value.value) < 4 * value.standard_error
    assert value.standard_error == pytest.approx(0.5 / 20 / 5, rel=0.15)


def test_rows_hold_no_number_that_was_not_measured():
    diagnosis = diagnose(
        gauge(),
        {
            "p": Pathwise(),
            "detached": Altered(Pathwise(), detached=True),
            "bad": Altered(Pathwise(), error=lambda: RuntimeError("x")),
        },
        EFFORT,
    )
    rows = diagnosis.rows()
    assert [row["estimator"] for row in rows] == ["p", "detached", "bad"]
    assert rows[2]["gradient"] == "" and rows[2]["words"] == "failed: RuntimeError: x" and rows[1]["cosine"] == ""
    assert all(set(row) == set(rows[0]) for row in rows)
    assert "cosine" not in diagnosis.as_dict()["estimators"]["detached"]


# The short look before an optimisation


class Leaky(StochasticSimulator):
    """`Counter`, but half of the log-probability is lost: the score function is wrong by a factor 1/2."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = Counter()

    def forward(self, phi, primaries, generator=None):
        events = self.counter(phi, primaries, generator)
        return dataclasses.replace(events, log_probability=events.log_probability / 2)


class MeanHit(Resolution):
    """The mean hit as an objective."""

    def forward(self, events, belief, phi):
        return mean_hit(events, phi)


def checked(simulator, gradient=None, allowance=100_000, mode="warn", design=None):
    experiment = Experiment(design or one_parameter(1.5), simulator, gun(), network, MeanHit(), gradient)
    calls = experiment.simulator_calls
    result = GradientCheck(mode).run(experiment, experiment.reconstruction, allowance, 0)
    assert experiment.simulator_calls == calls
    return result


def test_the_check_finds_a_wrong_estimator_within_its_allowance():
    good, bad = checked(Counter()), checked(Leaky(), mode="strict")
    assert good.finding.verdict == AGREES and not good.alarming and good.calls <= 100_000
    assert bad.finding.verdict == BIASED and bad.alarming and "ScoreFunction" in bad.message
    good.refuse()
    with pytest.raises(ConfigurationError, match=r"ScoreFunction.*right for this detector.*gradient_check=warn"):
        bad.refuse()
    checked(Leaky(), mode="warn").refuse()
    assert set(bad.as_dict()) >= {"verdict", "words", "alarming", "simulator_calls"}


def test_many_parameters_are_checked_along_a_few_directions():
    class Many(StochasticSimulator):
        def __init__(self, keep=1.0) -> None:
            super().__init__()
            self.keep = keep

        def forward(self, phi, primaries, generator=None):
            total = DesignPoint.of(x=phi["x"].mean(1, keepdim=True))
            events = Counter()(total, primaries, generator)
            return dataclasses.replace(events, log_probability=events.log_probability * self.keep)

    def design():
        return Design({"x": {"start": 1.5, "size": 30, "bounds": [0.5, 6]}})

    good, bad = checked(Many(), design=design()), checked(Many(0.5), design=design())
    assert good.finding.verdict != BIASED and bad.finding.verdict == BIASED
    assert good.calls <= 100_000 and len(good.finding.parameters) == 2
    assert good.finding.parameters[-1].name == "its own direction"


def test_where_there_is_nothing_to_find_nothing_is_simulated():
    assert checked(Counter(), mode="off") is None and checked(Counter(), allowance=1000) is None
    assert checked(ClosedGauge(), Automatic()) is None and checked(Gauge()) is None
    with pytest.raises(ConfigurationError, match="gradient_check"):
        GradientCheck("loud")


def test_a_simulator_that_fails_near_the_design_is_named():
    class Fragile(Counter):
        def forward(self, phi, primaries, generator=None):
            if float(phi["x"].detach()) > 1.5001:
                raise RuntimeError("too thick")
            return super().forward(phi, primaries, generator)

    assert "too thick" in checked(Fragile()).finding.words


def test_objectives_that_leave_out_a_derivative_are_compared_with_it():
    objective = Resolution(width="rms", bias_gradient=False)
    assert comparable(objective).bias_gradient and not objective.bias_gradient
    same = Resolution()
    assert comparable(same) is same
    experiment = reading_experiment(gain=1.2, objective=objective)
    problem = problem_of(experiment, experiment.reconstruction, 256, 0)
    assert diagnose(problem, {"p": Pathwise()}, EFFORT).findings[0].verdict == AGREES
