"""The particles of a branching program, and what one step makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from mode_opt.errors import SimulationError
from mode_opt.simulation.choices import Lineages, Site, hashed

State = Mapping[str, Tensor]
"""Named properties of k particles, each ``k x ...``: energy, position, kind."""

_CHILD = 0x6368696C64  # keeps the keys of children apart from the words that the parent draws


@dataclass(frozen=True, eq=False)
class Children:
    """Particles that a step creates.

    Attributes:
        parent: which of the k particles each comes from: ``k'`` rising indices (at most one child a parent; a
            second child of the same parent goes into a second group).
        state: theirs, named as that of the parents.
    """

    parent: Tensor
    state: State


@dataclass(frozen=True, eq=False)
class Deposits:
    """Additive contributions to the cells of the events.

    Attributes:
        cell: ``k'`` cell numbers.
        value: ``k'`` or ``k' x f``.
        particle: which of the k particles each comes from, ``k'`` indices; None: all k in order.
    """

    cell: Tensor
    value: Tensor
    particle: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """What one step makes of k particles.

    Attributes:
        state: of the same k particles afterwards. A particle that goes on keeps its stream of random numbers.
        alive: ``k``, which of them go on.
        children: groups of new particles, each with a stream of its own.
        deposits: what they leave in the cells.
    """

    state: State
    alive: Tensor
    children: Sequence[Children] = ()
    deposits: Sequence[Deposits] = ()


@dataclass(frozen=True, eq=False)
class Particles:
    """All particles of a batch of events that are alive, as flat arrays.

    Attributes:
        lineages: event and stream of each.
        state: theirs.
        steps: that each stream has made; the keys of children depend on it, and not on who else has children.
        inherited: labels that a particle hands to its children, ``k x ...``; they belong to the estimator.
    """

    lineages: Lineages
    state: State
    steps: Tensor
    inherited: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """k."""
        return self.lineages.key.numel()

    def select(self, index: Tensor) -> "Particles":
        """Some of them."""
        return Particles(
            self.lineages.flat(index),
            {name: value[index] for name, value in self.state.items()},
            self.steps[index],
            {name: value[index] for name, value in self.inherited.items()},
        )

    def labelled(self, inherited: Mapping[str, Tensor]) -> "Particles":
        """The same particles with other labels."""
        return replace(self, inherited=inherited)

    def owner(self, site: Site) -> Tensor:
        """Which of the k particles makes each choice of a site, flat; the site may belong to some of them only."""
        if site.lineages.key.numel() == self.count:
            index = torch.arange(self.count, device=site.word.device)
        else:
            # Event and key together are unique, the key alone need not be.
            mine = hashed(self.lineages.key, self.lineages.event)
            order = mine.argsort()
            index = order[torch.searchsorted(mine[order], hashed(site.lineages.key, site.lineages.event))]
        return site.spread(index).flatten()

    def after(self, step: Step) -> "Particles":
        """The particles of the next step: those that go on, then the children group by group.

        Raises:
            SimulationError: if the parents of a group do not rise, or a state lacks a name.
        """
        moved = replace(self, state=step.state, steps=self.steps + 1)
        groups = [moved.select(step.alive.nonzero().squeeze(1))]
        groups += [self._born(children, ordinal) for ordinal, children in enumerate(step.children)]
        return _joined(groups)

    def _born(self, children: Children, ordinal: int) -> "Particles":
        parent = children.parent
        if bool((parent[1:] <= parent[:-1]).any()):
            raise SimulationError("Children.parent must rise: at most one child a parent in each group")
        root = hashed(self.lineages.key[parent], _CHILD)
        key = hashed(hashed(root, self.steps[parent]), ordinal)
        lineages = Lineages(self.lineages.event[parent], key, torch.zeros_like(key))
        inherited = {name: value[parent] for name, value in self.inherited.items()}
        return Particles(lineages, children.state, torch.zeros_like(key), inherited)


def _joined(groups: Sequence[Particles]) -> Particles:
    if len(groups) == 1:
        return groups[0]
    names = set(groups[0].state)
    if any(set(group.state) != names for group in groups):
        raise SimulationError(f"children need the same state as their parents: {', '.join(sorted(names))}")

    def cat(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts))

    return Particles(
        Lineages(
            cat([group.lineages.event for group in groups]),
            cat([group.lineages.key for group in groups]),
            cat([group.lineages.counter for group in groups]),
        ),
        {name: cat([group.state[name] for group in groups]) for name in groups[0].state},
        cat([group.steps for group in groups]),
        {name: cat([group.inherited[name] for group in groups]) for name in groups[0].inherited},
    )
