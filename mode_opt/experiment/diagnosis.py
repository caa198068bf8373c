"""Which gradient to trust: bias, noise and cost of estimators at a design point."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError, DataError, NonFiniteError, ShapeError, SimulationError
from mode_opt.experiment.detector import Progress
from mode_opt.experiment.directions import Directions
from mode_opt.experiment.finding import BIASED, FAILED, REFUSED, Finding, ParameterFinding, freedom, verdict
from mode_opt.experiment.reference import LEAST, Problem, Reference, central_differences, exact_reference
from mode_opt.gradients import GradientEstimator
from mode_opt.objectives.uncertainty import Estimate
from mode_opt.simulation import Counted

# What an estimator or simulator may raise at a design; named one by one, so that a request to stop passes.
FAILURES = (
    *(ConfigurationError, DataError, ShapeError, SimulationError),
    *(RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError),
)

REFERENCE_SHARE = 0.4
"""Of the seconds, at most, for central differences: no verdict is better than what it is compared with."""


@dataclass(frozen=True)
class DiagnosisEffort:
    """How thoroughly gradients are compared.

    Attributes:
        batches: independent batches of each estimator.
        reference_batches: of the central differences; None: twice as many.
        step: of the central differences, in ψ (1 is of the order of the range of a parameter).
        seconds: wall time to aim at; None: no limit. The reference gets up to `REFERENCE_SHARE` of it, the
            estimators share the rest. What is too slow ends with fewer batches, but not fewer than `LEAST`; when it
            ends does not depend on the gradients, so that means and errors stay right.

    Raises:
        ConfigurationError: for fewer than 4 batches, or a step or seconds that are not positive.
    """

    batches: int = 64
    reference_batches: int | None = None
    step: float = 0.1
    seconds: float | None = None

    def __post_init__(self) -> None:
        for key, value in (("batches", self.batches), ("reference.batches", self.reference_batches)):
            needed = key == "batches" or value is not None
            if needed and (isinstance(value, bool) or not isinstance(value, int) or value < 4):
                raise ConfigurationError(key, value, "a whole number of at least 4 (of fewer there is no error)")
        for key, number in (("reference.step", self.step), ("seconds", self.seconds)):
            real = isinstance(number, int | float) and not isinstance(number, bool) and 0 < number < math.inf
            if not real and not (key == "seconds" and number is None):
                raise ConfigurationError(key, number, "a positive number")


@dataclass(frozen=True, eq=False)
class Samples:
    """Gradients of independent batches.

    Attributes:
        gradients: dJ/dψ, ``K x d``, float64, those that are finite.
        bad: batches whose objective or gradient was not finite.
        seconds: of each batch.
        calls: simulated events of all batches.
        failure: why it ended early, or None.
        refused: whether that was because estimator and simulator do not go together.
    """

    gradients: Tensor
    bad: int = 0
    seconds: list[float] = field(default_factory=list)
    calls: int = 0
    failure: str | None = None
    refused: bool = False


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Findings about estimators at a design point.

    Attributes:
        directions: what is reported.
        reference: what they are compared with.
        findings: one an estimator.
        events: of a batch.
    """

    directions: Directions
    reference: Reference
    findings: list[Finding]
    events: int

    def rows(self) -> list[dict[str, Any]]:
        """Rows of ``gradients.csv``: one for each estimator and parameter, one for an estimator without numbers."""
        return [row for finding in self.findings for row in _rows(finding)]

    def as_dict(self) -> dict[str, Any]:
        """Content of ``gradients.json``."""
        pairs = zip(self.reference.values.tolist(), self.reference.errors.tolist(), strict=True)
        values = {n: Estimate(*pair).as_dict() for n, pair in zip(self.directions.names, pairs, strict=True)}
        samples = self.reference.samples
        batches = {} if samples is None else {"batches": len(samples)}
        return {
            "coordinates": self.directions.kind,
            "events": self.events,
            "reference": {"kind": self.reference.kind, **batches, "gradient": values},
            "estimators": {finding.name: finding.as_dict() for finding in self.findings},
        }


