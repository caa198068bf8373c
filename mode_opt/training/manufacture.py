"""From the optimum to a design that can be built: stock thicknesses, whole numbers, one material."""

from dataclasses import replace

from mode_opt.design import Design
from mode_opt.experiment import Alternation, Experiment, Optimisers
from mode_opt.experiment.detector import Progress
from mode_opt.training.module import OptimiserFactory


def manufacturable(
    experiment: Experiment,
    alternation: Alternation,
    factories: tuple[OptimiserFactory, OptimiserFactory],
    steps: int,
    progress: Progress,
) -> Design | None:
    """The nearest design on the manufacturing grid, with the rest optimised again.

    Args:
        experiment: optimised.
        alternation: of that optimisation; its averaged reconstruction is where the new one starts.
        factories: of the optimisers of reconstruction and ψ.
        steps: design steps for the parameters that stay free.
        progress: called with the fraction done.

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
        experiment.gradient,
    )
    again.reconstruction.load_state_dict(alternation.reconstruction.module.state_dict())
    polish = Alternation(again, replace(alternation.effort, warm_up=0), alternation.seed + 1)
    reconstruction, design = factories
    optimisers = Optimisers(reconstruction(list(again.reconstruction.parameters())), design([snapped.psi]))
    for step in range(steps):
        polish.step(optimisers)
        progress("polishing the rest", (step + 1) / steps)
    polish.finish()
    experiment.simulator.calls += again.simulator_calls
    return snapped
