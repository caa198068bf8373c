"""Derivatives of jumps at edges that the design moves."""

from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.gradients.base import GradientEstimator, Score
from mode_opt.simulation import DifferentiableSimulator, Promise, Simulator
from mode_opt.simulation.choices import fork
from mode_opt.simulation.edged import EdgedSimulator
from mode_opt.simulation.program import draw_seed
from mode_opt.simulation.running import count, parts


@final
class BoundaryTerms(GradientEstimator):
    """``d∫f p = ∫df p + ∫_edge [f] p v·n dS``: the pathwise derivative, and that of the jumps at moving edges.

    The edge integral is estimated from one random point on each edge for every event. The point joins the events
    twice, as seen from either side, with weights of value 0 whose derivatives are ±p v·n / q, so that every
    objective that is computed with weights has its gradient. Unbiased for hard geometric acceptance, where the
    pathwise derivative alone is zero.

    Needs a simulator with edges (`EdgedSimulator`), alone or in a chain with differentiable ones.

    Raises:
        ConfigurationError: for a simulator without edges, or with a part that is neither edged nor differentiable.

    Source: T.-M. Li et al., "Differentiable Monte Carlo ray tracing through edge sampling", ACM Trans. Graph. 37
    (2018) 222; the Reynolds transport theorem.
    """

    @property
    def requires(self) -> Promise:
        return Promise.BLACK_BOX

    def loss(
        self,
        simulator: Simulator,
        design: Design,
        primaries: Events,
        score: Score,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        phi = design()
        seed = draw_seed(generator, phi.values.device)
        return score(self.events(simulator, phi, primaries, seed), phi).mean()

    def events(self, simulator: Simulator, phi: DesignPoint, primaries: Events, seed: int) -> Events:
        """The simulated events, and those on the edges with weights of value 0."""
        chain = parts(simulator)
        _refuse(chain)
        drawn, number = primaries.expand(phi.designs), primaries.count
        events = drawn
        for index, part in enumerate(chain):
            inner, outer = (torch.Generator(phi.values.device).manual_seed(fork(seed, 2 * index + k)) for k in (0, 1))
            if not isinstance(part, EdgedSimulator):
                events = part(phi, events, inner)
                continue
            # Events on an earlier edge have no weight: their own jumps would be of second order.
            first = events.select(slice(0, number))
            events = Events.cat([part.simulate(phi, events, inner), *_sides(part, phi, first, outer)])
        count(simulator, events.designs * events.count)
        return events


def _sides(part: EdgedSimulator, phi: DesignPoint, events: Events, generator: torch.Generator) -> list[Events]:
    sides = []
    for edge in part.edges(phi, events, generator):
        weight = events.weight.detach() * (edge.flux - edge.flux.detach())
        sides += [replace(edge.gained, weight=weight), replace(edge.lost, weight=-weight)]
    return sides


def _refuse(chain: list[Simulator]) -> None:
    if not any(isinstance(part, EdgedSimulator) for part in chain):
        names = ", ".join(type(part).__name__ for part in chain)
        raise ConfigurationError("gradient", "BoundaryTerms", f"an estimator without edges: {names} has none")
    for part in chain:
        if not isinstance(part, EdgedSimulator | DifferentiableSimulator):
            raise ConfigurationError(
                "gradient",
                "BoundaryTerms",
                f"an estimator that can use {type(part).__name__}, which is {part.promise.label} and has no edges",
            )