def _rows(finding: Finding) -> list[dict[str, Any]]:
    cosine = finding.cosine or Estimate(math.nan, math.nan)
    common: dict[str, Any] = {
        "cosine": cosine.value,
        "cosine_standard_error": cosine.standard_error,
        "heavy_tails": "yes" if finding.heavy_tails else "no",
        "seconds_per_event": finding.seconds_per_event,
        "calls_per_event": finding.calls_per_event,
        "efficiency": finding.efficiency,
        "efficiency_calls": finding.efficiency_calls,
        "batches": finding.batches,
        "bad_batches": finding.bad_batches,
        "words": finding.words,
    }
    rows = []
    for p in finding.parameters:
        numbers = (p.gradient.value, p.gradient.standard_error, p.reference.value, p.reference.standard_error)
        rows.append([p.name, p.unit, *numbers, p.scale, p.pull, p.fraction, p.per_event, p.kurtosis, p.sign_rate])
    first = {"estimator": finding.name, "verdict": finding.verdict}
    found = [first | dict(zip(COLUMNS, row, strict=True)) | common for row in rows or [["", ""] + [None] * 10]]
    return [{key: _cell(value) for key, value in row.items()} for row in found]


COLUMNS = (
    *("parameter", "unit", "gradient", "standard_error", "reference", "reference_standard_error", "scale", "pull"),
    *("bias_fraction", "standard_deviation_per_event", "kurtosis_of_batches", "sign_rate"),
)


def _cell(value: Any) -> Any:
    """Nothing instead of a number that is none."""
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else value


def diagnose(
    problem: Problem,
    estimators: Mapping[str, GradientEstimator],
    effort: DiagnosisEffort | None = None,
    exact: Tensor | None = None,
    directions: Directions | None = None,
    progress: Progress = lambda what, fraction: None,
) -> Diagnosis:
    """Compare the gradients of estimators with a reference at the present design.

    Each estimator sees the same primaries and seeds; the reference sees others, so that the two are independent
    and their errors add in quadrature. Estimators are copied first, ψ and the global generator are left as they are.

    Args:
        problem: the objective; a `Counted` simulator counts the calls.
        estimators: by name.
        effort: how thoroughly.
        exact: dJ/dφ of the free parameters in field units (``d``), instead of central differences.
        directions: what is reported; None: `Directions.of_parameters`.
        progress: called while it runs.

    Raises:
        ConfigurationError: if nothing is free, or the exact gradient cannot be used.
        NonFiniteError: if the objective is not finite where the reference is taken.
    """
    if problem.design.psi.numel() == 0:
        raise ConfigurationError("design.parameters", "all fixed", "at least one parameter with free: true")
    effort, counted, begin = effort or DiagnosisEffort(), _counted(problem), time.perf_counter()
    directions = directions or Directions.of_parameters(problem.design)
    with torch.random.fork_rng():
        if exact is not None:
            reference = exact_reference(exact, problem.design, directions)
        else:
            batches = effort.reference_batches or 2 * effort.batches
            allowed = math.inf if effort.seconds is None else REFERENCE_SHARE * effort.seconds
            show = partial(progress, "central differences")
            reference = central_differences(counted, directions, batches, effort.step, show, allowed)
        findings = []
        for index, (name, estimator) in enumerate(estimators.items()):
            left = math.inf if effort.seconds is None else effort.seconds - (time.perf_counter() - begin)
            allowed = left / (len(estimators) - index)
            samples = draw(counted, estimator, effort.batches, partial(progress, name), seconds=allowed)
            findings.append(judge(name, samples, reference, directions, problem.events))
    return Diagnosis(directions, reference, _compared(findings, reference), problem.events)


def _counted(problem: Problem) -> Problem:
    simulator = problem.simulator
    return problem if isinstance(simulator, Counted) else replace(problem, simulator=Counted(simulator))


