"""Functions of a design alone, the expected responses of the problems."""

from abc import ABC, abstractmethod
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from mode_opt.errors import ConfigurationError


def orthonormal(rows: int, columns: int, generator: np.random.RandomState) -> Tensor:
    """``rows x columns`` with orthonormal columns: the QR factor of a standard normal matrix, float32."""
    factor, _ = np.linalg.qr(generator.randn(rows, columns))
    return torch.from_numpy(factor).float()


def random_state(seed: int) -> np.random.RandomState:
    """numpy's legacy generator, whose numbers for a seed are frozen."""
    return np.random.RandomState(seed)


class Landscape(nn.Module, ABC):
    """A smooth function of designs ``b x d``, evaluated in their dtype."""

    @property
    @abstractmethod
    def optima(self) -> Tensor:
        """Where it is 0, its minimum: ``k x d``, float64."""

    @abstractmethod
    def forward(self, point: Tensor) -> Tensor:
        """``b`` values of ``b x d`` designs."""


@final
class Rosenbrock(Landscape):
    """``Σ_{i<k} (z_{i+1} − z_i²)² + (1 − z_i)²`` with ``z = φ``, or ``z = Qᵀφ`` where it is embedded; 0 at z = 1.

    The coefficient of the first term is 1 (as in the reference), not the usual 100. Of the embedded function the
    minimum is an affine set; ``optima`` has its point next to 0, ``Q 1``.

    Args:
        dimension: d of the design.
        rank: k, below d where the function is embedded.
        seed: of Q, ``d x k``, the QR factor of a normal matrix from numpy's legacy generator.

    Raises:
        ConfigurationError: for a rank that is not between 2 and the dimension.
    """

    basis: Tensor | None

    def __init__(self, dimension: int, rank: int | None = None, seed: int = 1337) -> None:
        super().__init__()
        rank = dimension if rank is None else rank
        if not 2 <= rank <= dimension:
            raise ConfigurationError("detector.embedding.rank", rank, f"a whole number from 2 to {dimension}")
        self.dimension = dimension
        embedded = orthonormal(dimension, rank, random_state(seed)) if rank < dimension else None
        self.register_buffer("basis", embedded)

    @property
    def optima(self) -> Tensor:
        if self.basis is None:
            return torch.ones(1, self.dimension, dtype=torch.float64)
        return self.basis.double().sum(1, keepdim=True).T

    def forward(self, point: Tensor) -> Tensor:
        z = point if self.basis is None else point @ self.basis.to(point.dtype)
        return ((z[:, 1:] - z[:, :-1] ** 2) ** 2 + (1 - z[:, :-1]) ** 2).sum(1)


@final
class Ellipsoid(Landscape):
    """``c Σ_i λ_i (Rᵀ(φ − φ*))_i² / d`` with a random rotation R and λ from 1 to ``condition`` in equal ratios.

    The elements of φ* are ±``distance`` with random signs, and c makes the value at 0 equal ``height``: at every
    dimension the start 0 has the same value, and each parameter is the same distance away from its best value.

    Args:
        dimension: d.
        condition: largest over smallest curvature (1: a sphere).
        distance: of each parameter from 0 to the minimum.
        height: value at φ = 0.
        seed: of signs and rotation, for numpy's legacy generator.

    Raises:
        ConfigurationError: for a dimension below 1, or other numbers that make no ellipsoid.
    """

    centre: Tensor
    root: Tensor

    def __init__(
        self,
        dimension: int = 8,
        condition: float = 30.0,
        distance: float = 3.0,
        height: float = 45.0,
        seed: int = 1337,
    ) -> None:
        super().__init__()
        if dimension < 1:
            raise ConfigurationError("detector.dimension", dimension, "a whole number, 1 or more")
        for name, value, least in (("condition", condition, 1.0), ("distance", distance, 0.0), ("height", height, 0.0)):
            if not value >= least or value == 0:
                raise ConfigurationError(f"detector.{name}", value, f"a positive number, {least:g} or more")
        generator = random_state(seed)
        centre = distance * torch.from_numpy(np.sign(generator.randn(dimension))).float()
        rotation = orthonormal(dimension, dimension, generator)
        root = torch.logspace(0, 0.5, dimension, base=condition)[:, None] * rotation.T
        self.register_buffer("centre", centre)
        self.register_buffer("root", root * (height**0.5 / (root @ centre).norm()))

    @property
    def optima(self) -> Tensor:
        return self.centre.double()[None]

    def forward(self, point: Tensor) -> Tensor:
        return ((point - self.centre.to(point.dtype)) @ self.root.to(point.dtype).T).square().sum(1)
