"""Several goals of one design: limits that must hold, and goals in their order of importance."""

import math
from collections.abc import Callable, Mapping
from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import softplus

from mode_opt.design import DesignPoint
from mode_opt.design.lagrangian import inequality_penalty
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives.base import Composite, Named, Objective, Reconstruct


@final
class Constrained(Composite):
    r"""An objective under limits on others, :math:`C_k \le L_k`: penalty and multipliers.

    .. math:: J + \sum_k \frac{\max(0, \lambda_k + \rho g_k)^2 - \lambda_k^2}{2 \rho},
              \qquad g_k = \frac{C_k - L_k}{s_k}

    With multipliers 0 it is a quadratic penalty, whose minimum violates the limits by about
    :math:`\lambda_k s_k/\rho`, where :math:`\lambda_k`, the multiplier at the solution, is what J gains if the limit
    moves by one scale. `update` sets :math:`\lambda_k \leftarrow \max(0, \lambda_k + \rho g_k)`; minimising and
    updating in turn converges to the limits at finite ρ. The value is a fixed function of the design between updates,
    so that any search can minimise it. `Alternation` updates every ``effort.multiplier_every`` design steps. Limits on
    the design alone are better given as ``design.constraints``.

    Args:
        objective: J.
        limited: :math:`C_k` by name.
        limits: :math:`L_k` by name, in units of each; infinite where there is none, and the objective is only measured
            (`parts`).
        scales: :math:`s_k` by name; None: ``|L_k|``, or 1 where that is 0 or infinite.
        rho: ρ, in units of J.
        multipliers: first :math:`\lambda_k` by name, in units of J; None: 0.

    The multipliers, ``m``, are a buffer and so are in checkpoints.

    Raises:
        ConfigurationError: if names differ, or ρ or a scale is not positive, or a multiplier is negative.

    Reference: Nocedal and Wright, Numerical Optimization (2006), section 17.4.
    """

    multipliers: Tensor

    def __init__(
        self,
        objective: Objective,
        limited: Mapping[str, Objective],
        limits: Mapping[str, float],
        scales: Mapping[str, float] | None = None,
        rho: float = 10.0,
        multipliers: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        names = list(limited)
        _same_names("objective.limits", names, limits)
        if "objective" in limited:
            expected = "other names than objective, that of what is minimised"
            raise ConfigurationError("objective.limited", names, expected)
        sizes = {n: abs(limits[n]) if math.isfinite(limits[n]) and limits[n] else 1.0 for n in names}
        sizes = sizes if scales is None else dict(scales)
        first = dict.fromkeys(names, 0.0) if multipliers is None else multipliers
        _same_names("objective.scales", names, sizes)
        _same_names("objective.multipliers", names, first)
        _positive("objective.scales", sizes)
        if not rho > 0:
            raise ConfigurationError("objective.rho", rho, "a positive number")
        if any(not value >= 0 for value in first.values()):
            raise ConfigurationError("objective.multipliers", dict(first), "numbers that are not negative")
        self.objective, self.limited, self.rho = objective, Named(limited), rho
        self.limits, self.scales = [float(limits[k]) for k in names], [float(sizes[k]) for k in names]
        self.register_buffer("multipliers", torch.tensor([float(first[name]) for name in names]))

    @property
    def parts(self) -> Mapping[str, Objective]:
        return {"objective": self.objective} | self.limited.by_name()

    def combined(self, value: Callable[[Objective], Tensor]) -> Tensor:
        excess = self._excess(value)
        return value(self.objective) + inequality_penalty(excess, self.multipliers, self.rho)

    def excess(
        self, events: Events, belief: Distribution, phi: DesignPoint, reconstruct: Reconstruct | None = None
    ) -> Tensor:
        """g, ``b x m``: a limit holds where it is not positive; arguments as for `judged`."""
        return self._excess(lambda part: part.judged(events, belief, phi, reconstruct))

    @torch.no_grad()
    def update(self, excess: Tensor) -> None:
        """New multipliers from `excess` where the last minimisation ended (of several designs: their mean)."""
        self.multipliers.copy_(torch.relu(self.multipliers + self.rho * excess.mean(0).to(self.multipliers)))

    def by_name(self, values: Tensor | None = None) -> dict[str, float]:
        """``m`` numbers by the name of the limit; None: the multipliers."""
        numbers = self.multipliers if values is None else values
        return dict(zip(self.limited.names, numbers.tolist(), strict=True))

    def _excess(self, value: Callable[[Objective], Tensor]) -> Tensor:
        parts = zip(self.limited.by_name().values(), self.limits, self.scales, strict=True)
        return torch.stack([(value(part) - limit) / scale for part, limit, scale in parts], 1)


@final
class Lexicographic(Composite):
    r"""Goals in order of importance: each counts where those before it are met, and its failure outweighs all later.

    With :math:`u_k = (J_k - L_k)/\varepsilon_k`, the distance of goal k from its level in units of its tolerance,
    from the last goal, K, to the first:

    .. math::
        V_K = u_K, \qquad
        V_k = \tau \ln\left(1 + e^{u_k/\tau}\right) + \frac{B(V_{k+1})}{1 + e^{u_k/\tau}}, \qquad
        B(v) = \frac12 \left(\frac{v}{\sqrt{1 + v^2}} - 1\right) \in (-1, 0)

    and the value is :math:`V_1`. For τ → 0 that is :math:`u_1` where goal 1 is not met (:math:`u_1 > 0`), and
    :math:`B(V_2) < 0` where it is, so that the order of designs is exactly: failing the first goal by less; among those
    that meet it, failing the second by less; …; among those that meet all but the last, the smaller last. For every
    τ the value rises strictly in each :math:`J_k`, so that its minimum is not dominated, and it is within
    :math:`\tau \ln 2` of :math:`u_k` beyond :math:`u_k > 0`, apart from a transition of width :math:`\tau
    \varepsilon_k` around the level. A lexicographic minimum in the classical sense has as its levels the optimum of
    each goal plus what may be given up of it; an optimum is found by a run with that goal as the last.

    Args:
        goals: objectives by name, the most important first.
        levels: :math:`L_k` by name; that of the last goal, which is minimised in any case, only centres B.
        tolerances: :math:`\varepsilon_k` by name, positive, in units of each goal.
        smoothing: τ, in units of the tolerances; 0 is the limit, which jumps at the levels.

    Raises:
        ConfigurationError: if names differ, or a tolerance is not positive, or τ negative.

    Reference: A. Charnes and W. Cooper, Management Models and Industrial Applications of Linear Programming (1961),
    for goals with preemptive priority; J. Ignizio, Goal Programming and Extensions (1976).
    """

    def __init__(
        self,
        goals: Mapping[str, Objective],
        levels: Mapping[str, float],
        tolerances: Mapping[str, float],
        smoothing: float = 0.25,
    ) -> None:
        super().__init__()
        names = list(goals)
        _same_names("objective.levels", names, levels)
        _same_names("objective.tolerances", names, tolerances)
        _positive("objective.tolerances", tolerances)
        if not smoothing >= 0:
            raise ConfigurationError("objective.smoothing", smoothing, "0 or a positive number")
        self.goals, self.smoothing = Named(goals), smoothing
        self.levels = {name: float(levels[name]) for name in names}
        self.tolerances = {name: float(tolerances[name]) for name in names}

    @property
    def parts(self) -> Mapping[str, Objective]:
        return self.goals.by_name()

    def combined(self, value: Callable[[Objective], Tensor]) -> Tensor:
        distances = [(value(goal) - self.levels[name]) / self.tolerances[name] for name, goal in self.parts.items()]
        total = distances.pop()
        while distances:
            u, rest = distances.pop(), (total / torch.hypot(total, torch.ones_like(total)) - 1) / 2
            if self.smoothing == 0:
                total = torch.where(u > 0, u, rest)
            else:
                scaled = u / self.smoothing
                total = self.smoothing * softplus(scaled, threshold=50.0) + torch.sigmoid(-scaled) * rest
        return total


def _same_names(key: str, names: list[str], given: Mapping[str, float]) -> None:
    if not names or set(given) != set(names):
        raise ConfigurationError(key, sorted(given), f"a number for each of {names or 'at least one objective'}")


def _positive(key: str, given: Mapping[str, float]) -> None:
    if any(not value > 0 for value in given.values()):
        raise ConfigurationError(key, dict(given), "positive numbers")
