"""Simulating designs some of which may fail."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mode_opt.campaigns import CampaignError
from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation.running import count
from mode_opt.simulation.simulator import Simulator
from mode_opt.simulation.tolerance import tolerance


@dataclass(frozen=True, eq=False)
class Attempt:
    """What came back of the simulation of several designs.

    Attributes:
        events: of the designs that came back, in order; None if none did.
        succeeded: ``b``, which did.
        reasons: the different ways in which the others failed, in words.
    """

    events: Events | None
    succeeded: Tensor
    reasons: tuple[str, ...] = ()

    @property
    def failures(self) -> int:
        """Designs that did not come back."""
        return int((~self.succeeded).sum())


def attempt(
    simulator: Simulator, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None
) -> Attempt:
    """Simulate without derivatives, and go on without the designs that raise or whose events are not finite.

    When a batch raises, its halves are tried, so that one bad design among b costs about ``2 log2 b`` more calls of
    ``forward``. Events of a design that raises are counted as simulated, because their time was spent.

    Args:
        simulator: of any promise.
        phi: ``b`` designs.
        primaries: events of 1 or ``b`` designs.
        generator: source of random numbers.

    Raises:
        ConfigurationError: a mistake in the configuration is not a failed design.
        CampaignError: nor is a campaign that cannot go on.
    """
    primaries = primaries.expand(phi.designs)
    parts: list[Events] = []
    succeeded = torch.zeros(phi.designs, dtype=torch.bool)
    reasons: dict[str, None] = {}
    pending: list[Sequence[int]] = [range(phi.designs)]
    while pending:
        rows = pending.pop()
        chosen = torch.as_tensor(rows, device=phi.values.device)
        given = _rows(primaries, chosen)
        try:
            with torch.no_grad(), tolerance() as marked:
                events = simulator(DesignPoint(phi.values[chosen], phi.layout).detach(), given, generator).detach()
        except (ConfigurationError, CampaignError):
            raise
        except Exception as error:  # whatever a user's simulator raises is the failure of a design
            if len(rows) == 1:
                reasons[_words(error)] = None
                count(simulator, given.count)
            else:
                half = len(rows) // 2
                pending += [rows[half:], rows[:half]]
            continue
        finite = _finite(events)
        reasons |= dict.fromkeys(words[:160] for words in marked)
        if int((~finite).sum()) > len(marked):
            reasons["hits that are NaN or infinite"] = None
        succeeded[torch.as_tensor(rows)] = finite.cpu()
        parts.append(_rows(events, finite))
    return Attempt(Events.cat(parts, 0) if bool(succeeded.any()) else None, succeeded, tuple(reasons))


def _rows(events: Events, chosen: Tensor) -> Events:
    return events._map(lambda tensor: tensor[chosen])


def _finite(events: Events) -> Tensor:
    """``b``, whether everything that a design's events hold is a number."""
    good = events.hits.isfinite().flatten(1).all(1) & events.weight.isfinite().all(1)
    return good & events.truth.isfinite().flatten(1).all(1)


def _words(error: Exception) -> str:
    first = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {first}"[:160].rstrip(": ")
