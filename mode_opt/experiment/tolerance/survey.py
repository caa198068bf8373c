"""The objective of several designs on common events, as a reconstruction that is told of them sees it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.experiment.experiment import Experiment
from mode_opt.experiment.tolerance.space import Space
from mode_opt.objectives.uncertainty import jackknife
from mode_opt.simulation import attempt, external, stream

_Found = tuple[DesignPoint, Events | None, tuple[str, ...]]
"""A design, its events, and why there are none."""

GROUPS = 20
"""Of events, for the errors."""


@dataclass(frozen=True, eq=False)
class Values:
    """What was measured of ``m`` designs.

    Attributes:
        value: J, ``m``; NaN of a design that failed.
        left_out: ``K x m``, each with one group of events left out, the same group for all designs.
        reasons: the different ways in which designs failed.
    """

    value: Tensor
    left_out: Tensor
    reasons: tuple[str, ...]

    @property
    def succeeded(self) -> Tensor:
        """``m`` flags."""
        return self.value.isfinite() & self.left_out.isfinite().all(0)


@final
class Survey:
    """Simulates displaced designs and measures the objective of each.

    Primaries are common to all designs; so are the random numbers of a simulator that runs here, each group of events
    with a seed of its own, so that groups are independent whatever a simulator does with its generator. Jobs of
    external programs have a seed each, and all designs are asked for together.

    Args:
        experiment: simulator, primaries and objective.
        networks: reconstructions, used as they are, all on the same events.
        space: of the displacements.
        seed: of all random numbers.
    """

    def __init__(self, experiment: Experiment, networks: Sequence[nn.Module], space: Space, seed: int) -> None:
        self.experiment, self.networks, self.space, self.seed = experiment, networks, space, seed
        self.together = bool(external(experiment.simulator))

    def measure(self, z: Tensor, events: int, label: str, progress: Callable[[float], None]) -> list[Values]:
        """J at ``m x d`` places, with about ``events`` events of each; one entry a reconstruction."""
        events = max(1, round(events / GROUPS)) * GROUPS
        simulate = self._jointly if self.together else self._singly
        columns, reasons = [], dict[str, None]()
        for index, (phi, found, why) in enumerate(simulate(self.space.point(z).detach(), events, label)):
            reasons |= dict.fromkeys(why)
            column = torch.stack([self._judged(network, phi, found) for network in self.networks])
            if found is not None and not bool(torch.isfinite(column[:, 0]).all()):
                reasons["the objective is not finite"] = None
            columns.append(column)
            progress((index + 1) / len(z))
        return [Values(part[0], part[1:], tuple(reasons)) for part in torch.stack(columns, 2)]

    def _judged(self, network: nn.Module, phi: DesignPoint, events: Events | None) -> Tensor:
        """J and its replicas, ``1 + K``."""
        if events is None:
            return torch.full((GROUPS + 1,), torch.nan, dtype=torch.float64)
        with torch.no_grad():
            belief = network(events, phi)
            found = jackknife(self.experiment.objective, events, belief, phi, GROUPS, network)
        return torch.cat([found.value.reshape(1), found.left_out]).double().cpu()

    def _stream(self, *labels: str | int) -> torch.Generator:
        return stream(self.space.design.psi.device, self.seed, "tolerance", *labels)

    def _jointly(self, phi: DesignPoint, events: int, label: str) -> Iterator[_Found]:
        primaries = self.experiment.primaries.sample(events, self._stream(label, 0))
        found = attempt(self.experiment.simulator, phi, primaries, self._stream(label, 1))
        place = 0
        for k in range(phi.designs):
            if found.events is None or not bool(found.succeeded[k]):
                yield phi.design(k), None, found.reasons
                continue
            yield phi.design(k), found.events.design(place), ()
            place += 1

    def _singly(self, phi: DesignPoint, events: int, label: str) -> Iterator[_Found]:
        size = events // GROUPS
        primaries = [self.experiment.primaries.sample(size, self._stream(label, k, 0)) for k in range(GROUPS)]
        # Event i belongs to group i mod K.
        order = torch.arange(events, device=phi.values.device).view(GROUPS, size).T.reshape(-1)
        for k in range(phi.designs):
            parts: list[Events] = []
            reasons: tuple[str, ...] = ()
            for group, given in enumerate(primaries):
                found = attempt(self.experiment.simulator, phi.design(k), given, self._stream(label, group, 1))
                if found.events is None:
                    reasons = found.reasons
                    break
                parts.append(found.events)
            yield phi.design(k), None if reasons else Events.cat(parts).select(order), reasons
