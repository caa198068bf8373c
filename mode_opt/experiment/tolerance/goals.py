"""What the limits of a `Constrained` objective cost at a design."""

import math

import torch
from torch import nn

from mode_opt.experiment.experiment import Experiment
from mode_opt.experiment.tolerance.model import SIGNIFICANT
from mode_opt.experiment.tolerance.result import LimitTolerance
from mode_opt.experiment.tolerance.space import Space
from mode_opt.experiment.tolerance.survey import GROUPS
from mode_opt.objectives import Constrained
from mode_opt.objectives.uncertainty import Replicas, jackknife
from mode_opt.simulation import stream


def objective_limits(
    experiment: Experiment, network: nn.Module, space: Space, events: int, seed: int
) -> list[LimitTolerance]:
    r"""Value, limit and multiplier of each limited objective, on fresh events of the design.

    Where penalty and multipliers are minimal, the objective gains :math:`\max(0, \lambda_k + \rho g_k)/s_k` for each
    unit by which the limit of :math:`C_k` gives way, with :math:`g_k = (C_k - L_k)/s_k`. A limit with a significant
    one is ``active``; one that is missed by more than two standard errors is ``violated``.

    Args:
        experiment: nothing is measured unless its objective is `Constrained`.
        network: the reconstruction.
        space: of the design.
        events: to measure on.
        seed: of them.
    """
    objective = experiment.objective
    if not isinstance(objective, Constrained):
        return []
    phi = space.point(space.centre[None]).detach()
    device = phi.values.device
    found = experiment.simulate(phi, max(events, GROUPS), stream(device, seed, "tolerance", "goals"))
    entries = []
    with torch.no_grad():
        belief = network(found, phi)
    multipliers, parts = objective.by_name(), objective.limited.by_name()
    for (name, part), limit, scale in zip(parts.items(), objective.limits, objective.scales, strict=True):
        known = multipliers[name]
        if not math.isfinite(limit):
            continue
        replicas = jackknife(part, found, belief, phi, GROUPS, network)
        value = replicas.estimate()
        prices = [torch.relu(known + objective.rho * (x - limit) / scale) / scale for x in vars(replicas).values()]
        price = Replicas(*prices).estimate()
        state = "active" if price.value > SIGNIFICANT * price.standard_error else "free"
        if value.value - limit > max(SIGNIFICANT * value.standard_error, 1e-6 * scale):
            state = "violated"
        words = (f"{name} <= {limit:g}", name, "objective", "")
        entries.append(LimitTolerance(*words, value, limit, float("nan"), state, price, price, True))
    return entries
