"""Designs that can be made: stock values, whole numbers, one material."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mode_opt.design.declaration import Declaration
from mode_opt.design.lagrangian import scaled_excess
from mode_opt.design.parameters import Block, Numeric, Parameter
from mode_opt.design.point import DesignPoint
from mode_opt.design.polytope import MARGIN
from mode_opt.design.system import System
from mode_opt.errors import ConfigurationError, ModeOptError

if TYPE_CHECKING:
    from mode_opt.design.design import Design

_KEEP = 1e3  # cost of moving what is not gridded, against 1 for what is, per half range
_COMBINATIONS, _CUTS, _SECONDS = 64, 30, 10.0


def snapped(design: "Design") -> "Design":
    r"""Fix gridded, integer and categorical parameters at the nearest feasible values that can be made.

    Nearest: least :math:`\sum_j |\phi_j - \phi_j^0| / h_j` (:math:`h` half ranges), with everything else
    moved only if there is no other way; a mixed-integer linear programme (scipy's HiGHS). Constraints that
    are not linear enter by cuts, :math:`g(\phi_k) + \nabla g \cdot (\phi - \phi_k) \le 0` at each candidate
    that violates one (outer approximation: exact for convex ones). Combinations of categories are tried in
    order of their probability.

    Raises:
        ModeOptError: if no feasible design is found.
    """
    reasons: list[str] = []
    for parameters in itertools.islice(_with_categories(design), _COMBINATIONS):
        try:
            return _snap_numbers(design, parameters)
        except ConfigurationError as error:
            reasons.append(str(error))
    raise ModeOptError(f"design: no values on the manufacturing grid satisfy the constraints; {reasons[0]}")


def _with_categories(design: "Design") -> Iterator[dict[str, Parameter]]:
    """The parameters with each combination of options fixed, the most probable first."""
    choices, phi = design.system.choices, design()
    tables = [list(zip(c.options, phi[c.name][0].tolist(), strict=True)) for c in choices]
    combinations = sorted(itertools.product(*tables), key=lambda options: -math.prod(p for _, p in options))
    for combination in combinations:
        fixed = {
            c.name: replace(c.declared, start=option, free=False)
            for c, (option, _) in zip(choices, combination, strict=True)
        }
        yield {**design.declaration.parameters, **fixed}


def _snap_numbers(design: "Design", parameters: dict[str, Parameter]) -> "Design":
    given = (design.declaration.given_derived, design.declaration.given_constraints)
    system = System(Declaration(parameters, *given), check=False)
    raw = {name: value.detach().double().cpu() for name, value in design.system.raw(design.psi).items()}
    present = np.concatenate([raw[block.name][0].numpy() for block in system.free] or [np.zeros(0)])
    programme = _Programme.of(system, present)
    for _ in range(_CUTS):
        x = programme.solve()
        values = {name: torch.from_numpy(x[columns])[None] for name, columns in system.numeric.items()}
        fixed = _fixed(system, parameters, values)
        try:
            candidate = type(design)(fixed, *given).to(design.psi)
        except ConfigurationError:
            candidate = None
        if candidate is not None and all(
            at.satisfied for at in candidate.constraints_at(candidate.buildable()).values()
        ):
            return candidate
        programme = programme.with_cuts(*_cuts(system, values))
    raise ConfigurationError("design.constraints", [c.name for c in system.constraints], "a design on the grid")


def _fixed(system: System, parameters: dict[str, Parameter], values: dict[str, Tensor]) -> dict[str, Parameter]:
    """Declared parameters at these values: gridded ones fixed, the others free."""
    result: dict[str, Parameter] = dict(parameters)
    for block in system.free:
        numbers = [value / block.unit.factor for value in values[block.name][0].tolist()]
        start: Any = (
            tuple(numbers) if block.size > 1 or not isinstance(block.declared.start, float | int | str) else numbers[0]
        )
        declared: Numeric = block.declared
        result[block.name] = replace(declared, start=start, free=block.stock is None)
    return result


def _cuts(system: System, values: dict[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and limits that linearise the violated constraints at a candidate."""
    x = torch.cat([values[block.name] for block in system.free], 1).requires_grad_(True)
    raw = {name: x[:, columns] for name, columns in system.numeric.items()}
    raw = {name: raw.get(name, start) for name, start in system.start.items()}
    phi = DesignPoint(system.assemble(raw), system.layout)
    g = scaled_excess(system.constraints, phi)[0]
    # With conditions, the smooth excess need not be positive where the true one is: cut the largest then.
    violated = torch.nonzero(g > 0).flatten().tolist() or [int(g.argmax())]
    rows = [torch.autograd.grad(g[i], x, retain_graph=True, allow_unused=True)[0] for i in violated]
    matrix = np.array([np.zeros(x.shape[1]) if row is None else row[0].numpy() for row in rows])
    excess = g[violated].detach().numpy()
    return matrix, matrix @ x.detach().numpy()[0] - excess - 1e-6


@dataclass(frozen=True, eq=False)
class _Programme:
    """Minimise ``cost @ t`` with ``|x - present| <= t * half`` and ``matrix @ x <= limit``, x on the grid."""

    blocks: tuple[Block, ...]
    present: np.ndarray
    half: np.ndarray
    matrix: np.ndarray
    limit: np.ndarray

    @classmethod
    def of(cls, system: System, present: np.ndarray) -> "_Programme":
        stock = np.array([block.stock is not None for block in system.free for _ in block.start], dtype=bool)
        rows = [np.zeros((0, len(present))), *(matrix for _, matrix, _ in system.rows)]
        matrix, limit = np.vstack(rows), np.concatenate([np.zeros(0), *(limit for *_, limit in system.rows)])
        # What stays free stays off its limits; what is fixed may be on them, up to rounding.
        size = np.abs(limit) + np.abs(matrix) @ np.abs(present)
        margin = np.where((matrix[:, ~stock] != 0).any(1), -3 * MARGIN, 1e-9)
        half = system.box.half.numpy()
        lower, upper = system.box.lower.numpy(), system.box.upper.numpy()
        half = np.where(np.isfinite(upper - lower), (upper - lower) / 2, half)
        return cls(tuple(system.free), present, half, matrix, limit + margin * size)

    def with_cuts(self, matrix: np.ndarray, limit: np.ndarray) -> "_Programme":
        """With further rows."""
        return replace(self, matrix=np.vstack([self.matrix, matrix]), limit=np.concatenate([self.limit, limit]))

    def _variables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """``x = factors @ v``; integrality and bounds of v; rows of which one option each is chosen."""
        factors: list[np.ndarray] = []
        whole, low, high = list[int](), list[float](), list[float]()
        picks: list[list[int]] = []
        columns = [(b, lo, up) for b in self.blocks for lo, up in zip(b.lower, b.upper, strict=True)]
        for j, (block, lower, upper) in enumerate(columns):
            unit, stock = np.eye(len(columns))[j], block.stock
            if isinstance(stock, tuple):
                kept = [value for value in stock if lower - 1e-9 * abs(lower) <= value <= upper + 1e-9 * abs(upper)]
                if not kept:
                    expected = f"a stock value within the bounds of {block.name}"
                    raise ConfigurationError(f"design.parameters.{block.name}.grid", list(stock), expected)
                picks.append(list(range(len(factors), len(factors) + len(kept))))
                factors += [unit * value for value in kept]
                whole, low, high = whole + [1] * len(kept), low + [0.0] * len(kept), high + [1.0] * len(kept)
            elif stock is not None:
                factors.append(unit * stock)
                whole.append(1)
                low.append(math.ceil(lower / stock - 1e-9) if math.isfinite(lower) else lower)
                high.append(math.floor(upper / stock + 1e-9) if math.isfinite(upper) else upper)
            else:
                factors.append(unit)
                whole, low, high = [*whole, 0], [*low, lower], [*high, upper]
        chosen = np.array([[float(i in pick) for i in range(len(factors))] for pick in picks])
        return np.array(factors).T, np.array(whole), np.array(low), np.array(high), chosen

    def solve(self) -> np.ndarray:
        """The nearest values.

        Raises:
            ConfigurationError: if there are none.
        """
        d = len(self.present)
        if d == 0:
            return self.present
        factors, whole, low, high, chosen = self._variables()
        if (low > high).any():
            raise ConfigurationError("design.parameters", [b.name for b in self.blocks], "a grid value within bounds")
        scaled, eye = factors / self.half[:, None], np.eye(d)
        present = self.present / self.half
        norms = np.maximum(np.abs(self.matrix @ factors).max(1, initial=0.0), 1e-300)
        rows = [(np.hstack([scaled, -eye]), present), (np.hstack([-scaled, -eye]), -present)]
        rows.append(
            (
                np.hstack([self.matrix @ factors, np.zeros((len(self.limit), d))]) / norms[:, None],
                self.limit / norms,
            )
        )
        v = self._run(rows, chosen, whole, low, high)[: factors.shape[1]]
        return np.clip(factors @ np.where(whole == 1, np.round(v), v), *self._bounds())

    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        lower = np.array([x for block in self.blocks for x in block.lower])
        return lower, np.array([x for block in self.blocks for x in block.upper])

    def _run(self, rows: Any, chosen: np.ndarray, whole: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        from scipy.optimize import Bounds, LinearConstraint, milp

        d = len(self.present)
        constraints = [LinearConstraint(matrix, -np.inf, limit) for matrix, limit in rows if len(limit)]
        if len(chosen):
            constraints.append(LinearConstraint(np.hstack([chosen, np.zeros((len(chosen), d))]), 1.0, 1.0))
        moved = [1.0 if block.stock is not None else _KEEP for block in self.blocks for _ in block.start]
        found = milp(
            np.r_[np.zeros(len(whole)), moved],
            integrality=np.r_[whole, np.zeros(d)],
            bounds=Bounds(np.r_[low, np.zeros(d)], np.r_[high, np.full(d, np.inf)]),
            constraints=constraints,
            options={"time_limit": _SECONDS},
        )
        if found.x is None:
            raise ConfigurationError("design.constraints", [b.name for b in self.blocks], "values on the grid that fit")
        return np.asarray(found.x)
