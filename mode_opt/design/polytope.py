"""What bounds and linear constraints leave: its centre, and how to fill it with points."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError

MARGIN = 1e-6
"""Relative distance kept from a limit, above the rounding error of a sum in float32."""


@dataclass(frozen=True, eq=False)
class Polytope:
    """``{x : lower <= x <= upper, matrix @ x <= limit}`` with a centre inside (float64, field units).

    Attributes:
        lower, upper: ``d``, infinite where unbounded.
        matrix: ``m x d``.
        limit: ``m``.
        centre: ``d``.
        scale: ``d``, lengths to measure with.
    """

    lower: Tensor
    upper: Tensor
    matrix: Tensor
    limit: Tensor
    centre: Tensor
    scale: Tensor

    def within(self, lower: Tensor, upper: Tensor, point: Tensor) -> "Polytope":
        """The part within a smaller box around a point (``d`` each).

        Its centre lies from the point half-way towards where the line to the old centre leaves the box:
        inside even if the point is on the boundary.
        """
        towards = self.centre - point
        room = torch.where(towards > 0, upper - point, point - lower)
        steps = torch.where(towards == 0, torch.inf, room / towards.abs().clamp(min=1e-300))
        step = min(1.0, 0.5 * float(steps.min())) if len(steps) else 1.0
        return Polytope(lower, upper, self.matrix, self.limit, point + step * towards, self.scale)

    def fill(self, x: Tensor) -> Tensor:
        r"""Map the box onto the polytope, ``b x d -> b x d``, moving as little as possible.

        With :math:`r = x - x_0`, :math:`p` and :math:`q` the gauges of box and half-spaces,

        .. math:: \phi = x_0 + r / (1 + \max(0, q(r) - p(r))).

        Along a ray, :math:`r = t e`, this takes :math:`t \in [0, 1/p)` to :math:`[0, 1/\max(p, q))`, strictly
        increasing; it is the identity wherever the box is met before a constraint.
        """
        r = x - self.centre
        return self.centre + r / (1 + (self._constraints(r) - self._box(r)).clamp(min=0))

    def _constraints(self, r: Tensor) -> Tensor:
        return (r @ (self.matrix / (self.limit - self.matrix @ self.centre)[:, None]).T).amax(1, keepdim=True)

    def _box(self, r: Tensor) -> Tensor:
        above, below = 1 / (self.upper - self.centre), 1 / (self.centre - self.lower)
        return torch.maximum(r * above, -r * below).amax(1, keepdim=True)


@final
class Problem:
    """The polytope of all free numeric columns in the making: finds its centre.

    Args:
        lower, upper: ``d``.
        matrix, limit: ``m x d`` and ``m``, the constraints ``matrix @ x <= limit``.
        start, scale: ``d``, a point to stay near in unbounded directions, and lengths to measure with.
        names: of the constraints, for messages.
    """

    def __init__(
        self,
        lower: np.ndarray,
        upper: np.ndarray,
        matrix: np.ndarray,
        limit: np.ndarray,
        start: np.ndarray,
        scale: np.ndarray,
        names: list[str],
    ) -> None:
        self.lower, self.upper, self.start, self.scale, self.names = lower, upper, start, scale, names
        self.matrix = matrix
        # sum |a_j x_j| bounds the rounding error of the sum; it is at most c + 2 sum of the negative parts
        # (unbounded ones cannot be covered: there the constraint holds up to rounding)
        low, high = (np.where(np.isfinite(side), side, 0.0) for side in (lower, upper))
        most = np.maximum(-matrix * low, -matrix * high)
        self.limit = limit - MARGIN * (np.abs(limit) + 2 * np.maximum(most, 0).sum(1))

    def polytope(self) -> Polytope:
        """The polytope with its analytic centre.

        Raises:
            ConfigurationError: if the constraints leave no room.
        """
        centre = self._analytic(self._chebyshev())
        parts = (self.lower, self.upper, self.matrix, self.limit, centre, self.scale)
        return Polytope(*(torch.from_numpy(np.ascontiguousarray(part, dtype=float)) for part in parts))

    def _chebyshev(self) -> np.ndarray:
        """Centre of the largest ball, in units of ``scale``, by linear programming."""
        from scipy.optimize import linprog

        rows = self.matrix * self.scale
        norms = np.linalg.norm(rows, axis=1)
        low, high = (self.lower - self.start) / self.scale, (self.upper - self.start) / self.scale
        eye = np.eye(len(low))
        finite_low, finite_high = np.isfinite(low), np.isfinite(high)
        above = np.vstack([rows / norms[:, None], eye[finite_high], -eye[finite_low]])
        limits = [(self.limit - self.matrix @ self.start) / norms, high[finite_high], -low[finite_low]]
        system = np.hstack([above, np.ones((len(above), 1))])
        objective = np.r_[np.zeros(len(low)), -1.0]
        box = [(None, None)] * len(low) + [(None, 1.0)]
        found = linprog(objective, A_ub=system, b_ub=np.concatenate(limits), bounds=box)
        if found.x is None or found.x[-1] < 1e-7:
            expected = "constraints and bounds that leave room for more than a single design together"
            raise ConfigurationError("design.constraints", self.names, expected)
        return self.start + self.scale * found.x[:-1]

    def _analytic(self, x: np.ndarray) -> np.ndarray:
        """Maximum of the sum of the logarithms of all slacks, by damped Newton steps.

        Well inside in every direction, which a Chebyshev centre is only in the narrowest. In directions
        without bounds a parabola about the start value keeps it finite.
        """
        rows = self.matrix * self.scale
        z = (x - self.start) / self.scale
        low, high = (self.lower - self.start) / self.scale, (self.upper - self.start) / self.scale
        limit = self.limit - self.matrix @ self.start
        pull = 1e-2 + (~np.isfinite(low) | ~np.isfinite(high))
        for _ in range(100):
            slack, above, below = 1 / (limit - rows @ z), 1 / (high - z), 1 / (z - low)
            gradient = rows.T @ slack + above - below + pull * z
            hessian = (rows.T * slack**2) @ rows + np.diag(above**2 + below**2 + pull)
            step = np.linalg.solve(hessian, gradient)
            decrement = float(np.sqrt(max(gradient @ step, 0.0)))
            z = z - step / (1 + decrement)
            if decrement < 1e-8:
                break
        return self.start + self.scale * z
