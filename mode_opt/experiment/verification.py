"""An honest statement of improvement."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.experiment.detector import Progress
from mode_opt.experiment.experiment import Experiment
from mode_opt.objectives import weighted_mean
from mode_opt.objectives.uncertainty import Estimate, Replicas, jackknife
from mode_opt.reconstruction import PriorBelief, Reconstruction
from mode_opt.simulation import external, stream

EXTERNAL_POOL = 20_000
"""Events on which a reconstruction trains if each is made by an external program, and nothing else is said."""


@dataclass(frozen=True)
class VerificationEffort:
    """How thoroughly start and final design are measured; the same for both.

    Attributes:
        steps: training steps of each fresh reconstruction.
        batch: events of a training step.
        pool: events that are simulated for the training of one reconstruction, from which batches are drawn. A
            reconstruction that learns few events by heart measures worse than it could, for both designs alike. None:
            20 000 of an external program, otherwise as many fresh ones as the training takes, ``steps x batch``.
        events: events on which a trained reconstruction is measured.
        replicas: reconstructions trained with different events for each design; their scatter is an error, too.
        learning_rate: at the start; falls to zero as a cosine.
        bins: bins of the truth in ``evaluation.csv``.

    Raises:
        ConfigurationError: for a number that is too small.
    """

    steps: int = 1000
    batch: int = 1024
    pool: int | None = None
    events: int = 20_000
    replicas: int = 3
    learning_rate: float = 1e-2
    bins: int = 8

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            if key == "pool" and value is None:
                continue
            lowest = {"events": 100, "pool": self.batch, "batch": 2, "steps": 0, "learning_rate": 1e-12}.get(key, 1)
            kinds = int | float if key == "learning_rate" else int
            if isinstance(value, bool) or not isinstance(value, kinds) or not value >= lowest:
                what = "number of at least" if kinds is not int else "whole number of at least"
                raise ConfigurationError(f"verification.{key}", value, f"a {what} {lowest:g}")


@dataclass(frozen=True, eq=False)
class Measurement:
    """One design, measured: the jackknife replicas of each trained reconstruction, and the residuals of the first."""

    replicas: list[Replicas]
    curve: list[dict[str, float | str]]
    parts: dict[str, list[Replicas]]


@dataclass(frozen=True)
class Comparison:
    """One objective of start and final design, on the same fresh primaries, and their paired difference.

    Attributes:
        initial: of the start design.
        final: of the final design.
        improvement: initial − final, positive when the final design is better.
    """

    initial: Estimate
    final: Estimate
    improvement: Estimate

    @classmethod
    def of(cls, initial: list[Replicas], final: list[Replicas]) -> "Comparison":
        """From the replicas of both designs, paired."""
        difference = [a - b for a, b in zip(initial, final, strict=True)]
        return cls(_combine(initial), _combine(final), _combine(difference))

    def as_dict(self) -> dict[str, dict[str, float]]:
        """For JSON."""
        return {name: estimate.as_dict() for name, estimate in vars(self).items()}


@dataclass(frozen=True)
class Verification:
    """Objective of start and final design on the same fresh primaries, and their paired difference.

    Attributes:
        initial: J of the start design.
        final: J of the final design.
        improvement: initial − final, positive when the final design is better.
        curves: rows of ``evaluation.csv``; none for a `PriorBelief`, which reconstructs nothing, and none if the
            reconstruction was not trained for the truth.
        parts: the same of each objective that J is made of, by name.
    """

    initial: Estimate
    final: Estimate
    improvement: Estimate
    curves: list[dict[str, float | str]]
    parts: Mapping[str, Comparison] = field(default_factory=dict)


def verify(
    experiment: Experiment,
    designs: Mapping[str, DesignPoint],
    effort: VerificationEffort | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verification:
    """Re-simulate two designs with fresh seeds and fresh reconstructions.

    For each design, ``replicas`` copies of the experiment's *untrained* reconstruction are trained at exactly
    this design and measured on events that took no part in any training. Both designs get the same number of
    events, the same seeds and the same primaries, so that the difference is paired: its standard error combines
    the jackknife over groups of common primaries and the scatter between replicas (as a standard error of their
    mean).

    Args:
        experiment: with a reconstruction that has not been trained.
        designs: ``initial`` and ``final``, one design each.
        effort: how thoroughly.
        seed: of the verification; its streams differ from those of the optimisation.
        progress: called while it runs.

    Raises:
        ConfigurationError: if the designs are not named initial and final.
        NonFiniteError: if the training of a reconstruction diverges.
    """
    if set(designs) != {"initial", "final"}:
        raise ConfigurationError("designs", sorted(designs), "initial and final")
    effort = effort or VerificationEffort()
    measured = {
        name: _measure(experiment, phi, effort, seed, _portion(progress, name, 0.5 * k))
        for k, (name, phi) in enumerate(designs.items())
    }
    initial, final = (measured[name] for name in ("initial", "final"))
    curves = [{"design": name, **row} for name in ("initial", "final") for row in measured[name].curve]
    whole = Comparison.of(initial.replicas, final.replicas)
    parts = {name: Comparison.of(initial.parts[name], final.parts[name]) for name in initial.parts}
    return Verification(whole.initial, whole.final, whole.improvement, curves, parts)


def _portion(progress: Progress | None, name: str, start: float) -> Callable[[float], None]:
    return (lambda fraction: None) if progress is None else lambda fraction: progress(name, start + 0.5 * fraction)


def _combine(replicas: list[Replicas]) -> Estimate:
    """Mean over trained reconstructions; variances of the events and of the training add."""
    estimates = [replica.estimate() for replica in replicas]
    values = torch.tensor([e.value for e in estimates], dtype=torch.float64)
    # All replicas share the primaries of the measurement: the error of the events does not average down.
    variance = torch.tensor([e.standard_error for e in estimates], dtype=torch.float64).square().mean()
    if len(estimates) > 1:
        variance = variance + values.var() / len(estimates)
    return Estimate(float(values.mean()), float(variance.sqrt()))


def _measure(
    experiment: Experiment, phi: DesignPoint, effort: VerificationEffort, seed: int, progress: Callable[[float], None]
) -> Measurement:
    device, goal = phi.values.device, experiment.reconstruction_goal
    subjects = {"": experiment.objective, **experiment.objective.parts}
    found: dict[str, list[Replicas]] = {name: [] for name in subjects}
    curve: list[dict[str, float | str]] = []
    # Without anything to train, every replica would be the same.
    copies = effort.replicas if _trainable(experiment.reconstruction) else 1
    for replica in range(copies):
        reconstruction = experiment.fresh_reconstruction(phi, seed)
        for step in _train(experiment, reconstruction, phi, effort, (seed, replica)):
            progress((replica + step / effort.steps) / copies)
        events = experiment.simulate(phi, effort.events, stream(device, seed, "verification", "measure"))
        with torch.no_grad():
            belief = reconstruction(events, phi)
        for name, subject in subjects.items():
            found[name].append(jackknife(subject, events, belief, phi, reconstruct=reconstruction))
        knowing = goal == "truth" and not isinstance(reconstruction, PriorBelief)  # which has no resolution to show
        if replica == 0 and knowing:
            curve = _curves(experiment, events, belief, effort.bins)
    return Measurement(found.pop(""), curve, found)


def trained_at(
    experiment: Experiment,
    phi: DesignPoint,
    effort: VerificationEffort | None = None,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Reconstruction:
    """A fresh reconstruction, trained at exactly one design as `verify` does.

    Args:
        experiment: with a reconstruction that has not been trained.
        phi: one design.
        effort: steps, batch, pool and learning rate count.
        seed: of weights and events.
        progress: called with the fraction done.

    Raises:
        NonFiniteError: if the training diverges.
    """
    effort = effort or VerificationEffort()
    reconstruction = experiment.fresh_reconstruction(phi, seed)
    for step in _train(experiment, reconstruction, phi, effort, (seed, 0)):
        progress(step / effort.steps)
    return reconstruction


def _trainable(reconstruction: torch.nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in reconstruction.parameters())


def _train(
    experiment: Experiment,
    reconstruction: torch.nn.Module,
    phi: DesignPoint,
    effort: VerificationEffort,
    labels: tuple[int, int],
) -> Iterable[int]:
    if _trainable(reconstruction):
        batch = _batches(experiment, phi, effort, labels)
        yield from descended(experiment, reconstruction, effort, lambda step: (batch(step), phi))


def descended(
    experiment: Experiment,
    reconstruction: torch.nn.Module,
    effort: VerificationEffort,
    batch: Callable[[int], tuple[Events, DesignPoint]],
) -> Iterable[int]:
    """Train a reconstruction on a batch of events and their designs for each step; yields the steps.

    Raises:
        NonFiniteError: if the training diverges.
    """
    optimiser = torch.optim.Adam(reconstruction.parameters(), lr=effort.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(effort.steps, 1))
    for step in range(effort.steps):
        loss = experiment.lesson(*batch(step), reconstruction)
        if not bool(torch.isfinite(loss)):
            raise NonFiniteError(f"the reconstruction loss is {float(loss.detach())} at verification step {step}")
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reconstruction.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        yield step


def _batches(
    experiment: Experiment, phi: DesignPoint, effort: VerificationEffort, labels: tuple[int, int]
) -> Callable[[int], Events]:
    """The events of each training step: fresh ones, or drawn from a pool."""
    device = phi.values.device
    size = effort.pool
    if size is None and external(experiment.simulator):
        size = EXTERNAL_POOL
    if size is None:
        return lambda step: experiment.simulate(
            phi, effort.batch, stream(device, labels[0], "verification", "train", labels[1], step)
        )
    pool = experiment.simulate(phi, size, stream(device, labels[0], "verification", "pool", labels[1]))

    def drawn(step: int) -> Events:
        generator = stream(device, labels[0], "verification", "draw", labels[1], step)
        return pool.select(torch.randint(pool.count, (effort.batch,), generator=generator, device=device))

    return drawn


def _curves(experiment: Experiment, events: Events, belief: Distribution, bins: int) -> list[dict[str, float | str]]:
    """Resolution and bias of every truth feature in bins of equal population."""
    rows: list[dict[str, float | str]] = []
    names = zip(experiment.primaries.truth_names, experiment.primaries.truth_units, strict=True)
    for index, (name, unit) in enumerate(names):
        truth, estimate = events.truth[0, :, index], belief.mean[0, :, index]
        relative = bool((truth > 0).all())
        residual = (estimate - truth) / truth if relative else estimate - truth
        for part in truth.argsort().tensor_split(min(bins, truth.numel() // 20 or 1)):
            low, high = float(truth[part[0]]), float(truth[part[-1]])
            row: dict[str, float | str] = {"quantity": name, "unit": unit, "low": low, "high": high}
            row["mean"] = float(truth[part].mean())
            row["residual"] = "relative" if relative else "absolute"
            rows.append({**row, **_width_and_bias(residual[part], events.weight[0, part])})
    return rows


def _width_and_bias(residual: Tensor, weight: Tensor) -> dict[str, float]:
    """RMS and mean of the residuals with standard errors (delta method) from the effective number of events."""
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    bias = weighted_mean(residual, weight)
    square = weighted_mean(residual**2, weight)
    rms = square.sqrt()
    spread = weighted_mean((residual - bias) ** 2, weight).sqrt()
    of_square = weighted_mean((residual**2 - square) ** 2, weight).sqrt()
    return {
        "resolution": float(rms),
        "resolution_standard_error": float(of_square / (2 * rms.clamp_min(1e-30)) / effective**0.5),
        "bias": float(bias),
        "bias_standard_error": float(spread / effective**0.5),
        "events": float(residual.numel()),
    }
