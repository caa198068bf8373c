"""Bayesian optimisation in a trust region."""

import math
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError
from mode_opt.gradients import Pipeline
from mode_opt.objectives import Estimate
from mode_opt.search.base import AskTell, positive, seed_of
from mode_opt.search.box import Box
from mode_opt.search.evaluations import Evaluations
from mode_opt.search.surface import Surface, believed, undisturbed

if TYPE_CHECKING:
    from botorch.models import SingleTaskGP

LONGEST, SHORTEST = 1.6, 0.5**7
"""Sides of the region, in sides of the box: the largest, and that below which it begins anew elsewhere."""

SUCCESSES = 3
"""Rounds in a row that found something better, after which the region doubles."""

SPREAD = 1000
"""Designs of the region among which a sample of the process is minimised."""


@final
class TrustRegionBayesianOptimisation(AskTell):
    """A Gaussian process in a box around the best design, which grows with success and shrinks without (TuRBO-1).

    The first region is around the start and has the start and a Sobol sequence as its first designs. In each round
    ``candidates`` samples of the process (Thompson sampling) are minimised among `SPREAD` designs of the region, in
    each of which on average 20 parameters are moved. The centre is the design with the lowest posterior mean, not
    with the luckiest value. A round is a success if the process then holds another design for better than the
    centre by a thousandth of the spread of the values. After three successes in a row the region doubles, after
    ``max(4, d)/candidates`` failures in a row it halves; one that has become smaller than `SHORTEST` is left for
    a new one at a random place of the box. The answer is the centre of the first region, until that of a later one
    is better by more than the errors of both.

    The processes of the regions are independent: the evaluations of a region that was left are not used.

    Args:
        events: of an evaluation; None: 20 if a single event has a value, else 500.
        box: half width in ψ of the box around the start, for parameters without two bounds.
        initial: designs before the process decides; None: 2 d, at least 4 and at most 30.
        candidates: designs of a round, simulated in one call.
        length: first side of the region, in sides of the box; None: 2/d, from 0.1 to 0.8. (The paper has 0.8 for all:
            in ten dimensions most of so large a region is far worse than a start that somebody has chosen.)
        common_primaries: all designs have the same primaries.

    Raises:
        ConfigurationError: for an option that is not positive, or a length above 1.6.

    Source: D. Eriksson et al., NeurIPS 2019, arXiv 1910.01739.
    """

    def __init__(
        self,
        events: int | None = None,
        box: float = 1.5,
        initial: int | None = None,
        candidates: int = 4,
        length: float | None = None,
        common_primaries: bool = False,
    ) -> None:
        super().__init__(events, box, common_primaries)
        self.initial = None if initial is None else positive("initial", initial, 2, whole=True)
        self.candidates = positive("candidates", candidates, 1, whole=True)
        self.first_length = None if length is None else positive("length", length)
        if length is not None and length > LONGEST:
            raise ConfigurationError("gradient.length", length, f"at most {LONGEST:g} sides of the box")
        self._renew(0)

    def _renew(self, first: int) -> None:
        """A region whose first evaluation is number ``first``."""
        self.surface, self.first = Surface(), first
        free = min(max(2 / max(self.start.shape[1], 1), 0.1), 0.8)
        self.length = free if self.first_length is None else self.first_length
        self.successes = self.failures = 0
        self.centre, self.centre_value = self.start, Estimate(math.nan, math.nan)

    def begin(self, design: Design, generator: torch.Generator) -> Tensor:
        self._renew(0)
        return self.start

    def ask(self, pipeline: Pipeline, fresh: Evaluations, generator: torch.Generator) -> Tensor:
        box, told = self.box(pipeline.design), self.told.since(self.first)
        d = self.start.shape[1]
        wanted = min(max(2 * d, 4), 30) if self.initial is None else self.initial
        if told.count < wanted or int(told.succeeded.sum()) < 2:
            return self._around(box, self.centre, wanted, told.count)
        unit, variances = box.unit(told.psi), told.variances(self.events_of(pipeline))
        with undisturbed(seed_of(generator)):
            values = self.losses(pipeline, told)
            model = self.surface.model(unit, values, variances, box.unit(self.centre))
            self._judge(model, unit, told, values, box, told.count > wanted + self.candidates)
            if self.length >= SHORTEST:
                return box.psi(self._sampled(model, box.unit(self.centre)))
        return self._elsewhere(box)

    def _around(self, box: Box, centre: Tensor, wanted: int, known: int) -> Tensor:
        """Further first designs of a region, as many as are missing but no more than belong to a round."""
        count = max(1, min(self.candidates, wanted - known))
        low, high = _region(box.unit(centre), self.length, torch.ones_like(centre))
        unit = box.unit(box.sobol(self.told.count - 1, self.seed, count))
        return box.psi(low + unit * (high - low))

    def _judge(
        self, model: "SingleTaskGP", unit: Tensor, told: Evaluations, values: Tensor, box: Box, counts: bool
    ) -> None:
        """Move the centre to the best design, and grow or shrink."""
        mean, deviation = believed(model, unit)
        first = int(torch.where(told.succeeded, mean, torch.inf).argmin())
        before = believed(model, box.unit(self.centre))[0]
        gain = float(before - mean[first]) > 1e-3 * float(values.std())
        self.centre = told.psi[first : first + 1].clone()
        self.centre_value = Estimate(float(mean[first]), float(deviation[first]))
        if self._best_is_here(told) or self._surpasses():
            self.best, self.best_value = self.centre, self.centre_value
        if counts:
            self._resize(gain)

    def _best_is_here(self, told: Evaluations) -> bool:
        return bool((told.psi == self.best).all(1).any())

    def _surpasses(self) -> bool:
        """Whether this centre is better than the best of another region by more than the errors of both."""
        margin = self.centre_value.standard_error + self.best_value.standard_error
        return math.isnan(self.best_value.value) or self.centre_value.value + margin < self.best_value.value

    def _resize(self, success: bool) -> None:
        self.successes, self.failures = (self.successes + 1, 0) if success else (0, self.failures + 1)
        patience = math.ceil(max(4, self.start.shape[1]) / self.candidates)
        if self.successes == SUCCESSES:
            self.length, self.successes = min(2 * self.length, LONGEST), 0
        elif self.failures >= patience:
            self.length, self.failures = self.length / 2, 0

    def _elsewhere(self, box: Box) -> Tensor:
        """The first design of a new region."""
        self._renew(self.told.count)
        self.centre = box.sobol(self.told.count - 1, self.seed)
        return self.centre

    def _sampled(self, model: "SingleTaskGP", centre: Tensor) -> Tensor:
        """``candidates`` minima of samples of the process in the region, in the unit cube."""
        scale = (
            model.covar_module.lengthscale.detach() if hasattr(model.covar_module, "lengthscale") else centre * 0 + 1
        )
        low, high = _region(centre, self.length, scale)
        d = centre.shape[1]
        engine = torch.quasirandom.SobolEngine(d, scramble=True, seed=int(torch.randint(2**31 - 1, (1,))))
        spread = low + engine.draw(SPREAD, dtype=torch.float64) * (high - low)
        moved = torch.rand(SPREAD, d) <= min(1.0, 20 / d)
        moved[torch.arange(SPREAD), torch.randint(d, (SPREAD,))] = True
        among = torch.where(moved, spread, centre)
        with torch.no_grad():
            samples = model.posterior(among).rsample(torch.Size([self.candidates]))[..., 0]
        return among[samples.argmax(1)]

    def own_columns(self) -> dict[str, float]:
        return {"radius": self.length / 2, "best_value_standard_error": self.best_value.standard_error}

    def own_state(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in ("length", "first", "successes", "failures")}
        centre = {"centre": self.centre, "centre_value": list(self.centre_value.as_dict().values())}
        return {**numbers, **centre, "surface": self.surface.state()}

    def load_own_state(self, state: dict[str, Any]) -> None:
        for name in ("length", "first", "successes", "failures", "centre"):
            setattr(self, name, state[name])
        self.centre_value = Estimate(*state["centre_value"])
        self.surface.load(state["surface"])


def _region(centre: Tensor, length: float, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Corners of the region, ``1 x d``: sides in the ratio of the lengths over which the process changes."""
    weights = scale / scale.log().mean().exp()
    half = weights * length / 2
    return (centre - half).clamp(0, 1), (centre + half).clamp(0, 1)
