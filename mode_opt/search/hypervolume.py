"""Searching for the whole front of several goals: designs of which the most hypervolume is expected."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.gradients import Pipeline
from mode_opt.objectives import Estimate
from mode_opt.search.base import AskTell, positive, seed_of
from mode_opt.search.box import Box
from mode_opt.search.evaluations import GROUPS, Evaluations
from mode_opt.search.front import Front, hypervolume, non_dominated, reference_point
from mode_opt.search.hypervolume_gain import Violation, allowed, most_gaining, promising, violation
from mode_opt.search.kept import KeptEvents
from mode_opt.search.surface import Surface, believed, undisturbed

if TYPE_CHECKING:
    from botorch.models import SingleTaskGP

SPREAD = 512
"""Designs of the box of which the front that the processes expect is made."""


@final
class HypervolumeSearch(AskTell):
    r"""A Gaussian process for each goal, and the designs of which the front gains most.

    The goals are the objectives of which the objective of the experiment is made (`Objective.parts`: the terms of a
    weighted sum, an objective and those under limits, lexicographic goals); smaller is better in each. All are measured
    on the same events of a design, which are reconstructed once. The first designs are the start and a scrambled Sobol
    sequence; each further one is where the noisy expected improvement of the hypervolume,

    .. math:: E\left[V(F \cup \{J(\psi)\}) - V(F)\right], \qquad F = \{J(\psi_i)\},

    is largest: V is the volume that a set of values dominates below the reference point, and the expectation is over
    J at the evaluated designs, too, whose values are known with errors only. A design that fails has the worst value
    seen of each goal. Nonlinear constraints are known without simulation: a design that breaks them is not on the
    front, and each goal of it counts as worse in the search.

    The answer is, of the designs that no other one beats in all goals, the one with the lowest objective of the
    experiment, by the posterior means of the processes; `front` gives all of them.

    While a reconstruction learns, earlier values become stale. The events of evaluated designs are kept (``memory``)
    and judged again with the present reconstruction when it has changed; no event is simulated again. A design whose
    events were dropped keeps its last values.

    For up to about 15 parameters and 2 to 4 goals, and where one evaluation is dear: beside it stands a second or more
    of computing.

    Args:
        events: of an evaluation; None: 20 if a single event has a value, else 500.
        box: half width in ψ of the box around the start, for parameters without two bounds.
        initial: designs before the processes decide; None: 2 d + 2, at most 30.
        candidates: designs chosen together and simulated in one call.
        common_primaries: all designs have the same primaries.
        goals: names of the parts that span the front; None: all.
        reference: a value of each goal, by name, beyond which a design is of no use; None: a tenth of the range of the
            front beyond its worst values, in each step of the front that the processes expect in the box, so that
            its ends are looked for too.
        memory: MiB of events that are kept, and saved with each checkpoint.

    Raises:
        ConfigurationError: for an option that is not positive; in a run, if the objective has not two such goals.

    Source: S. Daulton, M. Balandat and E. Bakshy, NeurIPS 2021, arXiv 2105.08195 (noisy expected hypervolume
    improvement); S. Ament et al., NeurIPS 2023, arXiv 2310.20708 (its logarithm).
    """

    def __init__(
        self,
        events: int | None = None,
        box: float = 1.5,
        initial: int | None = None,
        candidates: int = 1,
        common_primaries: bool = False,
        goals: Sequence[str] | None = None,
        reference: Mapping[str, float] | None = None,
        memory: float = 64.0,
    ) -> None:
        super().__init__(events, box, common_primaries)
        self.initial = None if initial is None else positive("initial", initial, 2, whole=True)
        self.candidates = positive("candidates", candidates, 1, whole=True)
        self.wanted = None if goals is None else tuple(goals)
        self.given = None if reference is None else {name: float(value) for name, value in reference.items()}
        self.kept = KeptEvents(0.0 if memory == 0 else positive("memory", memory))
        self._forget()

    def _forget(self) -> None:
        self.names, self.places = tuple[str, ...](), list[int]()
        self.surfaces: dict[str, Surface] = {}
        self.believed = self.deviations = self.reference = torch.zeros(0, dtype=torch.float64)
        self.columns: dict[str, float] = {}
        self.kept.events = {}

    def begin(self, design: Design, generator: torch.Generator) -> Tensor:
        self._forget()
        return self.start

    def prepare(self, pipeline: Pipeline, generator: torch.Generator) -> None:
        """Refuse an objective without two goals before anything is simulated."""
        self._choose(pipeline)

    def keep(self, row: int, events: Events) -> None:
        self.kept.add(self.told.count + row, events)

    def _choose(self, pipeline: Pipeline) -> None:
        """Which of the parts span the front: their names, and places among all."""
        names = pipeline.goals if self.wanted is None else self.wanted
        if len(set(names)) < 2 or not set(names) <= set(pipeline.goals):
            known = ", ".join(pipeline.goals) or "none: the objective is not made of others, as a weighted sum is"
            raise ConfigurationError("gradient.goals", list(names), f"at least two parts of the objective ({known})")
        if self.given is not None and set(self.given) != set(names):
            raise ConfigurationError("gradient.reference", dict(self.given), f"a number for each of {list(names)}")
        self.names, self.places = tuple(names), [pipeline.goals.index(name) for name in names]

    def ask(self, pipeline: Pipeline, fresh: Evaluations, generator: torch.Generator) -> Tensor:
        self._choose(pipeline)
        box = self.box(pipeline.design)
        self.kept.limit(self.told)
        self.told, again = self.kept.judged_anew(pipeline, self.told, fresh.count)
        self.columns = {"judged_anew": float(again)}
        wanted = min(2 * self.start.shape[1] + 2, 30) if self.initial is None else self.initial
        known = self._known()
        if self.told.count < wanted or int(known.sum()) < 2:
            count = max(1, min(self.candidates, wanted - self.told.count))
            return box.sobol(self.told.count - 1, self.seed, count)
        fit = known & allowed(pipeline.design, self.told.psi)
        with undisturbed(seed_of(generator)):
            return self._learnt(pipeline, box, fit if bool(fit.any()) else known)

    def _known(self) -> Tensor:
        """``m`` flags: designs with a value of each goal."""
        return self.told.succeeded & self.told.goals[:, self.places].isfinite().all(1)

    def _learnt(self, pipeline: Pipeline, box: Box, fit: Tensor) -> Tensor:
        """Fit the processes, keep the best of the designs that are ``fit``, and choose further ones."""
        unit, excess = box.unit(self.told.psi), violation(pipeline.design, box)
        models = [self._model(pipeline, unit, fit, column) for column in range(len(self.names))]
        self.believed, self.deviations = _of_all(models, unit)
        self.reference = self._reference(models, box, fit, excess)
        self._judge(pipeline, unit, fit)
        baseline = unit[fit][promising(self.believed[fit])]
        ranges = (self.reference - self.believed[fit].min(0).values).clamp_min(1e-30)
        asked, gain = most_gaining(models, self.reference, ranges, baseline, self.candidates, excess)
        self.columns["expected_hypervolume_gain"] = gain
        return box.psi(asked)

    def _model(self, pipeline: Pipeline, unit: Tensor, fit: Tensor, column: int) -> "SingleTaskGP":
        """The process of one of the goals."""
        goal = self.places[column]
        values, variances = self.told.goals[:, goal], self.told.goal_variances(goal, self._groups(pipeline))
        values = torch.where(values.isfinite(), values, values[values.isfinite()].max())
        # Designs that are bad in one goal and on the front by another keep their values.
        most = reference_point(self.told.goals[fit][:, self.places])[column]
        surface = self.surfaces.setdefault(self.names[column], Surface())
        return surface.model(unit, values, variances, unit[-1:], float(most))

    def _groups(self, pipeline: Pipeline) -> int:
        """Of how many numbers the error of a value is made."""
        events = self.events_of(pipeline)
        return events if pipeline.additive else min(events, GROUPS)

    def _reference(self, models: Sequence["SingleTaskGP"], box: Box, fit: Tensor, excess: Violation | None) -> Tensor:
        if self.given is not None:
            return torch.tensor([self.given[name] for name in self.names], dtype=torch.float64)
        spread = box.unit(box.sobol(0, self.seed, SPREAD))
        if excess is not None:
            spread = spread[excess(spread).detach() == 0]
        return reference_point(torch.cat([self.believed[fit], _of_all(models, spread)[0]]))

    def _judge(self, pipeline: Pipeline, unit: Tensor, fit: Tensor) -> None:
        """Keep the design of the front with the lowest objective of the experiment."""
        variances = self.told.variances(self._groups(pipeline))
        surface = self.surfaces.setdefault("", Surface())
        mean, deviation = believed(surface.model(unit, self.losses(pipeline), variances, unit[-1:]), unit)
        front = fit.clone()
        front[fit] = non_dominated(self.believed[fit])
        first = int(torch.where(front, mean, torch.inf).argmin())
        self.best = self.told.psi[first : first + 1].clone()
        self.best_value = Estimate(float(mean[first]), float(deviation[first]))
        self.columns["front_designs"] = float(front.sum())
        self.columns["hypervolume"] = hypervolume(self.believed[fit], self.reference)
        self.columns |= {f"reference/{name}": float(at) for name, at in zip(self.names, self.reference, strict=True)}

    def front(self, design: Design, measured: bool = False) -> Front:
        """The designs that satisfy every constraint and that no other one beats in all goals.

        Args:
            design: that was searched.
            measured: with the values that were measured, whose best ones are in part the luckiest; if not, with the
                posterior means and deviations of the processes, once they exist.

        Raises:
            ConfigurationError: before anything is known of this design.
        """
        if self.told.psi.shape[1] != design.psi.shape[1] or not self.names:
            raise ConfigurationError("gradient", "HypervolumeSearch", "a search that has made a step with this design")
        values, errors = self.told.goals[:, self.places], self.told.goal_errors[:, self.places]
        rows = allowed(design, self.told.psi) & values.isfinite().all(1)
        if not measured and len(self.believed) == len(values):
            values, errors = self.believed, self.deviations
        points = design.point(self.told.psi.to(design.psi)).detach()
        return Front(self.names, ("",) * len(self.names), values, errors, points).rows(rows).thinned()

    def own_columns(self) -> dict[str, float]:
        return {**self.columns, "best_value_standard_error": self.best_value.standard_error}

    def own_state(self) -> dict[str, Any]:
        tensors = {name: getattr(self, name) for name in ("believed", "deviations", "reference")}
        surfaces = {name: surface.state() for name, surface in self.surfaces.items()}
        return {
            **tensors,
            "names": list(self.names),
            "places": self.places,
            "surfaces": surfaces,
            "kept": self.kept.state(),
        }

    def load_own_state(self, state: dict[str, Any]) -> None:
        for name in ("believed", "deviations", "reference"):
            setattr(self, name, state[name])
        self.names, self.places, self.surfaces = tuple(state["names"]), list(state["places"]), {}
        for name, saved in state["surfaces"].items():
            self.surfaces[name] = Surface()
            self.surfaces[name].load(saved)
        self.kept.load(state["kept"])


def _of_all(models: Sequence["SingleTaskGP"], unit: Tensor) -> tuple[Tensor, Tensor]:
    """Means and deviations of each goal, ``m x k``."""
    found = [believed(model, unit) for model in models]
    return torch.stack([mean for mean, _ in found], 1), torch.stack([deviation for _, deviation in found], 1)
