"""Which method fits a problem."""

from dataclasses import dataclass

from mode_opt.design import Design
from mode_opt.gradients import DesignSearch, GradientEstimator, LocalRegression, LocalSurrogate, Pathwise, ScoreFunction
from mode_opt.search.base import EVENTS
from mode_opt.search.bayesian import BayesianOptimisation
from mode_opt.simulation import Promise, Simulator
from mode_opt.surrogates import SurrogateFactory

FEW_PARAMETERS = 3
"""Up to here a Gaussian process of J over the whole box needs the fewest simulator calls (docs/benchmarks)."""

SOME_PARAMETERS = 15
"""Up to here it is the better choice where the budget is a small number of evaluations."""

SMALL_BUDGET = 5
"""Evaluations per parameter below which a local model cannot be learnt more than once or twice."""

LARGE_BUDGET = 1000
"""Evaluations beyond which the process forgets more than it can use, so that a local method wins in few dimensions."""


@dataclass(frozen=True)
class Recommendation:
    """A method and why.

    Attributes:
        method: built with its defaults.
        name: of its configuration, as in ``gradient=NAME``.
        reason: one sentence for a person.
    """

    method: GradientEstimator | DesignSearch
    name: str
    reason: str


def recommend(
    simulator: Simulator,
    design: Design,
    simulator_calls: int | None = None,
    additive: bool = False,
    trained: bool = False,
    surrogate: SurrogateFactory | None = None,
) -> Recommendation:
    """The method for a simulator, a number of free parameters and a budget.

    Args:
        simulator: its promise decides first: derivatives that exist are used.
        design: its free parameters count.
        simulator_calls: that may be spent; None: unknown, taken as neither small nor large.
        additive: whether a single event has a value (`Objective.additive`), so that an evaluation needs few events.
        trained: whether a reconstruction is trained on the way. Near the present design it is trained for what it
            sees; designs anywhere in the box, which a global search evaluates, it has never seen.
        surrogate: family of a local surrogate, if that is what is recommended.
    """
    name = type(getattr(simulator, "simulator", simulator)).__name__  # of what is counted, not of the counter
    if simulator.promise == Promise.DIFFERENTIABLE:
        return Recommendation(Pathwise(), "pathwise", f"{name} is differentiable, and its own gradient is the cheapest")
    if simulator.promise == Promise.STOCHASTIC:
        reason = f"{name} records the probabilities of its random choices, which give an unbiased gradient"
        return Recommendation(ScoreFunction(), "score_function", reason)
    return _of_black_box(name, design.psi.shape[1], simulator_calls, additive, trained, surrogate)


def _of_black_box(
    name: str, dimension: int, calls: int | None, additive: bool, trained: bool, surrogate: SurrogateFactory | None
) -> Recommendation:
    evaluations = None if calls is None else calls // EVENTS[additive]
    count = "1 free parameter is" if dimension == 1 else f"{dimension} free parameters are"
    opening = f"{name} is a black box, and {count}"
    if trained:
        reason = f"{opening} best moved step by step, because a reconstruction is trained on the way"
        return Recommendation(LocalSurrogate(surrogate), "local_surrogate", reason)
    if dimension <= FEW_PARAMETERS and (evaluations is None or evaluations <= LARGE_BUDGET):
        reason = f"{opening} few enough for a model of the objective over the whole range"
        return Recommendation(BayesianOptimisation(), "bayesian", reason)
    if dimension <= SOME_PARAMETERS and evaluations is not None and evaluations < SMALL_BUDGET * dimension:
        reason = f"{opening} too many to learn a local model more than once with this budget"
        return Recommendation(BayesianOptimisation(), "bayesian", reason)
    many = "enough" if dimension > FEW_PARAMETERS else "few, but with this budget that is enough"
    if additive:
        reason = f"{opening} {many} for a local model; the objective is a mean over events, which is regressed directly"
        return Recommendation(LocalRegression(), "local_regression", reason)
    reason = (
        f"{opening} {many} for a local model; the objective is no mean over events, so that of the simulator is learnt"
    )
    return Recommendation(LocalSurrogate(surrogate), "local_surrogate", reason)
