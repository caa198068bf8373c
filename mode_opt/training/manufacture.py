"""From the optimum to a design that can be built: stock thicknesses, whole numbers, one material."""

import copy
from collections.abc import Callable
from dataclasses import replace

from mode_opt.design import Design
from mode_opt.errors import SimulationError
from mode_opt.experiment import Alternation, Experiment, Optimisers
from mode_opt.experiment.detector import Progress
from mode_opt.gradients import DesignSearch, GradientEstimator
from mode_opt.training.module import OptimiserFactory


def manufacturable(
    experiment: Experiment,
    alternation: Alternation,
    factories: tuple[OptimiserFactory, OptimiserFactory],
    steps: int,
    progress: Progress,
    begin: GradientEstimator | DesignSearch | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Design | None:
    """The nearest design on the manufacturing grid, with the rest optimised again.

    A search has learned about another ψ, so that the rest is optimised by one that knows nothing. If no
    design can be simulated any more, the best so far is returned, with a note.

    Args:
        experiment: optimised.
        alternation: of that optimisation; its averaged reconstruction is where the new one starts.
        factories: of the optimisers of reconstruction and ψ.
        steps: design steps for the parameters that stay free.
        progress: called with the fraction done.
        begin: the search as it was before the optimisation (it is copied); None: that of the experiment. An
            estimator has learned nothing that depends on ψ, and that of the experiment is used.
        note: called with what the user should be told.

    Returns:
        The design with gridded, integer and categorical parameters fixed; None if there is nothing to move.

    Raises:
        ModeOptError: if no design on the grid satisfies the constraints.
    """
    snapped = experiment.design.snapped()
    if snapped.free_names == experiment.design.free_names:
        return None
    if not snapped.free_names or steps == 0:
        return snapped
    again = Experiment(
        snapped.to(experiment.design.psi.device),
        experiment.simulator.simulator,
        experiment.primaries,
        experiment.reconstruction,
        experiment.objective,
        copy.deepcopy(begin) if isinstance(begin, DesignSearch) else experiment.gradient,
    )
    again.reconstruction.load_state_dict(alternation.reconstruction.module.state_dict())
    polish = Alternation(again, replace(alternation.effort, warm_up=0), alternation.seed + 1)
    reconstruction, design = factories
    optimisers = Optimisers(reconstruction(list(again.reconstruction.parameters())), design([snapped.psi]))
    try:
        _polish(polish, optimisers, steps, progress, note)
    except SimulationError as error:
        note(f"the design that can be built was not optimised further ({error})")
    finally:
        experiment.simulator.calls += again.simulator_calls
    polish.finish()
    return snapped


def _polish(
    alternation: Alternation, optimisers: Optimisers, steps: int, progress: Progress, note: Callable[[str], None]
) -> None:
    for _ in alternation.warm_up(optimisers):  # of no steps: a search takes its first look
        pass
    for step in range(steps):
        for text in alternation.step(optimisers).notes:
            note(text)
        progress("polishing the rest", (step + 1) / steps)
