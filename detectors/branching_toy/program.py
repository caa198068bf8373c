"""The toy programs: steps through a ring of material in which every interaction is a choice."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, ShapeError
from mode_opt.events import Events
from mode_opt.simulation import BranchingProgram, Children, Choices, Deposits, State, Step

VARIANTS = ("shower", "energy_loss")


@final
class BranchingToy(BranchingProgram):
    """Particles in a plane that step outwards and interact with a probability that the design shifts.

    A step moves a particle by ``step_length`` along its direction, from ``(x, y)`` at the radius r to ``(x', y')``.
    If its energy is below ``energy_cut``, or ``r' > radius_cut``, it stops, and leaves a point at r. Otherwise it
    interacts with the probability P of the new place, and then leaves a point at r too::

        P = ½ σ(10 (r' − θ)) σ(10 (θ + 10 − r')) σ(−10 sin(10 (a' + 2 r'))) σ(−10 cos(10 (r' − 2)))

    with ``σ(z) = 1/(1 + exp(−z))``, ``a' = atan2(x', y')`` and θ the design parameter ``inner_radius``: a ring 10 mm
    wide with soft edges, tiled by a fixed spiral pattern. An interaction of the ``shower`` splits a particle
    into two of half its energy, with directions along ``p ± (kick, kick)``; one of the ``energy_loss`` costs
    ``loss`` and turns the particle to ``p + (±kick, ±kick)`` with two fair signs. Positions do not depend on θ once
    the choices are given, and with the default cuts every event has the same number of points, 127 or 14.

    Hits ``b x n x 1 x 2``: sum of the radii of the points (mm), and their number. Primaries: hits ``b x n x 1 x 2``,
    direction (radians) and energy (MeV) of a particle at the origin. The numbers of the paper carry no units.

    Args:
        variant: ``shower`` or ``energy_loss``.
        step_length: mm.
        kick: added to the components of the direction, a unit vector, in an interaction.
        loss: energy of an interaction of the ``energy_loss``, MeV.
        energy_cut: MeV.
        radius_cut: mm.
        capacity: most particles alive at one time over all events of a call.
        max_steps: steps after which a simulation is given up.

    Raises:
        ConfigurationError: for an unknown variant, or lengths and energies that are not positive.
        ShapeError: when called, for primaries of another shape.

    Source: M. Kagan and L. Heinrich, arXiv 2308.16680, with the authors' code for the numbers.
    """

    def __init__(
        self,
        variant: str = "shower",
        step_length: float = 0.02,
        kick: float = 0.05,
        loss: float = 2.0,
        energy_cut: float = 0.5,
        radius_cut: float = 20.0,
        capacity: int = 4_000_000,
        max_steps: int = 100_000,
    ) -> None:
        super().__init__(1, features=2, capacity=capacity, max_steps=max_steps, controls=("energy",))
        if variant not in VARIANTS:
            raise ConfigurationError("simulator.variant", variant, " or ".join(VARIANTS))
        numbers = {"step_length": step_length, "kick": kick, "loss": loss}
        for name, value in (numbers | {"energy_cut": energy_cut, "radius_cut": radius_cut}).items():
            if not value > 0:
                raise ConfigurationError(f"simulator.{name}", value, "a positive number")
        self.variant, self.step_length, self.kick, self.loss = variant, step_length, kick, loss
        self.energy_cut, self.radius_cut = energy_cut, radius_cut

    def start(self, phi: DesignPoint, primaries: Events, choices: Choices) -> tuple[Tensor, State]:
        if primaries.hits.shape[2:] != (1, 2):
            expected = "b x n x 1 x 2, direction and energy of one particle"
            raise ShapeError("primaries.hits", primaries.hits.shape, expected)
        direction, energy = primaries.hits.detach().to(phi.values.dtype).reshape(-1, 2).unbind(1)
        event = torch.arange(energy.numel(), device=energy.device)
        momentum = {"px": direction.cos(), "py": direction.sin()}
        origin = {name: torch.zeros_like(energy) for name in ("x", "y", "radius")}
        return event, {**origin, **momentum, "energy": energy.contiguous()}

    def step(self, phi: DesignPoint, state: State, choices: Choices) -> Step:
        x = torch.add(state["x"], state["px"], alpha=self.step_length)
        y = torch.add(state["y"], state["py"], alpha=self.step_length)
        radius = torch.hypot(x, y)
        going = (state["energy"] >= self.energy_cut) & (radius <= self.radius_cut)
        probability = interaction_probability(x, y, radius, phi["inner_radius"][:, 0])
        # What has stopped makes no choice: its coin is never 1, and has no derivative.
        interacts = choices.bernoulli(probability * going) > 0.5
        marked = (interacts | ~going).nonzero().squeeze(1)
        point = state["radius"][marked]
        deposits = Deposits(torch.zeros_like(marked), torch.stack([point, torch.ones_like(point)], 1), marked)
        moved = {**state, "x": x, "y": y, "radius": radius}
        index = interacts.nonzero().squeeze(1)
        if self.variant == "energy_loss":
            return Step(self._slowed(moved, index, choices), going, [], [deposits])
        parent = {name: value[index] for name, value in moved.items()}
        half = {"energy": parent["energy"] / 2}
        first, second = (self._kicked(parent, sign, sign) | half for sign in (1.0, -1.0))
        return Step(_replaced(moved, index, first), going, [Children(index, {**parent, **second})], [deposits])

    def _slowed(self, moved: State, index: Tensor, choices: Choices) -> State:
        """Some of the particles after the loss of an interaction."""
        quarter = (4 * choices.uniform(dtype=moved["energy"].dtype)[index]).floor()
        right, up = 2 * (quarter % 2) - 1, 2 * (quarter >= 2).to(quarter.dtype) - 1
        some = {name: moved[name][index] for name in ("px", "py", "energy")}
        rest = {"energy": (some["energy"] - self.loss).clamp_min(0.0)}
        return _replaced(moved, index, self._kicked(some, right, up) | rest)

    def _kicked(self, state: State, right: Tensor | float, up: Tensor | float) -> dict[str, Tensor]:
        """The direction after a kick, normalised."""
        px, py = state["px"] + self.kick * right, state["py"] + self.kick * up
        scale = torch.hypot(px, py).reciprocal()
        return {"px": px * scale, "py": py * scale}


def interaction_probability(x: Tensor, y: Tensor, radius: Tensor, inner_radius: Tensor) -> Tensor:
    """P of `BranchingToy` at places ``k`` (mm), differentiable in ``inner_radius`` ``k``."""
    with torch.no_grad():
        angle = torch.atan2(x, y)
        spiral = torch.sigmoid(-10 * torch.sin(10 * (angle + 2 * radius)))
        rings = torch.sigmoid(-10 * torch.cos(10 * (radius - 2)))
        pattern = 0.5 * spiral * rings
    depth = 10 * (radius - inner_radius)
    return pattern * torch.sigmoid(depth) * torch.sigmoid(100 - depth)


def _replaced(state: State, index: Tensor, some: State) -> State:
    """The state with the values of ``some`` at the places ``index``."""
    return {**state, **{name: state[name].index_put((index,), value) for name, value in some.items()}}
