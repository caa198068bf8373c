"""Small branching programs, a design that is a plain point, and sampled gradients."""

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.gradients import GradientEstimator, Score
from mode_opt.simulation import BranchingProgram, Children, Deposits, Program, Simulator, Step, stream


class Point:
    """In the place of a `Design`: φ itself is the leaf, so that ``backward`` leaves dJ/dφ."""

    def __init__(self, **values: float | list[float]) -> None:
        point = DesignPoint.of(**{name: torch.as_tensor(value) for name, value in values.items()})
        self.phi = DesignPoint(point.values.clone().requires_grad_(), point.layout)

    def __call__(self) -> DesignPoint:
        return self.phi


def sampled(
    estimator: GradientEstimator,
    simulator: Simulator,
    point: Point,
    score: Score,
    primaries: Events,
    batches: int,
    seed: int = 5,
) -> Tensor:
    """dJ/dφ of each batch, ``batches x d``."""
    slopes = []
    for batch in range(batches):
        loss = estimator.loss(simulator, point, primaries, score, stream("cpu", seed, batch))
        (slope,) = torch.autograd.grad(loss, point.phi.values)
        slopes.append(slope[0])
    return torch.stack(slopes)


def quiet(count: int, weight: Tensor | None = None) -> Events:
    """Primaries without properties."""
    return Events.of(torch.zeros(1, count, 1), torch.zeros(1, count, 1, 1), None, weight)


def shaped(count: int, particles: Tensor | int = 1, designs: int = 1) -> Events:
    """Primaries whose truth is the number of particles that enter."""
    number = torch.as_tensor(particles).expand(count).float()
    return Events.of(number.reshape(1, count, 1), torch.zeros(1, count, 1, 1)).expand(designs)


class Poissonian(BranchingProgram):
    """Every particle has Poisson(m) descendants, for n generations; those of the last are counted.

    The number of groups of children depends on the largest family of the whole batch.
    """

    def __init__(self, generations: int) -> None:
        super().__init__(cells=1)
        self.generations = generations

    def start(self, phi, primaries, choices):
        particles = torch.arange(phi.designs * primaries.count)
        return particles, {"age": torch.zeros(len(particles))}

    def step(self, phi, state, choices):
        number, age = choices.poisson(phi["m"][:, 0]), state["age"] + 1
        last = age >= self.generations
        deposits = Deposits(torch.zeros_like(age).long(), torch.where(last, number, torch.zeros_like(number)))
        groups = [((number >= m) & ~last).nonzero().squeeze(1) for m in range(2, int(number.max()) + 1)]
        children = [Children(parent, {"age": age[parent]}) for parent in groups]
        return Step({"age": age}, (number > 0) & ~last, children, [deposits])


class Shower(BranchingProgram):
    """Particles share their energy with probability ``1 − exp(−a e)``, leave a random part of it in a cell, and
    stop below energy 0.1. As many enter as the truth of the event says.

    Args:
        moving: whether the deposits are scaled by the design parameter "a" too (continuous).
        looped: whether the energy fraction is found by accept/reject, with a probability that depends on "a".
    """

    def __init__(self, moving: bool = False, looped: bool = False, continuous: bool | None = None, **settings) -> None:
        recorded = moving if continuous is None else continuous
        super().__init__(cells=4, features=2, continuous=recorded, controls=("energy",), **settings)
        self.moving, self.looped = moving, looped

    def start(self, phi, primaries, choices):
        number = primaries.truth[..., 0].flatten().long()
        event = torch.arange(len(number)).repeat_interleave(number)
        energy = 1 + choices.uniform().flatten()[event]
        return event, {"energy": energy, "depth": torch.zeros(len(event), dtype=torch.int64)}

    def step(self, phi, state, choices):
        a, energy = phi["a"][:, 0], state["energy"]
        split = choices.bernoulli(1 - torch.exp(-a * energy)) > 0.5
        fraction = self._fraction(a, choices)
        left = energy * 0.2 * (1 + fraction)
        value = torch.stack([left * a if self.moving else left, torch.ones_like(left)], 1)
        energy, depth = energy - left, state["depth"] + 1
        parent = (split & (energy > 0.2)).nonzero().squeeze(1)
        kept = energy.clone()
        kept[parent] = energy[parent] * fraction[parent]
        child = Children(parent, {"energy": energy[parent] - kept[parent], "depth": depth[parent]})
        deposits = Deposits(state["depth"].clamp_max(3), value)
        return Step({"energy": kept, "depth": depth}, kept > 0.1, [child], [deposits])

    def _fraction(self, a, choices):
        if not self.looped:
            return choices.uniform()
        return choices.accepted(lambda some, index: some.uniform(), lambda x, index: torch.exp(-a[index] * x))


class Thinning(Program):
    """Second part of a chain: of the hits (whole numbers) each is kept with probability p; no hit, no choice."""

    def run(self, phi, primaries, choices):
        kept = choices.binomial(primaries.hits[:, :, 0, 0].detach(), phi["q"].expand(choices.shape))
        return Events(
            primaries.truth,
            kept[..., None, None],
            primaries.mask,
            primaries.weight,
            primaries.log_probability,
            primaries.controls,
        )
