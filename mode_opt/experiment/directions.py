"""In which quantities a gradient is reported: physical parameters, ψ, or a few directions of ψ."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mode_opt.design import Design

WORST_CONDITION = 1e3
"""Condition number of dφ/dψ, its columns scaled, above which the map counts as not invertible."""


@dataclass(frozen=True, eq=False)
class Directions:
    """``p`` directions of ψ, and what is reported of the derivatives along them.

    With ``g = dJ/dψ`` the derivatives along the directions are ``a = V g`` and what is reported is ``r = T a``.

    Attributes:
        names: of the ``p`` reported quantities, as in ``Design.columns`` where they are parameters.
        units: of the parameters; the derivative is per this unit ("": a pure number).
        kind: ``phi`` (dJ/dφ), ``psi`` (dJ/dψ) or ``direction``.
        along: V, ``p x d``, float64.
        report: T, ``p x p``, float64.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    kind: str
    along: Tensor
    report: Tensor

    @classmethod
    def of_parameters(cls, design: Design) -> "Directions":
        """Every free scalar; dJ/dφ in declared units where φ(ψ) can be inverted, else dJ/dψ.

        With the Jacobian ``M = dφ/dψ`` of the free parameters, ``dJ/dφ = M⁻ᵀ dJ/dψ``. Probabilities of categories
        are not independent of each other, so that a design with free categories is reported in ψ.
        """
        names, d = parameter_names(design), design.psi.shape[1]
        eye = torch.eye(d, dtype=torch.float64)
        jacobian = physical_jacobian(design)
        if jacobian is None:
            return cls(names, ("",) * d, "psi", eye, eye)
        units = [design.declaration.unit(n) for n, c in design.psi_columns.items() for _ in range(c.stop - c.start)]
        factor = torch.tensor([unit.factor for unit in units], dtype=torch.float64)
        report = factor[:, None] * torch.linalg.inv(jacobian).T
        return cls(names, tuple(unit.text for unit in units), "phi", eye, report)

    @classmethod
    def of_vectors(cls, vectors: Tensor, names: Sequence[str]) -> "Directions":
        """Given directions of ψ, ``p x d``, scaled to unit length."""
        unit = vectors.detach().double().cpu()
        unit = unit / unit.norm(dim=1, keepdim=True)
        return cls(tuple(names), ("",) * len(unit), "direction", unit, torch.eye(len(unit), dtype=torch.float64))

    def scales(self, derivatives: Tensor) -> Tensor:
        """Typical size of each reported derivative, ``p``: ``max(|r_i|, ‖a‖/√p · ‖T_i‖)``."""
        typical = derivatives.norm() / len(derivatives) ** 0.5 * self.report.norm(dim=1)
        return torch.maximum((self.report @ derivatives).abs(), typical)


def parameter_names(design: Design) -> tuple[str, ...]:
    """A name for each column of ψ, as in ``history.csv``: ``gap``, ``gap[0]`` or ``absorber=Pb``."""
    names: list[str] = []
    known = design.columns()
    for name, columns in design.psi_columns.items():
        if name in design.declaration.choices:
            names += [f"{name}={option}" for option in design.declaration.choices[name].options]
        else:
            array = f"{name}[0]" in known
            names += [f"{name}[{k}]" if array else name for k in range(columns.stop - columns.start)]
    return tuple(names)


def physical_jacobian(design: Design) -> Tensor | None:
    """``M = dφ/dψ`` of the free numeric parameters, ``d x d`` in field units; None if there is no inverse."""
    if any(name in design.declaration.choices for name in design.psi_columns):
        return None

    def physical(psi: Tensor) -> Tensor:
        phi = design.point(psi)
        return torch.cat([phi[name] for name in design.psi_columns], dim=1)[0]

    psi = design.psi.detach()
    rows = torch.autograd.functional.jacobian(physical, psi, vectorize=False)
    jacobian = rows[:, 0, :].detach().double().cpu()
    size = jacobian.norm(dim=0)
    if not bool(torch.isfinite(jacobian).all()) or not bool((size > 0).all()):
        return None
    return jacobian if float(torch.linalg.cond(jacobian / size)) < WORST_CONDITION else None
