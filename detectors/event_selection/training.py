"""Training a network on recorded showers, of which there are few: with early stopping."""

import copy
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.events import Events
from mode_opt.experiment import Detector, Experiment, Goal
from mode_opt.reconstruction import Reconstruction
from mode_opt.simulation import stream

from .measure import recorded

FOLDS = 4
"""Every fourth shower is kept for the decision when to stop."""


@final
@dataclass(frozen=True)
class Schooling:
    """How a network is trained.

    Attributes:
        steps: at most.
        batch: showers of a step; None: all that it learns from, as a likelihood needs them.
        learning_rate: of Adam.
        decay: of the weights, as of AdamW.
        every: steps between looks at the showers that it does not learn from.
        patience: looks without improvement after which training stops.
    """

    steps: int = 2000
    batch: int | None = 500
    learning_rate: float = 3e-3
    decay: float = 1e-2
    every: int = 25
    patience: int = 16


SCHOOLINGS: dict[Goal, Schooling] = {
    "truth": Schooling(),
    "objective": Schooling(steps=400, batch=None, learning_rate=1e-2, every=5, patience=16),
}


@final
@dataclass(frozen=True, eq=False)
class Trained:
    """A network, and how it got there.

    Attributes:
        network: with the weights that were best for the showers it did not learn from.
        step: after which it had them.
        curve: step and loss of the showers that it learnt from and of the others, at each look.
    """

    network: Reconstruction
    step: int
    curve: list[tuple[int, float, float]]


def trained(
    detector: Detector,
    goal: Goal = "truth",
    seed: int = 0,
    schooling: Schooling | None = None,
    start: Reconstruction | None = None,
) -> Trained:
    """A network for the hard cuts of the detector's design, trained on its sample.

    Args:
        detector: with a network, at the design for which it is trained.
        goal: ``truth``, on the showers that the cuts accept; or ``objective``, on all.
        seed: of weights and batches.
        schooling: how; None: that of the goal.
        start: a network to go on with; None: a new one.
    """
    how = SCHOOLINGS[goal] if schooling is None else schooling
    phi = detector.design().detach()
    events: Events = detector.simulator("hard")(phi, recorded(detector)).detach()
    if goal == "truth":
        events = events.select(events.hits[0, :, 0, -1] > 0.5)
    kept = torch.arange(events.count) % FOLDS == 0
    learnt, judge = events.select(~kept), events.select(kept)
    experiment = Experiment.of(detector, reconstruction_goal=goal, reconstruction=start)
    network = experiment.fresh_reconstruction(phi, seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=how.learning_rate, weight_decay=how.decay)
    best, found, curve = copy.deepcopy(network), (float("inf"), 0), []
    for step in range(1, how.steps + 1):
        loss = experiment.lesson(_batch(learnt, how, seed, step), phi, network)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        if step % how.every == 0:
            with torch.no_grad():
                fit, look = (float(experiment.lesson(part, phi, network)) for part in (learnt, judge))
            curve.append((step, fit, look))
            if look < found[0]:
                best, found = copy.deepcopy(network), (look, step)
            if step - found[1] >= how.patience * how.every:
                break
    return Trained(best, found[1], curve)


def _batch(events: Events, how: Schooling, seed: int, step: int) -> Events:
    if how.batch is None:
        return events
    generator = stream("cpu", seed, "batch", step)
    return events.select(torch.randint(events.count, (how.batch,), generator=generator))


def fit_bins(detector: Detector, network: Reconstruction, steps: int = 60, learning_rate: float = 0.1) -> Design:
    """Move the free parameters of the detector's design, which must be edges alone, for a network that stays.

    Args:
        detector: with a network, whose cuts are not free.
        network: trained.
        steps: of Adam, each with all showers of the sample and soft bins.
        learning_rate: in ψ.
    """
    design = detector.design
    events: Events = detector.simulator("hard")(design().detach(), recorded(detector)).detach()
    with torch.no_grad():
        belief = network(events, design().detach())
    optimiser = torch.optim.Adam([design.psi], lr=learning_rate)
    for _ in range(steps):
        phi = design()
        value: Tensor = detector.objective.judged(events, belief, phi, network).sum()
        optimiser.zero_grad()
        value.backward(inputs=[design.psi])
        optimiser.step()
    return design
