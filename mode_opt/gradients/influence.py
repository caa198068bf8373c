"""What one event does to an objective of all events."""

from dataclasses import replace

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.gradients.base import Score


def influence(
    score: Score, events: Events, phi: DesignPoint, create_graph: bool = False, others: Events | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The objective, and its derivative with respect to the weight of each event.

    For a mean, ``J = Σ w f / Σ w``, the influence of event i is ``(f_i − J)/Σ w``; for any other functional it is
    what takes the place of f in a score-function estimator: ``dJ = Σ_i influence_i d log p_i``.

    Args:
        score: events and design to ``b`` objective values.
        events: ``b x n``.
        phi: their designs.
        create_graph: whether the influences are to be differentiated again.
        others: ``b x m`` further events of weight 0: the influence that each would have if it were added.

    Returns:
        J ``b``, influences ``b x n``, and those of the others ``b x m`` or None.

    Source: F. R. Hampel, J. Am. Stat. Assoc. 69 (1974) 383.
    """
    weight = events.weight.detach()
    if others is not None:
        weight = torch.cat([weight, torch.zeros_like(others.weight)], 1)
        events = Events.cat([replace(events, log_probability=None), replace(others, log_probability=None)])
    weight = weight.clone().requires_grad_()
    with torch.enable_grad():
        value = score(replace(events, weight=weight), phi)
        (slope,) = torch.autograd.grad(value.sum(), weight, create_graph=create_graph, retain_graph=True)
    if others is None:
        return value, slope, None
    count = slope.shape[1] - others.count
    return value, slope[:, :count], slope[:, count:]
