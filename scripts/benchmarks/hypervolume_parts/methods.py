"""Ways to a front: the search for hypervolume, random designs, and a sweep of limits."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.design.lagrangian import inequality_penalty
from mode_opt.gradients import Pipeline
from mode_opt.search import AskTell, BayesianOptimisation, Box, Evaluations, HypervolumeSearch, non_dominated
from mode_opt.search.front import hypervolume
from mode_opt.simulation import Counted, stream

from .problems import PROBLEMS, Problem

LEVELS = {2: 5, 3: 3}
"""Levels of each limit of a sweep, by number of goals; the loosest is none."""
RHO = 10.0


@dataclass(frozen=True)
class Run:
    """One method on one problem with one seed.

    Attributes:
        problem: name.
        method: name.
        seed: of all random numbers.
        designs: evaluated, after each step.
        shares: of the true front's hypervolume that the true values of the front have which the method holds for it.
        seconds: CPU time of method and simulation, per design.
    """

    problem: str
    method: str
    seed: int
    designs: list[int]
    shares: list[float]
    seconds: float

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def pipeline(problem: Problem, design: Design, combined: Callable[[Tensor], Tensor]) -> Pipeline:
    """The problem as a search sees it, whose objective is a function of the goals."""

    def scores(events: object, phi: object) -> Tensor:
        goals = problem.values(events, phi)  # type: ignore[arg-type]
        return torch.cat([combined(goals).unsqueeze(1), goals], 1)

    return Pipeline(
        Counted(problem.simulator()),
        design,
        problem.primaries,
        lambda events, phi: scores(events, phi)[:, 0],
        goals=problem.goals,
        scores=scores,
    )


def scale(problem: Problem) -> tuple[Tensor, Tensor]:
    """Lowest value and range of each goal."""
    low, high = torch.tensor([problem.ranges[name] for name in problem.goals]).T
    return low, high - low


def by_hypervolume(problem: Problem, design: Design, seed: int, count: int) -> Iterator[tuple[int, Tensor]]:
    """`HypervolumeSearch` with the reference point of the problem, two designs at a time."""
    search = HypervolumeSearch(events=problem.events, candidates=2, reference=problem.reference, memory=0.0)
    low, width = scale(problem)
    setting = pipeline(problem, design, lambda goals: ((goals - low) / width).sum(1))
    for step in itertools.count():
        search.advance(setting, stream("cpu", seed, "design", step))
        yield search.told.count, search.front(design).designs.values
        if search.told.count >= count:
            return


def at_random(problem: Problem, design: Design, seed: int, count: int) -> Iterator[tuple[int, Tensor]]:
    """The start and a Sobol sequence, and the front of the measured values."""
    search = _Spread(events=problem.events, box=1.5, common_primaries=False)
    setting = pipeline(problem, design, lambda goals: goals.sum(1))
    for step in range(count):
        search.advance(setting, stream("cpu", seed, "design", step))
        yield search.told.count, _front(design, [search.told])


class _Spread(AskTell):
    """Designs of a Sobol sequence in the box."""

    def ask(self, pipeline: Pipeline, fresh: Evaluations, generator: torch.Generator) -> Tensor:
        return Box.of(pipeline.design, self.start, self.width).sobol(self.told.count - 1, self.seed)


def by_sweep(problem: Problem, design: Design, seed: int, count: int) -> Iterator[tuple[int, Tensor]]:
    """`BayesianOptimisation` of the first goal under each of a grid of limits on the others, from the loosest on.

    Each begins at the answer of the one before. The levels lie evenly on the true front, which nobody tells the others.
    """
    low, width = scale(problem)
    number = LEVELS[len(problem.goals)]
    grid = list(itertools.product([1 - k / number for k in range(number)], repeat=len(problem.goals) - 1))
    told: list[Evaluations] = []
    for index, levels in enumerate(grid):
        limits = torch.tensor(levels)

        def combined(goals: Tensor, limits: Tensor = limits) -> Tensor:
            unit = (goals - low) / width
            excess = torch.where(limits < 1, unit[:, 1:] - limits, -1.0)
            return unit[:, 0] + inequality_penalty(excess, torch.zeros(len(limits)), RHO)

        search, setting = BayesianOptimisation(events=problem.events, initial=3), pipeline(problem, design, combined)
        share = count * (index + 1) // len(grid) - count * index // len(grid)
        for step in range(share):
            search.advance(setting, stream("cpu", seed, "level", index, "design", step))
            yield sum(one.count for one in told) + search.told.count, _front(design, [*told, search.told])
        told.append(search.told)
        with torch.no_grad():
            design.psi.copy_(search.answer(design))


def _front(design: Design, told: list[Evaluations]) -> Tensor:
    """Designs whose measured values no other one beats."""
    flags = non_dominated(torch.cat([one.goals for one in told]))
    return design.point(torch.cat([one.psi for one in told])[flags].to(design.psi)).detach().values


METHODS: Mapping[str, tuple[str, Callable[[Problem, Design, int, int], Iterator[tuple[int, Tensor]]]]] = {
    "hypervolume": ("`hypervolume`", by_hypervolume),
    "sweep": ("sweep of limits, `bayesian`", by_sweep),
    "random": ("random designs", at_random),
}


def carried_out(name: str, method: str, seed: int) -> Run:
    """A run."""
    problem = PROBLEMS[name]()
    design, known = problem.design(), dict[tuple[float, ...], Tensor]()
    reference = torch.tensor([problem.reference[goal] for goal in problem.goals], dtype=torch.float64)
    run, begin = Run(name, method, seed, [], [], 0.0), time.process_time()
    seconds = 0.0
    for evaluated, values in METHODS[method][1](problem, design, seed, problem.designs):
        seconds += time.process_time() - begin
        for row in values:
            if tuple(row.tolist()) not in known:
                known[tuple(row.tolist())] = problem.truth(DesignPoint(row[None], design.layout)).double()
        true = torch.cat([known[tuple(row.tolist())] for row in values])
        run.designs.append(evaluated)
        run.shares.append(hypervolume(true, reference) / problem.volume())
        begin = time.process_time()
    return replace(run, seconds=seconds / run.designs[-1])
