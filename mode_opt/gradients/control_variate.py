"""Score functions from which a smooth twin of the simulation takes the noise."""

from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError, ShapeError, SimulationError
from mode_opt.events import Events
from mode_opt.gradients.base import GradientEstimator, Score, linear
from mode_opt.gradients.influence import influence
from mode_opt.simulation import Promise, Simulator
from mode_opt.simulation.choices import Recording
from mode_opt.simulation.choices.twins import Noting, Twinned
from mode_opt.simulation.program import draw_seed
from mode_opt.simulation.running import parts, run, written_in_choices

PULL = 6.0
"""Standard errors from zero at which the mean of a control variate is no chance."""

JUDGED = 100
"""Events from which on that mean is judged."""

FITTED = 20
"""Events from which on α can be fitted: a ratio of sums over few events has no variance."""

PARAMETERS = 8
"""Up to so many parameters each has an α of its own, beyond they share one."""


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
            the simulator itself. Choices beyond those of the simulator are noise of its own; plain noise
            (``choices.uniform``) must not stand in the place of a choice.
        alpha: α; None: from a regression for each parameter on the other half of the events, so that it does not
            know the event it is used for.
        temperature: of the relaxed outcomes.

    Raises:
        ConfigurationError: for a temperature that is not positive, fewer than 20 events where α is fitted (2 where
            not), a twin that draws counts, or a stochastic simulator that is not written in choices.
        ShapeError: if the hits of the twin have another shape than those of the simulator.
        SimulationError: if the twin is not smooth.

    Source: G. Tucker et al., arXiv 1703.07370; W. Grathwohl et al., arXiv 1711.00123.
    """

    def __init__(self, twin: Simulator | None = None, alpha: float | None = None, temperature: float = 1.0) -> None:
        if not temperature > 0:
            raise ConfigurationError("gradient.temperature", temperature, "a positive number")
        self.twin, self.alpha, self.temperature = twin, alpha, temperature

    @property
    def requires(self) -> Promise:
        return Promise.STOCHASTIC

    def check(self, simulator: Simulator) -> None:
        super().check(simulator)
        written_in_choices(simulator)

    def loss(
        self,
        simulator: Simulator,
        design: Design,
        primaries: Events,
        score: Score,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        phi, count = design(), primaries.count
        fewest = FITTED if self.alpha is None else 2
        if count < fewest:
            raise ConfigurationError("events per step", count, f"at least {fewest} for gradient.alpha={self.alpha}")
        seed = draw_seed(generator, phi.values.device)
        noting = Noting(Recording(count))
        events = run(simulator, phi, primaries, noting, seed)
        recorded = noting.recording.log_probability(phi.values)
        value, influences, _ = influence(score, events, phi)
        if not recorded.requires_grad:
            return value.mean()  # no choice depends on the design: the pathwise part is all
        weight = events.weight[0].detach()
        f = influences[0].detach() * weight * count / (count - 1)
        halves = self._halves(count, phi.values.device, generator)
        directions = _directions(design.psi, generator)
        c, shared = self._twin(simulator, noting, events, primaries, phi, score, seed)
        centred = _centred(c.detach(), halves)
        along_score, along_twin = (along(values, design.psi, directions) for values in (recorded, c))
        variates = centred * along_score + along_twin
        stiff = shared and not bool(along_twin.any()) and bool((c != c[0]).any())
        if stiff or _shifted(variates):
            raise SimulationError(_rough(self.twin or simulator))
        hard = (f * recorded).sum()
        slope = torch.zeros_like(design.psi[0])
        for half in halves:
            alpha = self._alpha((f * along_score)[:, ~half], variates[:, ~half])
            (part,) = torch.autograd.grad((centred * recorded + c)[half].sum(), design.psi, retain_graph=True)
            slope = slope - alpha * part[0]
        return linear(value.mean() + hard - hard.detach(), slope, design.psi)

    def _twin(
        self,
        simulator: Simulator,
        noting: Noting,
        events: Events,
        primaries: Events,
        phi: DesignPoint,
        score: Score,
        seed: int,
    ) -> tuple[Tensor, bool]:
        """c of each event, ``n``, and whether the twin used the noise of the choices."""
        # Explicit derivatives drop out: the design of the twin is a leaf of its own.
        apart = replace(phi, values=phi.values.detach().requires_grad_())
        chooser = Twinned(noting.noise, self.temperature)
        twins = run(self.twin or simulator, apart, primaries, chooser, seed)
        if twins.hits.shape != events.hits.shape:
            raise ShapeError("hits of the twin", twins.hits.shape, f"{tuple(events.hits.shape)} as of the simulator")
        _, _, other = influence(score, events.detach(), phi.detach(), create_graph=True, others=twins)
        c = torch.zeros_like(events.weight[0]) if other is None else other[0]
        return c * events.weight[0].detach(), chooser.shared

    def _halves(self, count: int, device: torch.device, generator: torch.Generator | None) -> list[Tensor]:
        """Masks of random halves of the events; of all of them if nothing is fitted."""
        if self.alpha is not None:
            return [torch.ones(count, dtype=torch.bool, device=device)]
        where = generator.device if generator is not None else "cpu"
        odd = (torch.randperm(count, generator=generator, device=where) % 2 == 1).to(device)
        return [odd, ~odd]

    def _alpha(self, hard: Tensor, variates: Tensor) -> Tensor:
        """α of each direction from the events of the other half, ``m x n'``."""
        if self.alpha is not None:
            return hard.new_full((1,), self.alpha)
        y, x = (values - values.mean(1, keepdim=True) for values in (hard, variates))
        return (x * y).sum(1) / (x * x).sum(1).clamp_min(torch.finfo(x.dtype).tiny)