def draw(
    problem: Problem,
    estimator: GradientEstimator,
    batches: int,
    progress: Callable[[float], None] = lambda fraction: None,
    purpose: str = "batch",
    seconds: float = math.inf,
) -> Samples:
    """Gradients of ``batches`` independent batches; what goes wrong is noted, not raised.

    Args:
        problem: the objective, with a `Counted` simulator.
        estimator: a copy of it is used.
        batches: how many.
        progress: called with the fraction done.
        purpose: of the stream of random numbers.
        seconds: after which it ends once it has `LEAST` batches.
    """
    simulator, empty = problem.simulator, torch.zeros(0, problem.design.psi.shape[1], dtype=torch.float64)
    try:
        estimator.check(simulator.simulator if isinstance(simulator, Counted) else simulator)
    except ConfigurationError as error:
        return Samples(empty, failure=str(error), refused=True)
    estimator, bad = copy.deepcopy(estimator), 0  # some learn while they are used
    good: list[Tensor] = []
    seconds_taken: list[float] = []
    before = _calls(problem)
    for index in range(batches):
        begin = time.perf_counter()
        try:
            gradient = _gradient(problem, estimator, index, purpose)
        except NonFiniteError:
            gradient = torch.full_like(problem.design.psi[0], math.nan).double().cpu()
        except FAILURES as error:
            refused = isinstance(error, ConfigurationError)  # whose text says what is wrong without its name
            failure = (f"{error}" if refused else f"{type(error).__name__}: {error}").splitlines()[0]
            return Samples(empty, bad, seconds_taken, _calls(problem) - before, failure, refused)
        seconds_taken.append(time.perf_counter() - begin)
        if bool(torch.isfinite(gradient).all()):
            good.append(gradient)
        else:
            bad += 1
        progress((index + 1) / batches)
        if index + 1 >= LEAST and sum(seconds_taken) > seconds:
            break
    return Samples(torch.stack(good) if good else empty, bad, seconds_taken, _calls(problem) - before)


def _calls(problem: Problem) -> int:
    return int(problem.simulator.calls) if isinstance(problem.simulator, Counted) else 0


def _gradient(problem: Problem, estimator: GradientEstimator, index: int, purpose: str) -> Tensor:
    """dJ/dψ of one batch, ``d``; zero if the loss does not depend on ψ, NaN if the loss is not finite."""
    psi = problem.design.psi
    primaries, generator = problem.batch(purpose, index)
    loss = estimator.loss(problem.simulator, problem.design, primaries, problem.score, generator)
    kept, psi.grad = psi.grad, None
    try:
        if loss.requires_grad:
            loss.backward(inputs=[psi])
        gradient = torch.zeros_like(psi) if psi.grad is None else psi.grad
    finally:
        psi.grad = kept
    finite = bool(torch.isfinite(loss.detach()).all())
    return (gradient if finite else torch.full_like(gradient, math.nan))[0].detach().double().cpu()


