"""How much an objective suffers if things are otherwise than simulated."""

from collections.abc import Mapping
from typing import Any, NoReturn, cast, final

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives.base import Named, Objective, Reconstruct
from mode_opt.objectives.scenarios import Scenario


def conditional_value_at_risk(
    values: Tensor, level: float, probabilities: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    r"""Mean of the worst ``1 − level`` of the scenarios.

    .. math:: \mathrm{CVaR}_\alpha = \min_t \left[t + \frac{1}{1-\alpha} \sum_k p_k\, s_\tau(J_k - t)\right],
              \qquad s_\tau(x) = \tau \ln\left(1 + e^{x/\tau}\right) \to \max(0, x)

    At the minimum t the derivative is, because that of t drops out (envelope theorem),
    :math:`\partial/\partial J_k = p_k\, \sigma((J_k - t)/\tau)/(1 - \alpha)`, weights that add up to 1. The smooth
    value lies above the sharp one by at most :math:`\tau \ln 2/(1 - \alpha)`. The sharp one (τ = 0) is the mean over
    the upper tail of the distribution, with a part of the scenario at its edge. Level 0 is the mean, level → 1 the
    worst scenario. Second derivatives leave out that of t.

    Args:
        values: ``K x b``, of K scenarios.
        level: α in [0, 1).
        probabilities: ``K``, that add up to 1; None: equal ones.
        smoothing: τ ≥ 0, in units of the values.

    Returns:
        ``b``.

    Raises:
        ConfigurationError: for a level outside [0, 1), or a negative smoothing.

    Reference: R. Rockafellar and S. Uryasev, "Optimization of conditional value-at-risk", J. Risk 2 (2000) 21.
    """
    if not 0 <= level < 1:
        raise ConfigurationError("objective.level", level, "a number from 0 up to, but without, 1")
    if not smoothing >= 0:
        raise ConfigurationError("objective.smoothing", smoothing, "0 or a positive number")
    count = values.shape[0]
    p = values.new_full((count,), 1 / count) if probabilities is None else probabilities.to(values)
    p = p.reshape(-1, 1)
    if 1 - level == 1:  # also for a level so small that it rounds away
        return (p * values).sum(0)
    if smoothing == 0:
        return (_tail(values.detach(), p, level) * values).sum(0)
    t = _threshold(values.detach().double(), p.double(), 1 - level, smoothing).to(values.dtype)
    excess = smoothing * torch.nn.functional.softplus((values - t) / smoothing, threshold=50.0)
    return t + (p * excess).sum(0) / (1 - level)


def _tail(values: Tensor, p: Tensor, level: float) -> Tensor:
    """Part of the upper tail that each scenario is, ``K x b``."""
    order = values.argsort(0, descending=True)
    sorted_p = p.expand_as(values).gather(0, order)
    before = sorted_p.cumsum(0) - sorted_p
    share = torch.minimum(sorted_p, (1 - level - before).clamp_min(0.0)) / (1 - level)
    return torch.zeros_like(values).scatter(0, order, share)


def _threshold(values: Tensor, p: Tensor, tail: float, smoothing: float) -> Tensor:
    """t with ``Σ p σ((J − t)/τ) = tail``, by bisection between the roots for the least and the largest value."""
    shift = smoothing * float(torch.logit(torch.tensor(tail, dtype=torch.float64)))
    low, high = values.amin(0) - shift, values.amax(0) - shift
    for _ in range(60):
        middle = (low + high) / 2
        above = (p * torch.sigmoid((values - middle) / smoothing)).sum(0) > tail
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (low + high) / 2


@final
class Robust(Objective):
    """Mean or conditional value at risk of an objective over scenarios, on the same simulated events.

    A scenario (`Scenario`) changes hits, weights or what the design is taken for; a reconstruction that sees it
    answers anew, with the weights that it has: what it learnt of the events as simulated is put to the test. Another
    field, geometry or physics list needs a simulation of its own and is no scenario. Reference for the risk:
    `conditional_value_at_risk`.

    Args:
        objective: any.
        scenarios: by name; `Nominal` is one only if it is among them.
        risk: ``mean`` or ``cvar``.
        level: of the conditional value at risk, in [0, 1).
        probabilities: of each scenario, by name, scaled to add up to 1; None: equal ones.
        smoothing: τ of the conditional value at risk, in units of the objective; 0: sharp.

    Raises:
        ConfigurationError: if there is no scenario, for an unknown risk, or wrong probabilities; when called without a
            reconstruction (`forward`, not `judged`), if the objective reads beliefs and a scenario changes them.
    """

    def __init__(
        self,
        objective: Objective,
        scenarios: Mapping[str, Scenario],
        risk: str = "mean",
        level: float = 0.9,
        probabilities: Mapping[str, float] | None = None,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if not scenarios:
            raise ConfigurationError("objective.scenarios", {}, "at least one scenario")
        if risk not in ("mean", "cvar"):
            raise ConfigurationError("objective.risk", risk, "mean or cvar")
        if not 0 <= level < 1:
            raise ConfigurationError("objective.level", level, "a number from 0 up to, but without, 1")
        if not smoothing >= 0:
            raise ConfigurationError("objective.smoothing", smoothing, "0 or a positive number")
        self.objective, self.scenarios = objective, Named(scenarios)
        self.level, self.smoothing = level if risk == "cvar" else 0.0, smoothing
        self.probabilities = _probabilities(list(scenarios), probabilities)

    @property
    def additive(self) -> bool:
        separate = all(scenario.separate for scenario in self.scenarios.by_name().values())
        return self.level == 0 and separate and self.objective.additive

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        return self.judged(events, belief, phi)

    def judged(
        self, events: Events, belief: Distribution, phi: DesignPoint, reconstruct: Reconstruct | None = None
    ) -> Tensor:
        values = self.values(events, belief, phi, reconstruct)
        return conditional_value_at_risk(values, self.level, values.new_tensor(self.probabilities), self.smoothing)

    def values(
        self, events: Events, belief: Distribution, phi: DesignPoint, reconstruct: Reconstruct | None = None
    ) -> Tensor:
        """The objective in each scenario, ``K x b``; arguments as for `judged`."""
        found = []
        for scenario in self.scenarios.by_name().values():
            changed, taken = scenario(events, phi)
            seen = belief
            if scenario.seen:
                unknown = cast(Distribution, _Unknown())
                seen = unknown if reconstruct is None else reconstruct(changed, taken)
            found.append(self.objective.judged(changed, seen, taken, reconstruct))
        return torch.stack(found)


class _Unknown:
    """Stands for a belief that nobody has made; objectives that read none never notice."""

    def __getattr__(self, name: str) -> NoReturn:
        raise ConfigurationError(
            "objective.scenarios", "a scenario that changes the belief", "a call of judged() with a reconstruction"
        )


def _probabilities(names: list[str], given: Mapping[str, float] | None) -> list[float]:
    if given is None:
        return [1 / len(names)] * len(names)
    values: dict[str, Any] = dict(given)
    if set(values) != set(names) or any(not value >= 0 for value in values.values()) or not sum(values.values()) > 0:
        raise ConfigurationError("objective.probabilities", values, f"a number of at least 0 for each of {names}")
    return [float(values[name]) / sum(values.values()) for name in names]
