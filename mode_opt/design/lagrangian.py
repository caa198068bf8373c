"""Constraints that do not hold by construction: the augmented Lagrangian, and the way back at the end."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from mode_opt.design.constraints import Constraint
from mode_opt.design.point import DesignPoint
from mode_opt.errors import ConfigurationError, ModeOptError

if TYPE_CHECKING:
    from mode_opt.design.design import Design


@final
class AugmentedLagrangian(nn.Module):
    r"""Method of multipliers for inequalities :math:`g(\phi) \le 0`, in units of each constraint's scale.

    The penalty is :math:`\sum_i (\max(0, \lambda_i + \rho g_i)^2 - \lambda_i^2) / (2\rho)`; after each
    (rough) minimisation `update` sets :math:`\lambda_i \leftarrow \max(0, \lambda_i + \rho g_i)`, and
    :math:`\rho \leftarrow \gamma\rho` if the largest violation, or slack of a constraint with a multiplier,
    has not shrunk to ``shrink`` of the last one. Exact at finite :math:`\rho`; at the end :math:`\lambda_i`
    is the gain in the objective per relative shift of the limit.

    Reference: Nocedal and Wright, Numerical Optimization (2006), section 17.4 (inequalities: eq. 17.65);
    Birgin and Martinez, Practical Augmented Lagrangian Methods (2014), algorithm 4.1 for the rule for
    :math:`\rho`.

    Args:
        constraints: usually ``design.nonlinear_constraints``.
        rho: first penalty parameter, in units of the objective.
        growth: factor ``gamma``.
        shrink: least reduction of the infeasibility per update.
        largest: upper limit of ``rho``.

    Multipliers (``m``), ``rho`` and ``infeasibility`` are buffers and so are in checkpoints.

    Raises:
        ConfigurationError: if ``rho`` is not positive or ``growth`` below 1.
    """

    multipliers: Tensor
    rho: Tensor
    infeasibility: Tensor

    def __init__(
        self,
        constraints: Sequence[Constraint],
        rho: float = 10.0,
        growth: float = 4.0,
        shrink: float = 0.5,
        largest: float = 1e6,
    ) -> None:
        super().__init__()
        if not rho > 0:
            raise ConfigurationError("constraints.rho", rho, "a positive number")
        if not growth >= 1:
            raise ConfigurationError("constraints.growth", growth, "a number of at least 1")
        self.constraints = tuple(constraints)
        self.growth, self.shrink, self.largest = growth, shrink, largest
        self.sizes = [max(c.value.kind.size, c.limit.kind.size) for c in self.constraints]
        self.register_buffer("multipliers", torch.zeros(sum(self.sizes)))
        self.register_buffer("rho", torch.tensor(float(rho)))
        self.register_buffer("infeasibility", torch.tensor(torch.inf))

    def excess(self, phi: DesignPoint) -> Tensor:
        """``b x m``: g in units of the scales; satisfied where it is not positive."""
        return scaled_excess(self.constraints, phi)

    def penalty(self, phi: DesignPoint) -> Tensor:
        """``b`` values to add to the objective."""
        return inequality_penalty(self.excess(phi), self.multipliers, self.rho.to(phi.values))

    @torch.no_grad()
    def update(self, phi: DesignPoint) -> None:
        """New multipliers and penalty parameter from one design (of several: their mean)."""
        if not self.constraints:
            return
        g = self.excess(phi).mean(0).to(self.multipliers)
        infeasibility = torch.maximum(g, -self.multipliers / self.rho).abs().max()
        self.multipliers.copy_(torch.relu(self.multipliers + self.rho * g))
        if infeasibility > self.shrink * self.infeasibility:
            self.rho.mul_(self.growth).clamp_(max=self.largest)
        self.infeasibility.copy_(infeasibility)

    def by_name(self) -> dict[str, float]:
        """Multiplier of each constraint (the sum over elements of an array constraint)."""
        parts = self.multipliers.split(self.sizes) if self.sizes else []
        return {c.name: float(part.sum()) for c, part in zip(self.constraints, parts, strict=True)}

    def restore(self, design: "Design") -> bool:
        """Move the design to the nearest one (in ψ) that satisfies every constraint; see `restore`."""
        return restore(design, self.constraints)


def inequality_penalty(excess: Tensor, multipliers: Tensor, rho: Tensor | float) -> Tensor:
    r""":math:`\sum_i (\max(0, \lambda_i + \rho g_i)^2 - \lambda_i^2) / (2\rho)`, ``b``.

    Args:
        excess: g, ``b x m``.
        multipliers: ``m``.
        rho: positive.
    """
    known = multipliers.to(excess)
    return ((torch.relu(known + rho * excess) ** 2 - known**2) / (2 * rho)).sum(1)


def scaled_excess(constraints: Sequence[Constraint], phi: DesignPoint) -> Tensor:
    """``b x m``: excess of each constraint in units of its scale."""
    parts = [c.excess(phi, phi.values) / c.scale for c in constraints]
    return torch.cat(parts, 1) if parts else phi.values.new_zeros(phi.designs, 0)


def restore(design: "Design", constraints: Sequence[Constraint], steps: int = 200) -> bool:
    r"""Move ``design.psi`` in place until every constraint is satisfied: ``g <= 0``, not almost.

    Newton steps of minimum norm on the violated ones, :math:`\Delta\psi = -J^T (J J^T)^+ (g + \epsilon)`, in
    float64, halved until the largest excess decreases; the aim :math:`\epsilon` inside grows until the
    result holds in the design's own precision.

    Returns:
        Whether the design was moved.

    Raises:
        ModeOptError: if no satisfying design is found; names the constraint and its value.
    """

    def satisfied() -> bool:
        with torch.no_grad():
            return bool((scaled_excess(constraints, design()) <= 0).all())

    if satisfied():
        return False
    begin = design.psi.detach().clone()
    for aim in (1e-6, 1e-5, 1e-4, 1e-3):
        psi = _newton(design, constraints, begin.double(), aim, steps)
        with torch.no_grad():
            design.psi.copy_(psi.to(begin))
        if satisfied():
            return True
    failed = next(c for c in constraints if bool((c.excess(design(), design.psi) > 0).any()))
    at = failed.at(design())
    with torch.no_grad():
        design.psi.copy_(begin)
    raise ModeOptError(
        f"design.constraints.{failed.name}: no design found that satisfies it; the nearest has "
        f"{at.value:.6g} {at.unit} where the limit is {at.limit:.6g} {at.unit}"
    )


def _newton(design: "Design", constraints: Sequence[Constraint], psi: Tensor, aim: float, steps: int) -> Tensor:
    def worst(at: Tensor) -> Tensor:
        with torch.no_grad():
            return scaled_excess(constraints, design.point(at)).max()

    # Where tanh is flat there is no direction: begin where it is not.
    psi = psi.clamp(-8, 8)
    for _ in range(steps):
        if worst(psi) <= -aim / 2:
            break
        with torch.enable_grad():
            variable = psi.clone().requires_grad_(True)
            g = scaled_excess(constraints, design.point(variable))[0]
            near = g > -2 * aim
            rows = [torch.autograd.grad(value, variable, retain_graph=True)[0][0] for value in g[near]]
        jacobian, target = torch.stack(rows), (g[near] + aim).detach()
        step = torch.linalg.lstsq(jacobian, target, driver="gelsd").solution
        step = step * min(1.0, 2.0 / float(step.norm().clamp(min=1e-300)))
        length, before = 1.0, worst(psi)
        while worst(psi - length * step) >= before and length > 1e-6:
            length /= 2
        psi = psi - length * step
    return psi