def judge(name: str, samples: Samples, reference: Reference, directions: Directions, events: int) -> Finding:
    """The finding about an estimator from the gradients of its batches."""
    count = len(samples.gradients) + samples.bad
    if samples.failure is not None:
        kind = REFUSED if samples.refused else FAILED
        return Finding(name, kind, f"{kind}: {samples.failure}", batches=count, bad_batches=samples.bad)
    if samples.bad:
        words = f"failed: not finite in {samples.bad} of {count} batches"
        return Finding(name, FAILED, words, batches=count, bad_batches=samples.bad)
    along = samples.gradients @ directions.along.T
    parameters = _parameters(along, reference, directions, events)
    size = float(reference.along.norm())
    spread = along.var(0)
    theirs = 0.0 if reference.samples is None else float((reference.samples.var(0) / len(reference.samples)).sum())
    error = math.sqrt(float(spread.sum()) / count + theirs)
    relative = error / size if size > 0 else math.inf
    kind, words = verdict(parameters, relative)
    heavy = any(p.kurtosis > max(3.0, 5 * math.sqrt(24 / count)) for p in parameters)
    return Finding(
        name,
        kind,
        words + ("; heavy tails: errors are unreliable" if heavy else ""),
        parameters,
        heavy,
        cosine(along, reference),
        relative,
        float(spread.sum()) * events,
        sorted(samples.seconds)[count // 2] / events,
        samples.calls / (count * events),
        batches=count,
    )


def _parameters(along: Tensor, reference: Reference, directions: Directions, events: int) -> list[ParameterFinding]:
    reported, scales = along @ directions.report.T, directions.scales(reference.along)
    count = len(reported)
    mean, deviation = reported.mean(0), reported.std(0)
    central = reported - mean
    kurtosis = (central**4).mean(0) / (central**2).mean(0) ** 2 - 3  # NaN without any spread
    found = []
    for k, (name, unit) in enumerate(zip(directions.names, directions.units, strict=True)):
        value = Estimate(float(mean[k]), float(deviation[k]) / math.sqrt(count))
        target = Estimate(float(reference.values[k]), float(reference.errors[k]))
        known = abs(target.value) > 2 * target.standard_error
        sign = float((reported[:, k].sign() == math.copysign(1.0, target.value)).double().mean()) if known else None
        per_event, tails = float(deviation[k]) * math.sqrt(events), float(kurtosis[k].nan_to_num())
        pull = _pull(value, target, float(scales[k]))
        free = freedom(value, count, target, None if reference.samples is None else len(reference.samples))
        noise = (per_event, tails, sign, free)
        found.append(ParameterFinding(name, unit, value, target, float(scales[k]), pull, *noise))
    return found


def _pull(value: Estimate, target: Estimate, scale: float) -> float:
    """Difference over combined error; where neither has an error, over what float32 can resolve."""
    # A derivative without any noise is known to the rounding of float32 sums, not better.
    error = math.hypot(value.standard_error, target.standard_error, 1e-5 * scale)
    difference = value.value - target.value
    return difference / error if error > 0 else math.copysign(math.inf, difference) if difference else 0.0


def cosine(along: Tensor, reference: Reference) -> Estimate | None:
    """``a·b / (|a| |b|)`` of mean gradient and reference; delete-one jackknife over the batches of both.

    None if one of the two is zero.
    """
    if not float(along.norm()) > 0 or not float(reference.along.norm()) > 0:
        return None
    value = _cosine(along.mean(0), reference.along)
    variance = _jackknife_variance(_cosine(_left_out(along), reference.along))
    if reference.samples is not None:
        variance = variance + _jackknife_variance(_cosine(_left_out(reference.samples), along.mean(0)))
    return Estimate(float(value), float(variance.sqrt()))


def _left_out(samples: Tensor) -> Tensor:
    return (samples.sum(0) - samples) / (len(samples) - 1)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp_min(1e-300)


def _jackknife_variance(replicas: Tensor) -> Tensor:
    return (len(replicas) - 1) * replicas.var(correction=0)


def _compared(findings: list[Finding], reference: Reference) -> list[Finding]:
    """Efficiencies relative to the best estimator that is not biased; a biased one has none."""
    # The variance of a gradient without noise counts as that of a relative error of 1e-6.
    floor = 1e-12 * float(reference.along.norm()) ** 2
    fit = [f for f in findings if f.variance is not None and f.verdict != BIASED]
    noise = {f.name: max(f.variance or 0.0, floor) for f in fit}
    by_time = {f.name: 1 / max(noise[f.name] * (f.seconds_per_event or 0.0), 1e-300) for f in fit}
    by_calls = {f.name: 1 / max(noise[f.name] * (f.calls_per_event or 0.0), 1e-300) for f in fit}
    compared = []
    for f in findings:
        if f.name in noise:
            pair = by_time[f.name] / max(by_time.values()), by_calls[f.name] / max(by_calls.values())
            f = replace(f, efficiency=pair[0], efficiency_calls=pair[1])
        compared.append(f)
    return compared
