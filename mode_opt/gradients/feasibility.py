"""Where simulations fail: learnt from those that did, so that steps and samples keep away."""

from typing import Any, final

import torch
from torch import Tensor

CAPACITY = 2000
"""Designs that are remembered."""
RIDGE = 1.0
"""Of the coefficients of the logistic regression, for steps in units of the radius."""
ITERATIONS = 20
HALVINGS = 20


@final
class Feasibility:
    r"""The probability that a design near ψ can be simulated, by logistic regression on designs that were tried.

    With the step :math:`s = (\psi' - \psi)/r` in units of the neighbourhood's radius,

    .. math:: P(\psi') = \sigma(a + b^T s), \qquad
        \max_{a, b} \sum_k w_k \log P(\pm\psi_k) - \tfrac12 |b|^2, \qquad w_k = e^{-|s_k|^2 / 2d},

    so that tried designs count less the farther away they are, a few failures at random shift ``a`` alone, and a border
    beyond which nothing can be simulated is found by its direction. As long as nothing has failed, P is 1.

    Source: Newton's method for penalised logistic regression, T. Hastie, R. Tibshirani and J. Friedman, "The Elements
    of Statistical Learning", 2nd edition, section 4.4.1.
    """

    def __init__(self) -> None:
        self._psi = torch.zeros(0, 0, dtype=torch.float64)
        self._good = torch.zeros(0, dtype=torch.float64)

    def note(self, psi: Tensor, succeeded: Tensor) -> None:
        """Remember ``b`` designs, ``b x d``, and whether each succeeded, ``b``."""
        psi, good = psi.detach().double().cpu(), succeeded.detach().double().cpu()
        if self._psi.shape[1] != psi.shape[1]:  # another design: nothing of the old one applies
            self._psi, self._good = psi[:0], good[:0]
        self._psi = torch.cat([self._psi, psi])[-CAPACITY:]
        self._good = torch.cat([self._good, good])[-CAPACITY:]

    def probability(self, psi: Tensor, centre: Tensor, radius: float) -> Tensor:
        """``b`` probabilities of success of designs ``b x d`` in a neighbourhood, float64 on the CPU."""
        if len(self._good) == 0 or bool(self._good.all()):
            return torch.ones(len(psi), dtype=torch.float64)
        middle = centre.detach().double().cpu()
        tried = (self._psi - middle) / radius
        weight = torch.exp(-tried.square().sum(1) / (2 * tried.shape[1]))
        coefficients = _logistic(_with_one(tried), self._good, weight)
        return torch.sigmoid(_with_one((psi.detach().double().cpu() - middle) / radius) @ coefficients)

    def shortened(self, start: Tensor, end: Tensor, radius: float) -> Tensor:
        """The farthest point of the way from ``start`` to ``end`` (``1 x d``) that is more likely to succeed than not.

        The end, if it is; the start, if not even that is.
        """

        def likely(share: float) -> bool:
            return float(self.probability(start + share * (end - start), start, radius)[0]) >= 0.5

        if likely(1.0):
            return end
        low, high = 0.0, 1.0
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if likely(middle) else (low, middle)
        return start + low * (end - start)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"psi": self._psi, "good": self._good}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self._psi, self._good = state["psi"], state["good"]


def _with_one(step: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(step[:, :1]), step], 1)


def _logistic(basis: Tensor, good: Tensor, weight: Tensor) -> Tensor:
    """Coefficients of a weighted logistic regression with a ridge (a weak one on the constant), by Newton's method."""
    ridge = torch.full(basis.shape[1:], RIDGE, dtype=basis.dtype)
    ridge[0] = 1e-2
    found = basis.new_zeros(basis.shape[1])
    for _ in range(ITERATIONS):
        likely = torch.sigmoid(basis @ found)
        gradient = basis.T @ (weight * (good - likely)) - ridge * found
        curvature = (basis.T * (weight * likely * (1 - likely))) @ basis + torch.diag(ridge)
        step = torch.linalg.solve(curvature, gradient)
        found = found + step * min(1.0, 5.0 / max(float(step.norm()), 1e-12))
        if float(step.norm()) < 1e-8:
            break
    return found
