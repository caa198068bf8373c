"""Direct regression of the objective on the design, and steps to the minimum of what was learnt."""

import math
from typing import Any, final

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from mode_opt.errors import NonFiniteError
from mode_opt.events import Events
from mode_opt.gradients.local_search import LocalSearch
from mode_opt.gradients.replay import Batch
from mode_opt.gradients.sampling import Sampling
from mode_opt.gradients.search import Pipeline
from mode_opt.gradients.trust_region import TrustRegion
from mode_opt.objectives import Estimate, jackknife_of
from mode_opt.simulation import Simulator
from mode_opt.surrogates.gaussian_process import GaussianProcess, Posterior

MOST_KNOWN = 20
"""Numbers of the primaries that the regression is given; with more of them it learns from the design alone."""
RESOLVED = 0.8
"""Largest radius in length scales of the process."""
STARTS = 4
"""Random points of the region from which the minimum of the model is looked for, besides the centre."""


@final
class LocalRegression(LocalSearch):
    """A Gaussian process of the objective's values near ψ, given what is known of each event, and its minimum.

    For an objective that is a mean over events, every simulated event is a measurement of J with a design of its own,
    and its primaries are given to the regression, which learns how they act and how noisy each event is
    (`GaussianProcess`). For other objectives a design's events give one value, with its jackknife error.

    The next ψ minimises ``m(ψ') + κ σ(ψ, ψ')`` within the trust region, where m is the posterior mean and σ the
    standard deviation of ``J(ψ') − J(ψ)``: a gain that the model is not sure of counts less.

    Args:
        radius: of the first neighbourhood, in ψ.
        largest_radius: of any.
        sampling: how much is simulated; see `Sampling`.
        window: simulated events from which the model is learnt.
        inducing: points that carry its posterior.
        caution: κ; None is 0.5 for 20 parameters or more, and in proportion less for fewer: of more directions, more
            are unknown.
    """

    def __init__(
        self,
        radius: float = 0.4,
        largest_radius: float = 0.6,
        sampling: Sampling | None = None,
        window: int = 8000,
        inducing: int = 800,
        caution: float | None = None,
    ) -> None:
        region = TrustRegion(radius, min(0.01, radius), max(largest_radius, radius))
        super().__init__(region, sampling or Sampling(), window)
        self.process = GaussianProcess(inducing=inducing)
        self.caution = caution
        self._posterior: Posterior | None = None

    def part(self, simulator: Simulator) -> Simulator:
        return simulator

    def _model(self, pipeline: Pipeline, generator: torch.Generator) -> Posterior:
        """The present posterior."""
        if self._posterior is None:
            raise NonFiniteError("LocalRegression: asked before anything was learnt")
        return self._posterior

    def learn(self, pipeline: Pipeline, batch: Batch, centre: Tensor, generator: torch.Generator) -> tuple[str, ...]:
        values, variance = _values(pipeline, batch)
        known = self._known(pipeline, batch)
        self._posterior = self.process.fit(batch.psi, known, values, generator, variance, centre[0])
        # A wider neighbourhood than the learnt length scale resolves would blur the minimum.
        widest = RESOLVED * float(self._posterior.kernel.reach)
        self.region.scale(min(1.0, widest / self.region.radius))
        return ()

    def residual(self, pipeline: Pipeline, batch: Batch, generator: torch.Generator) -> Estimate:
        posterior = self._model(pipeline, generator)
        values, variance = _values(pipeline, batch)
        expected, noise = posterior.predict(batch.psi, self._known(pipeline, batch))
        noise = noise if variance is None else noise + variance
        weight = 1 / noise
        residual = (weight * (values - expected)).sum() / weight.sum()
        return Estimate(float(residual), float(weight.sum().rsqrt()))

    def minimise(self, pipeline: Pipeline, centre: Tensor, generator: torch.Generator) -> tuple[Tensor, Estimate]:
        posterior, radius = self._model(pipeline, generator), self.region.radius
        start = centre[0].double().cpu()
        caution = min(0.5, 0.025 * len(start)) if self.caution is None else self.caution
        bounds = list(zip((start - radius).tolist(), (start + radius).tolist(), strict=True))

        def pessimistic(psi: np.ndarray) -> tuple[float, np.ndarray]:
            point = torch.from_numpy(psi).unsqueeze(0).requires_grad_()
            value = posterior.mean(point)[0] + caution * posterior.difference_error(point, start[None])[0]
            value = value + self._penalty(pipeline, point)
            value.backward()
            assert point.grad is not None  # torch's, after backward
            return float(value.detach()), point.grad[0].numpy()

        unit = 2 * torch.rand(STARTS, len(start), generator=generator, dtype=torch.float64) - 1
        starts = [start, *(start + radius * unit)]
        found = [minimize(pessimistic, s.numpy(), jac=True, method="L-BFGS-B", bounds=bounds) for s in starts]
        best = torch.from_numpy(min(found, key=lambda result: float(result.fun)).x)
        # Designs are drawn in a box; its corners, in many dimensions, are farther out than any of them.
        limit, length = 1.2 * radius * math.sqrt(len(start) / 3), float((best - start).norm())
        end = (start + (best - start) * min(1.0, limit / max(length, 1e-12)))[None]
        return end.to(centre), self._gain(pipeline, posterior, start[None], end)

    def value(self, pipeline: Pipeline, psi: Tensor, generator: torch.Generator) -> Estimate:
        posterior = self._model(pipeline, generator)
        with torch.no_grad():
            return Estimate(float(posterior.mean(psi)[0]), float(posterior.value_error(psi)[0]))

    def gain(self, pipeline: Pipeline, start: Tensor, end: Tensor, generator: torch.Generator) -> Estimate:
        return self._gain(pipeline, self._model(pipeline, generator), start, end)

    def model_state(self) -> dict[str, Any]:
        posterior = None if self._posterior is None else self._posterior.state()
        return {"process": self.process.state(), "posterior": posterior}

    def restore(self, state: dict[str, Any]) -> None:
        self.process.load(state["process"])
        self._posterior = None if state["posterior"] is None else Posterior.of(state["posterior"])

    def diagnostics(self) -> dict[str, float]:
        reach = self.process.parameters.get("reach")
        return {} if reach is None else {"length_scale": float(reach.exp())}

    @staticmethod
    def _penalty(pipeline: Pipeline, point: Tensor) -> Tensor:
        """Of one design, exactly."""
        return pipeline.penalty(pipeline.design.point(point.to(pipeline.design.psi))).sum().double().cpu()

    @classmethod
    def _gain(cls, pipeline: Pipeline, posterior: Posterior, start: Tensor, end: Tensor) -> Estimate:
        """Of objective and penalty."""
        with torch.no_grad():
            gain = posterior.mean(start)[0] - posterior.mean(end)[0]
            gain = gain + cls._penalty(pipeline, start) - cls._penalty(pipeline, end)
            return Estimate(float(gain), float(posterior.difference_error(start, end)[0]))

    @staticmethod
    def _known(pipeline: Pipeline, batch: Batch) -> Tensor:
        known = batch.inputs.hits.flatten(2)
        if not pipeline.additive or known.shape[2] > MOST_KNOWN:
            return known.new_zeros(len(batch.psi), 0)
        return known.mean(1)


def _values(pipeline: Pipeline, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """The objective of each design of a batch, and the variance of each (None: to be learnt)."""
    with torch.no_grad():
        values = pipeline.score(batch.outputs, batch.phi).double().cpu()
    if not bool(values.isfinite().all()):
        raise NonFiniteError("the objective of some simulated designs is NaN or infinite: simulate more events of each")
    if batch.outputs.count < 2 or pipeline.additive:
        return values, None
    variance = [
        jackknife_of(pipeline.score, _one(batch.outputs, k), batch.phi.design(k), 8).estimate().standard_error ** 2
        for k in range(len(values))
    ]
    return values, torch.tensor(variance, dtype=torch.float64)


def _one(events: Events, index: int) -> Events:
    return events.design(index)
