"""Every limit of a design around it: bounds and constraints with their gradients, and which of them are near."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mode_opt.design.constraints import Constraint
from mode_opt.experiment.tolerance.space import Space
from mode_opt.units import Unit

NEAR = 0.02
"""Distance in half ranges up to which a limit is taken to hold the design: an optimisation stops a little inside."""


@dataclass(frozen=True)
class Limit:
    """A bound of a parameter, or one element of a constraint; numbers in field units.

    Attributes:
        name: of the parameter or constraint.
        kind: ``bound``, ``linear`` or ``nonlinear``.
        upper: whether the value must not exceed the limit.
        value, limit: at the design.
        unit: of reports.
    """

    name: str
    kind: str
    upper: bool
    value: float
    limit: float
    unit: Unit

    @property
    def excess(self) -> float:
        """Not positive where the limit holds."""
        return self.value - self.limit if self.upper else self.limit - self.value

    def words(self) -> str:
        """``length <= 400 mm``."""
        return f"{self.name} {'<=' if self.upper else '>='} {self.limit / self.unit.factor:g} {self.unit}".rstrip()


@dataclass(frozen=True, eq=False)
class Limits:
    """All ``m`` of them.

    Attributes:
        entries: what they are.
        gradient: ``m x d``, derivative of the excess by the parameters in half ranges; of nonlinear ones at the design.
    """

    entries: list[Limit]
    gradient: Tensor

    @classmethod
    def of(cls, space: Space) -> "Limits":
        """Bounds first, then the constraints in their order."""
        entries, rows = _bounds(space)
        z = space.centre.clone().requires_grad_()
        with torch.enable_grad():
            phi = space.point(z[None], z)
            for constraint in space.design.constraints:
                excess = constraint.excess(phi, phi.values)[0]
                entries += _elements(constraint, [float(side(phi)[0].detach().expand_as(excess)[k])
                                                  for k in range(len(excess))
                                                  for side in (constraint.value, constraint.limit)])  # fmt: skip
                rows += [
                    torch.autograd.grad(value, z, retain_graph=True, materialize_grads=True, allow_unused=True)[0]
                    if value.requires_grad
                    else torch.zeros_like(z)
                    for value in excess
                ]
        gradient = torch.stack(rows).detach() if rows else torch.zeros(0, space.dimension, dtype=torch.float64)
        return cls(entries, gradient)

    @property
    def excess(self) -> Tensor:
        """``m``, field units."""
        return torch.tensor([entry.excess for entry in self.entries], dtype=torch.float64)

    @property
    def distance(self) -> Tensor:
        """``m``, to the (linearised) limit in half ranges; negative where it is violated, infinite without gradient."""
        size = self.gradient.norm(dim=1)
        return torch.where(size > 0, -self.excess / size.clamp_min(1e-300), torch.inf)

    @property
    def near(self) -> Tensor:
        """``m`` flags: the limits that may hold the design."""
        return self.distance <= NEAR

    def straight(self) -> tuple[Tensor, Tensor]:
        """``A, c`` of bounds and linear constraints: ``A (z − z₀) <= c``, rows of unit length."""
        size = self.gradient.norm(dim=1)
        kept = torch.tensor([entry.kind != "nonlinear" for entry in self.entries], dtype=torch.bool) & (size > 0)
        return (self.gradient / size.clamp_min(1e-300)[:, None])[kept], self.distance[kept]

    def room(self, direction: Tensor) -> tuple[float, str]:
        """How far one may go along a direction (``d``), and the limit that ends it; infinite and "" if none does."""
        rate = self.gradient @ direction
        slack = (-self.excess).clamp_min(0.0)
        steps = torch.where(rate > 1e-12 * self.gradient.norm(dim=1), slack / rate.clamp_min(1e-300), torch.inf)
        if not len(steps) or not bool(torch.isfinite(steps.min())):
            return float("inf"), ""
        first = int(steps.argmin())
        return float(steps[first]), self.entries[first].name


def _bounds(space: Space) -> tuple[list[Limit], list[Tensor]]:
    entries, rows = [], []
    for i, (name, unit) in enumerate(zip(space.names, space.units, strict=True)):
        size = float(space.scale[i])
        for side, upper in ((space.low[i], False), (space.high[i], True)):
            if bool(torch.isfinite(side)):
                entries.append(Limit(name, "bound", upper, float(space.centre[i]) * size, float(side) * size, unit))
                row = torch.zeros_like(space.scale)
                row[i] = size if upper else -size
                rows.append(row)
    return entries, rows


def _elements(constraint: Constraint, numbers: list[float]) -> list[Limit]:
    """One entry an element, from value and limit of each in turn."""
    kind, count = "linear" if constraint.linear else "nonlinear", len(numbers) // 2
    names = [constraint.name] if count == 1 else [f"{constraint.name}[{k}]" for k in range(count)]
    return [
        Limit(name, kind, constraint.upper, numbers[2 * k], numbers[2 * k + 1], constraint.unit)
        for k, name in enumerate(names)
    ]
