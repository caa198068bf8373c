"""Alternative histories: events in which one random choice fell out otherwise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.gradients.race import Race
from mode_opt.gradients.sites import Candidates, Overriding, Surveying, sensitivity
from mode_opt.gradients.tree import explore_tree
from mode_opt.simulation import BranchingProgram, Program, Simulator
from mode_opt.simulation.choices import Choices, Lineages, Recording, fork
from mode_opt.simulation.program import recorded
from mode_opt.simulation.running import count, parts, run_part, written_in_choices


@dataclass(frozen=True, eq=False)
class Layer:
    """One alternative for each event, in the order of the events.

    Attributes:
        events: ``1 x n``, without derivatives; an event without alternative is repeated as it was.
        tangent: ``n``, what the derivative owes to each; value 0.
        simulated: how many of them were simulated.
    """

    events: Events
    tangent: Tensor
    simulated: int


@dataclass(frozen=True, eq=False)
class Histories:
    """Events as they were drawn, and alternatives to them."""

    drawn: Events
    layers: Sequence[Layer] = ()

    def joined(self) -> Events:
        """All of them, alternatives with weights of value 0; what they gain the drawn event loses."""
        if not self.layers:
            return self.drawn
        lost = torch.stack([layer.tangent for layer in self.layers]).sum(0)
        parts = [self.drawn.reweighted((1 - lost).unsqueeze(0))]
        parts += [layer.events.reweighted(layer.tangent.unsqueeze(0)) for layer in self.layers]
        # Log-probabilities are those of the drawn events and have served their purpose.
        parts = [replace(part, log_probability=None) for part in parts]
        return Events.cat(parts)

    def aligned(self) -> "Histories":
        """As many controls for all: a loop of choices may go on for longer in some than in others."""
        everybody = [self.drawn, *(layer.events for layer in self.layers)]
        width = max(0 if events.controls is None else events.controls.shape[2] for events in everybody)
        if width == 0:
            return self
        layers = [replace(layer, events=_widened(layer.events, width)) for layer in self.layers]
        return Histories(_widened(self.drawn, width), layers)


Plan = Callable[[Candidates, DesignPoint, int], Sequence[tuple[Candidates, Tensor]]]
"""From all candidates of a program to groups of one candidate an event, each with its tangent ``n`` of value 0."""


def explore(simulator: Simulator, phi: DesignPoint, primaries: Events, seed: int, plan: Plan) -> Histories:
    """Simulate, and simulate alternatives to what was drawn.

    In a chain, the alternatives of one part pass through the following parts with the random numbers of the event
    they belong to. Each alternative counts as a simulator call.

    Raises:
        ConfigurationError: for a stochastic part that is not written in choices.
    """
    written_in_choices(simulator)
    histories = Histories(primaries.expand(phi.designs))
    for index, part in enumerate(parts(simulator)):
        histories = _through(part, phi, histories, fork(seed, index), plan).aligned()
    count(simulator, histories.drawn.count + sum(layer.simulated for layer in histories.layers))
    return histories


def _through(part: Simulator, phi: DesignPoint, before: Histories, seed: int, plan: Plan) -> Histories:
    followed = [replace(layer, events=_repeated(part, phi, layer.events, seed)) for layer in before.layers]
    if not isinstance(part, Program):
        return Histories(run_part(part, phi, before.drawn, Recording(1), seed), followed)
    if isinstance(part, BranchingProgram):
        drawn, events, tangent, simulated = explore_tree(part, phi, before.drawn, seed)
        return Histories(drawn, [*followed, Layer(events, tangent, simulated)])
    drawn, found = _surveyed(part, phi, before.drawn, seed)
    layers = []
    if found:
        for changes, tangent in plan(Candidates.cat(found), phi, drawn.count):
            changed = _repeated(part, phi, before.drawn, seed, changes)
            layers.append(Layer(changed, tangent, drawn.count))
    return Histories(drawn, [*followed, *layers])


def _widened(events: Events, width: int) -> Events:
    known = events.weight.new_zeros(*events.weight.shape, 0) if events.controls is None else events.controls
    return replace(events, controls=torch.nn.functional.pad(known, (0, width - known.shape[2])))


def _surveyed(part: Program, phi: DesignPoint, primaries: Events, seed: int) -> tuple[Events, list[Candidates]]:
    recording = Recording(primaries.count)
    surveying = Surveying(recording)
    events = run_part(part, phi, primaries, surveying, seed)
    return recorded(events, recording), surveying.found


def _repeated(
    part: Simulator, phi: DesignPoint, primaries: Events, seed: int, changes: Candidates | None = None
) -> Events:
    """Run again with the same random numbers; controls are kept, derivatives are not."""
    if not isinstance(part, Program):
        with torch.no_grad():
            return run_part(part, phi, primaries, Recording(1), seed).detach()
    recording = Recording(primaries.count)
    chooser = recording if changes is None else Overriding(changes, recording)
    lineages = Lineages.of_events(phi.designs, primaries.count, seed, phi.values.device)
    events = part.run(phi, primaries, Choices(lineages, chooser))
    # An alternative may be an outcome of probability zero: only its controls are wanted.
    controls = recording.controls()
    shaped = None if controls is None else controls.reshape(*events.weight.shape, -1)
    return events.with_choices(torch.zeros_like(events.weight), shaped).detach()


def raced(found: Candidates, phi: DesignPoint, events: int) -> Sequence[tuple[Candidates, Tensor]]:
    """One candidate an event, with probability proportional to the size of its tangent's derivative."""
    scale = phi.values.new_tensor(phi.layout.scale)
    generator = torch.Generator(phi.values.device).manual_seed(0)
    weight = sensitivity(found.tangent, phi.values, scale, generator).detach()
    race = Race(events, weight)
    winner = race.offer(found.event, weight, found.uniform)
    chosen = scattered(found, winner, events)
    probability = torch.ones(events, dtype=torch.float64, device=weight.device)
    probability = probability.index_put(
        (found.event[winner],), weight[winner].double() / race.total[found.event[winner]]
    )
    tangent = (chosen.tangent - chosen.tangent.detach()) / probability.to(weight.dtype)
    return [(chosen, tangent)]


def scattered(found: Candidates, index: Tensor, events: int) -> Candidates:
    """Some candidates, at most one an event, in the order of the events; the others meet no choice."""
    event = found.event[index]

    def place(value: Tensor, empty: float) -> Tensor:
        return torch.full((events,), empty, dtype=value.dtype, device=value.device).index_put((event,), value[index])

    return Candidates(
        torch.arange(events, device=event.device),
        place(found.key, 0),
        place(found.counter, -1),
        place(found.element, 0),
        place(found.value, 0),
        place(found.tangent, 0.0),
        place(found.uniform, 0.5),
    )
