"""The whole of an optimisation in plain PyTorch, for notebooks and scripts."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from mode_opt.experiment.alternation import Alternation, Effort, Optimisers, Record
from mode_opt.experiment.experiment import Experiment
from mode_opt.experiment.verification import Verification, VerificationEffort, verify


@dataclass(frozen=True)
class Outcome:
    """What an optimisation found and how sure that is.

    Attributes:
        initial: concrete values of the start design, by name, with unit.
        final: those of the final design.
        verification: objective of both on fresh events, and the paired difference.
        history: one record a design step.
        simulator_calls: events simulated by the optimisation (verification not counted).
    """

    initial: dict[str, dict[str, Any]]
    final: dict[str, dict[str, Any]]
    verification: Verification
    history: list[Record]
    simulator_calls: int

    def __str__(self) -> str:
        width = max(len(name) for name in self.final)
        lines = [
            f"{name:<{width}}  {_text(self.initial[name]['value'])} -> {_text(end['value'])} "
            f"{end['unit'] or ''}".rstrip()
            for name, end in self.final.items()
        ]
        result = self.verification
        estimates = {"initial": result.initial, "final": result.final, "improvement": result.improvement}
        for name, estimate in estimates.items():
            lines.append(f"objective, {name}: {estimate.value:.5g} ± {estimate.standard_error:.2g}")
        return "\n".join(lines)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def optimise(
    experiment: Experiment,
    steps: int = 100,
    seed: int = 0,
    effort: Effort | None = None,
    verification: VerificationEffort | None = None,
    learning_rates: tuple[float, float] = (3e-3, 0.05),
    report: Callable[[Record], None] | None = None,
) -> Outcome:
    """Optimise with Adam, then verify start and final design with fresh seeds.

    Args:
        experiment: changed in place: its design and its reconstruction.
        steps: design steps.
        seed: of all random numbers drawn by the optimisation and the verification.
        effort: work per design step.
        verification: work to measure start and final design.
        learning_rates: of the reconstruction and of ψ.
        report: called after each step.

    Raises:
        NonFiniteError: if the objective or a gradient is not finite.
    """
    untrained, start = copy.deepcopy(experiment), experiment.design.buildable()
    alternation = Alternation(experiment, effort, seed)
    optimisers = Optimisers(
        torch.optim.Adam(experiment.reconstruction.parameters(), lr=learning_rates[0]),
        torch.optim.Adam([experiment.design.psi], lr=learning_rates[1]),
    )
    for _ in alternation.warm_up(optimisers):
        pass
    history = []
    for _ in range(steps):
        history.append(alternation.step(optimisers))
        if report is not None:
            report(history[-1])
    alternation.finish()
    snapped = experiment.design.snapped()
    # Rounding alone may break a constraint; without grids, integers and categories there is nothing to move.
    design = experiment.design if snapped.free_names == experiment.design.free_names else snapped
    calls, final = experiment.simulator_calls, design.buildable()
    measured = verify(untrained, {"initial": start, "final": final}, verification, seed)
    return Outcome(design.concrete(start), design.concrete(final), measured, history, calls)
