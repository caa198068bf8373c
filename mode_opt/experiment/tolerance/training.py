"""Reconstructions for displaced designs: one that has learnt what a displacement means, and one that is not told."""

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import SimulationError
from mode_opt.events import Events
from mode_opt.experiment.experiment import Experiment
from mode_opt.experiment.tolerance.limits import Limits
from mode_opt.experiment.tolerance.space import Space
from mode_opt.experiment.verification import EXTERNAL_POOL, VerificationEffort, descended
from mode_opt.reconstruction import Reconstruction
from mode_opt.simulation import attempt, external, stream

AROUND = 0.5
"""Half ranges to each side."""
DESIGNS = 8
"""Of a training step."""
POOL_DESIGNS = 64

Batch = tuple[Events, DesignPoint]


def trained_around(
    experiment: Experiment,
    phi: DesignPoint | None = None,
    effort: VerificationEffort | None = None,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
    radius: float = AROUND,
) -> Reconstruction:
    """A fresh reconstruction, trained at designs around one, and told of each.

    Trained at a single design, what a network makes of another one that it is told of is left to its first weights.
    Designs are drawn evenly from ± radius half ranges of the continuous parameters, within bounds and linear
    constraints; those that cannot be simulated are left out.

    Args:
        experiment: with a reconstruction that has not been trained.
        phi: one design; None: that of the experiment.
        effort: steps, batch, pool and learning rate count.
        seed: of weights, designs and events.
        progress: called with the fraction done.
        radius: in half ranges.

    Raises:
        NonFiniteError: if the training diverges.
        SimulationError: if none of the designs of a step can be simulated.
    """
    effort, space = effort or VerificationEffort(), Space(experiment.design, phi)
    reconstruction = experiment.fresh_reconstruction(space.point(space.centre[None]).detach(), seed)
    if not any(parameter.requires_grad for parameter in reconstruction.parameters()):
        return reconstruction
    source = _Source(experiment, space, radius, effort, seed)
    for step in descended(experiment, reconstruction, effort, source.batch):
        progress(step / effort.steps)
    return reconstruction


@final
class _Source:
    """Events of several designs for each step: fresh, or drawn from a pool."""

    def __init__(
        self, experiment: Experiment, space: Space, radius: float, effort: VerificationEffort, seed: int
    ) -> None:
        self.experiment, self.space, self.radius = experiment, space, radius
        self.rows, self.slack = Limits.of(space).straight()
        self.effort, self.seed = effort, seed
        size = EXTERNAL_POOL if effort.pool is None and external(experiment.simulator) else effort.pool
        self.pool = None if size is None else self._simulated(POOL_DESIGNS, -(-size // POOL_DESIGNS), "pool")

    def batch(self, step: int) -> Batch:
        """Events and designs of a step."""
        count = -(-self.effort.batch // DESIGNS)
        if self.pool is None:
            return self._simulated(DESIGNS, count, "fresh", step)
        events, phi = self.pool
        generator = self._stream("draw", step)
        chosen = torch.randint(phi.designs, (DESIGNS,), generator=generator, device=phi.values.device)
        which = torch.randint(events.count, (count,), generator=generator, device=phi.values.device)
        drawn = Events.cat([events.design(int(k)) for k in chosen], 0).select(which)
        return drawn, DesignPoint(phi.values[chosen], phi.layout)

    def _simulated(self, designs: int, count: int, *labels: str | int) -> Batch:
        phi = self.space.point(self._places(designs, *labels)).detach()
        primaries = self.experiment.primaries.sample(count, self._stream(*labels, 1))
        found = attempt(self.experiment.simulator, phi, primaries, self._stream(*labels, 2))
        if found.events is None:
            raise SimulationError(f"next to the design nothing can be simulated: {'; '.join(found.reasons)}")
        kept = found.succeeded.to(phi.values.device)
        return found.events, DesignPoint(phi.values[kept], phi.layout)

    def _places(self, designs: int, *labels: str | int) -> Tensor:
        """``b x d``: even in the box; what is beyond a limit is drawn back along the line to the design."""
        generator = stream("cpu", self.seed, "tolerance", "training", *labels, 0)
        drawn = torch.rand(2, designs, self.space.dimension, generator=generator, dtype=torch.float64)
        t = self.radius * (2 * drawn[0] - 1)
        rate = t @ self.rows.T
        steps = torch.where(rate > 1e-12, self.slack.clamp_min(0.0) / rate.clamp_min(1e-12), torch.inf)
        far = steps.amin(1) if len(self.rows) else torch.ones(designs, dtype=torch.float64)
        back = torch.where(far < 1, far * drawn[1, :, 0], 1.0)
        return self.space.centre + t * back[:, None]

    def _stream(self, *labels: str | int) -> torch.Generator:
        return stream(self.space.design.psi.device, self.seed, "tolerance", "training", *labels)


@final
class Untold(nn.Module):
    """A reconstruction that takes every design for the one it was made for.

    Args:
        reconstruction: trained at that design.
        phi: that design, ``b = 1``.
    """

    def __init__(self, reconstruction: nn.Module, phi: DesignPoint) -> None:
        super().__init__()
        self.reconstruction, self.phi = reconstruction, phi

    def forward(self, events: Events, phi: DesignPoint) -> Distribution:
        nominal = DesignPoint(self.phi.values.to(phi.values).expand(phi.designs, -1), self.phi.layout)
        belief: Distribution = self.reconstruction(events, nominal)
        return belief
