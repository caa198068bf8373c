"""Bayesian optimisation with a Gaussian process."""

import math
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.gradients import Pipeline
from mode_opt.objectives import Estimate
from mode_opt.search.base import AskTell, positive, seed_of
from mode_opt.search.evaluations import Evaluations
from mode_opt.search.surface import Surface, believed, undisturbed

if TYPE_CHECKING:
    from botorch.models import SingleTaskGP

BASELINE = 50
"""Evaluated designs that the expected improvement is measured against: those believed to be best."""


@final
class BayesianOptimisation(AskTell):
    """A Gaussian process of J over the box, and the design of which it expects most.

    The first designs are the start and a scrambled Sobol sequence; then each is where the noisy expected improvement
    ``E[max(0, min_i J(ψ_i) − J(ψ))]`` is largest: the expectation is over J at the evaluated designs, too, whose
    values are known with errors only. The noise of the values is that which the jackknife gives, or fitted where an
    evaluation is one event. The answer is the evaluated design with the lowest posterior mean.

    For up to about 15 parameters, and where one evaluation is dear: beside it stands a second of computing.

    Args:
        events: of an evaluation; None: 20 if a single event has a value, else 500.
        box: half width in ψ of the box around the start, for parameters without two bounds.
        initial: designs before the process decides; None: 2 d + 2, at most 30.
        candidates: designs chosen together and simulated in one call.
        common_primaries: all designs have the same primaries.

    Raises:
        ConfigurationError: for an option that is not positive.

    Source: S. Ament et al., NeurIPS 2023, arXiv 2310.20708 (log of the noisy expected improvement); M. Balandat et al.,
    NeurIPS 2020, arXiv 1910.06403 (BoTorch).
    """

    def __init__(
        self,
        events: int | None = None,
        box: float = 1.5,
        initial: int | None = None,
        candidates: int = 1,
        common_primaries: bool = False,
    ) -> None:
        super().__init__(events, box, common_primaries)
        self.initial = None if initial is None else positive("initial", initial, 2, whole=True)
        self.candidates = positive("candidates", candidates, 1, whole=True)
        self.surface, self.expected_improvement = Surface(), math.nan

    def begin(self, design: Design, generator: torch.Generator) -> Tensor:
        self.surface, self.expected_improvement = Surface(), math.nan
        return self.start

    def ask(self, pipeline: Pipeline, fresh: Evaluations, generator: torch.Generator) -> Tensor:
        box, told = self.box(pipeline.design), self.told
        wanted = min(2 * self.start.shape[1] + 2, 30) if self.initial is None else self.initial
        if told.count < wanted or int(told.succeeded.sum()) < 2:
            return box.sobol(told.count - 1, self.seed)
        unit, variances = box.unit(told.psi), told.variances(self.events_of(pipeline))
        with undisturbed(seed_of(generator)):
            model = self.surface.model(unit, self.losses(pipeline), variances, box.unit(self.best))
            promising = self._judge(model, unit)
            return box.psi(self._next(model, promising))

    def _judge(self, model: "SingleTaskGP", unit: Tensor) -> Tensor:
        """Keep the best design; returns the most promising ones, in the unit cube."""
        mean, deviation = believed(model, unit)
        order = torch.where(self.told.succeeded, mean, torch.inf).argsort(stable=True)
        first = int(order[0])
        self.best = self.told.psi[first : first + 1].clone()
        self.best_value = Estimate(float(mean[first]), float(deviation[first]))
        return unit[order[:BASELINE]]

    def _next(self, model: "SingleTaskGP", promising: Tensor) -> Tensor:
        from botorch.acquisition.logei import qLogNoisyExpectedImprovement
        from botorch.optim import optimize_acqf
        from botorch.sampling import SobolQMCNormalSampler

        sampler = SobolQMCNormalSampler(torch.Size([64]), seed=int(torch.randint(2**31 - 1, (1,))))
        gain = qLogNoisyExpectedImprovement(model, promising, sampler, prune_baseline=True)
        limits = torch.stack([torch.zeros_like(promising[0]), torch.ones_like(promising[0])])
        # Half of the designs from which the best are followed uphill are near those believed to be best.
        options = {"maxiter": 30, "sample_around_best": True, "sample_around_best_sigma": 0.05}
        found, value = optimize_acqf(gain, limits, self.candidates, 2, 256, options=options, sequential=True)
        # The acquisition is a logarithm; of several candidates the first has the largest expectation.
        self.expected_improvement = float(value.reshape(-1)[0].exp())
        return found.detach()

    def own_columns(self) -> dict[str, float]:
        error = self.best_value.standard_error
        return {"expected_improvement": self.expected_improvement, "best_value_standard_error": error}

    def own_state(self) -> dict[str, Any]:
        return {"surface": self.surface.state(), "expected_improvement": self.expected_improvement}

    def load_own_state(self, state: dict[str, Any]) -> None:
        self.surface.load(state["surface"])
        self.expected_improvement = state["expected_improvement"]
