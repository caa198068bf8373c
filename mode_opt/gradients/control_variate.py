"""Score functions from which a smooth twin of the simulation takes the noise."""

from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError, ShapeError, SimulationError
from mode_opt.events import Events
from mode_opt.gradients.base import GradientEstimator, Score
from mode_opt.gradients.influence import influence
from mode_opt.simulation import Promise, Simulator
from mode_opt.simulation.choices import Recording
from mode_opt.simulation.choices.twins import Noting, Twinned
from mode_opt.simulation.program import draw_seed
from mode_opt.simulation.running import run

PULL = 6.0
"""Standard errors from zero at which the mean of a control variate is no chance."""

FEWEST = 100
"""Events from which on that mean is judged."""


@final
class ControlVariate(GradientEstimator):
    r"""``(f − α c) ∇ log p + α (∇c(z) − ∇c(z̃))``: unbiased for any smooth twin c, right or wrong (LAX, REBAR, RELAX).

    The simulator is run with hard outcomes, which gives f and ∇ log p; its twin with the same random numbers u and
    relaxed outcomes z(u), which gives c. Given the outcomes, the numbers move with the design, ``ũ = u`` in value,
    and ``z̃ = z(ũ)``; everything else that depends on the design drops out of the difference, so that one run of
    the twin is enough: ``∇c(z) − ∇c(z̃) = −∂c/∂u · ∇ũ``. A real number that is recorded is held where it is (LAX).
    f and c are the influences of the events, of the hard ones and of the twins with weight 0, on any objective;
    derivatives that pass through continuous hits add up in the same graph.

    The twin has to be smooth in z: outcomes may be multiplied and mixed, but not compared (``b > 0.5``, ``x > t``).
    A twin that does not react is refused, and so is one whose control variate has a mean away from zero.

    Args:
        twin: a simulator that draws with the same choices, such as a cheap surrogate written as a program; None:
            the simulator itself. What it draws from other choices, or without any, is noise of its own.
        alpha: α; None: from a regression on the other half of the events, along one direction in ψ, so that it
            does not know the event it is used for.
        temperature: of the relaxed outcomes.

    Raises:
        ConfigurationError: for a temperature that is not positive, fewer than 4 events where α is fitted, a twin
            that draws counts, or a stochastic simulator that is not written in choices.
        ShapeError: if the hits of the twin have another shape than those of the simulator.
        SimulationError: if the twin is not smooth.

    Source: G. Tucker et al., arXiv 1703.07370; W. Grathwohl et al., arXiv 1711.00123.
    """

    def __init__(self, twin: Simulator | None = None, alpha: float | None = None, temperature: float = 0.5) -> None:
        if not temperature > 0:
            raise ConfigurationError("gradient.temperature", temperature, "a positive number")
        self.twin, self.alpha, self.temperature = twin, alpha, temperature

    @property
    def requires(self) -> Promise:
        return Promise.STOCHASTIC

    def loss(
        self,
        simulator: Simulator,
        design: Design,
        primaries: Events,
        score: Score,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        phi, count = design(), primaries.count
        fewest = 4 if self.alpha is None else 2
        if count < fewest:
            raise ConfigurationError("events per step", count, f"at least {fewest} for gradient.alpha={self.alpha}")
        seed = draw_seed(generator, phi.values.device)
        noting = Noting(Recording(count))
        events = run(simulator, phi, primaries, noting, seed)
        recorded = noting.recording.log_probability(phi.values)
        value, slope, _ = influence(score, events, phi)
        direction = _signs(design.psi, generator)
        along_score = along(recorded, design.psi, direction)
        if along_score is None:
            return value.mean()  # no choice depends on the design: the pathwise part is all
        twin = self.twin or simulator
        twins, shared = self._twins(twin, phi, primaries, noting, seed)
        if twins.hits.shape != events.hits.shape:
            raise ShapeError("hits of the twin", twins.hits.shape, f"{tuple(events.hits.shape)} as of the simulator")
        _, _, other = influence(score, events.detach(), phi.detach(), create_graph=True, others=twins)
        weight = events.weight[0].detach()
        f = slope[0].detach() * weight * count / (count - 1)
        c = torch.zeros_like(f) if other is None else other[0] * weight
        centred, along_twin = self._centred(c.detach()), along(c, design.psi, direction)
        variate = centred * along_score + (0 if along_twin is None else along_twin)
        reacts = along_twin is not None and bool(along_twin.any())
        if (shared and not reacts and bool((centred != centred[0]).any())) or _shifted(variate):
            raise SimulationError(
                f"{type(twin).__name__} cannot be the twin of a control variate: its events do not follow the relaxed "
                "choices smoothly (it compares outcomes, as in b > 0.5 or x > t), and the gradient would be biased; "
                "give gradient.twin a smooth one"
            )
        alpha = self._alpha(f * along_score, variate)
        total = ((f - alpha * centred) * recorded - alpha * c).sum()
        return value.mean() + total - total.detach()

    def _twins(
        self, twin: Simulator, phi: DesignPoint, primaries: Events, noting: Noting, seed: int
    ) -> tuple[Events, bool]:
        """Events of the twin, and whether it used the noise of the choices."""
        # Explicit derivatives drop out: the design of the twin is a leaf of its own.
        apart = replace(phi, values=phi.values.detach().requires_grad_())
        chooser = Twinned(noting.noise, self.temperature)
        return run(twin, apart, primaries, chooser, seed), chooser.shared

    def _halves(self, values: Tensor) -> list[Tensor]:
        """Masks of the halves of the events; of all of them if nothing is fitted."""
        odd = torch.arange(len(values), device=values.device) % 2 == 1
        return [torch.ones_like(odd)] if self.alpha is not None else [odd, ~odd]

    def _centred(self, values: Tensor) -> Tensor:
        """c without its mean over the other events of the same half: it does not know the other half."""
        centred = values.clone()
        for half in self._halves(values):
            size = int(half.sum())
            centred[half] = (values[half] - values[half].mean()) * size / max(size - 1, 1)
        return centred

    def _alpha(self, hard: Tensor, variate: Tensor) -> Tensor:
        """α of each event."""
        if self.alpha is not None:
            return torch.full_like(hard, self.alpha)
        alpha = torch.zeros_like(variate)
        for half in self._halves(variate):
            x, y = variate[~half] - variate[~half].mean(), hard[~half] - hard[~half].mean()
            alpha[half] = (x * y).sum() / (x * x).sum().clamp_min(torch.finfo(x.dtype).tiny)
        return alpha


def _signs(psi: Tensor, generator: torch.Generator | None) -> Tensor:
    where = generator.device if generator is not None else "cpu"
    return torch.randint(2, psi.shape, generator=generator, device=where).to(psi) * 2 - 1


def along(values: Tensor, psi: Tensor, direction: Tensor) -> Tensor | None:
    """Derivative of each of ``n`` values along a direction in ψ, ``1 x d``; None if there is none."""
    weight = torch.ones_like(values).requires_grad_()
    if not values.requires_grad:
        return None
    (slope,) = torch.autograd.grad(values, psi, weight, create_graph=True, allow_unused=True)
    if slope is None:
        return None
    # The slope is linear in the weights of the values, whatever these are.
    (derivative,) = torch.autograd.grad((slope * direction).sum(), weight, retain_graph=True)
    return derivative.detach()


def _shifted(variate: Tensor) -> bool:
    """Whether the mean of a control variate is away from zero."""
    count = len(variate)
    return count >= FEWEST and bool(variate.mean().abs() > PULL * variate.std() / count**0.5)