def _directions(psi: Tensor, generator: torch.Generator | None) -> Tensor:
    """Directions in ψ along which α is fitted, ``m x d``: each parameter, or one along all of them."""
    if psi.shape[1] <= PARAMETERS:
        return torch.eye(psi.shape[1], dtype=psi.dtype, device=psi.device)
    where = generator.device if generator is not None else "cpu"
    return torch.randint(2, psi.shape, generator=generator, device=where).to(psi) * 2 - 1


def _centred(values: Tensor, halves: list[Tensor]) -> Tensor:
    """c without its mean over the other events of the same half: neither the event itself nor the other half."""
    centred = values.clone()
    for half in halves:
        size = int(half.sum())
        centred[half] = (values[half] - values[half].mean()) * size / (size - 1)
    return centred


def along(values: Tensor, psi: Tensor, directions: Tensor) -> Tensor:
    """Derivatives of each of ``n`` values along directions in ψ, ``m x d``: ``m x n``."""
    nothing = values.new_zeros((len(directions), len(values)))
    if not values.requires_grad:
        return nothing
    weight = torch.ones_like(values).requires_grad_()
    (slope,) = torch.autograd.grad(values, psi, weight, create_graph=True, allow_unused=True)
    if slope is None:
        return nothing
    # The slope is linear in the weights of the values, whatever these are.
    rows = [torch.autograd.grad((slope * d).sum(), weight, retain_graph=True)[0] for d in directions]
    return torch.stack(rows).detach()


def _shifted(variates: Tensor) -> bool:
    """Whether the mean of a control variate, ``m x n``, is away from zero."""
    count = variates.shape[1]
    error = variates.std(1) / count**0.5
    return count >= JUDGED and bool((variates.mean(1).abs() > PULL * error).any())


def _rough(twin: Simulator) -> str:
    name = ", ".join(type(part).__name__ for part in parts(twin))
    return (
        f"{name} cannot be the twin of a control variate: its events do not follow the relaxed choices "
        "smoothly (it compares outcomes, as in b > 0.5 or x > t, or draws plain noise in the place of a choice), and "
        "the gradient would be biased; give gradient.twin a smooth one"
    )
