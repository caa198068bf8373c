"""The Gaussian process behind the Bayesian searches."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from botorch.models import SingleTaskGP

MOST = 500
"""Evaluations that a fit uses: its time grows as their cube."""

ALWAYS = 40
"""Evaluations up to which the hyperparameters are fitted anew each time; later whenever a tenth more are there."""


@contextmanager
def undisturbed(seed: int) -> Iterator[None]:
    """torch's global random numbers from this seed, given back afterwards; numerical warnings of BoTorch unheard."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        yield


def clipped(values: Tensor, at_least: float = -math.inf) -> Tensor:
    """Values above ``median + 3 (median − lowest)`` taken down to it: how bad the bad designs are does not matter.

    Args:
        values: ``m``.
        at_least: the limit, where that is higher.
    """
    median = values.median()
    return values.clamp_max(max(float(median + 3 * (median - values.min())), at_least))


class Surface:
    """A Gaussian process of −J over the unit cube, whose hyperparameters are fitted now and then.

    An instance holds the hyperparameters, so that they can be saved; `model` gives the process.
    """

    def __init__(self) -> None:
        self.hyperparameters: dict[str, Tensor] = {}
        self.fitted_with = 0

    def state(self) -> dict[str, Any]:
        """To be saved."""
        return {"hyperparameters": dict(self.hyperparameters), "fitted_with": self.fitted_with}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.hyperparameters, self.fitted_with = dict(state["hyperparameters"]), int(state["fitted_with"])

    def model(
        self,
        unit: Tensor,
        values: Tensor,
        variances: Tensor | None,
        near: Tensor,
        most: float = -math.inf,
    ) -> "SingleTaskGP":
        """The process given ``m`` values, of which the `MOST` nearest to ``near`` are used.

        Args:
            unit: ``m x d`` in the unit cube.
            values: ``m``, smaller is better.
            variances: ``m``; None: one noise for all is fitted.
            near: ``1 x d``.
            most: value up to which values are not `clipped`.
        """
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from gpytorch.mlls import ExactMarginalLogLikelihood

        count, kept = len(values), _nearest(unit, near)
        noise = None if variances is None else variances[kept, None]
        model = SingleTaskGP(unit[kept], -clipped(values, most)[kept, None], noise)
        known = {name for name, _ in model.named_parameters()} == set(self.hyperparameters)
        if known:
            model.load_state_dict(self.hyperparameters, strict=False)
        if not known or count <= ALWAYS or count >= 1.1 * self.fitted_with:
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
            self.hyperparameters = {name: value.detach().clone() for name, value in model.named_parameters()}
            self.fitted_with = count
        return model.eval()


def _nearest(unit: Tensor, near: Tensor) -> Tensor:
    """Indices of the evaluations that are used, in the order in which they were made."""
    if len(unit) <= MOST:
        return torch.arange(len(unit))
    return (unit - near).square().sum(1).topk(MOST, largest=False).indices.sort().values


@torch.no_grad()
def believed(model: "SingleTaskGP", unit: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of J, ``m`` each."""
    posterior = model.posterior(unit)
    return -posterior.mean[:, 0], posterior.variance[:, 0].clamp_min(0.0).sqrt()
