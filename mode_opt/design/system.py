"""What a design consists of, compiled: from unconstrained numbers to physical values and back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from mode_opt.design.affine import Affine, NotAffineError, affine
from mode_opt.design.barrier import BarrierMap
from mode_opt.design.constraints import Constraint, distinct
from mode_opt.design.coordinates import BoxMap
from mode_opt.design.declaration import Declaration
from mode_opt.design.point import DesignPoint, Layout
from mode_opt.design.polytope import Problem
from mode_opt.design.sampling import between
from mode_opt.errors import ConfigurationError

_LOGIT_RANGE = 4.0  # half range of logits, for neighbourhoods of relative size


@final
class System:
    """The maps ψ -> raw values -> φ of a declaration, and its constraints.

    Raw values are those of the parameters that do not follow from others (not linked), before conditions
    multiply
    them: a dictionary of ``b x size``. ψ has the free numeric columns first, then the logits of free
        categories.

    Raises:
        ConfigurationError: if constraints leave no room or, unless ``check`` is False, the start violates a
            linear one.
    """

    def __init__(self, declaration: Declaration, check: bool = True) -> None:
        self.declaration = declaration
        self.free = [b for b in declaration.blocks.values() if b.declared.free]
        self.choices = [c for c in declaration.choices.values() if c.declared.free]
        self.numeric, self.psi_columns = self._columns()
        d = sum(block.size for block in self.free)

        def joined(attribute: str) -> np.ndarray:
            return np.array([x for block in self.free for x in getattr(block, attribute)], dtype=float)

        log = np.array([block.declared.scale == "log" for block in self.free for _ in block.start], dtype=bool)
        self.box = BoxMap(joined("lower"), joined("upper"), joined("start"), log)
        self._forms: dict[str, Affine] = {}
        span = joined("upper") - joined("lower")
        for condition in declaration.conditions.values():
            condition.settle(self._form, span / 2)
        self.start = self._start_values()
        self.constraints = self._classified()
        self.involved: Tensor = torch.zeros(0, dtype=torch.long)
        self.barrier: BarrierMap | None = None
        self.rows = [(c, *self._row(c)) for c in self.constraints if c.linear]
        self._build_polytope(d, np.where(np.isfinite(span), span / 2, self.box.half.numpy()), joined)
        self.layout = self._layout()
        self.built_layout = replace(self.layout)  # marks points whose conditions have been decided
        if check:
            self.check(self.start, "the start design", [c for c in self.constraints if c.linear])

    def _columns(self) -> tuple[dict[str, slice], dict[str, slice]]:
        numeric: dict[str, slice] = {}
        begin = 0
        for block in self.free:
            numeric[block.name] = slice(begin, begin + block.size)
            begin += block.size
        columns = dict(numeric)
        for choice in self.choices:
            columns[choice.name] = slice(begin, begin + len(choice.options))
            begin += len(choice.options)
        return numeric, columns

    def _start_values(self) -> dict[str, Tensor]:
        declared: list[Any] = [*self.declaration.blocks.values(), *self.declaration.choices.values()]
        return {item.name: torch.tensor([item.start], dtype=torch.float64) for item in declared}

    @property
    def numbers(self) -> int:
        """``d_free``, columns of ψ."""
        return max((columns.stop for columns in self.psi_columns.values()), default=0)

    # Linear algebra of the constraints

    def _form(self, name: str) -> Affine:
        """The affine form of a name over the free numeric columns."""
        if name not in self._forms:
            self._forms[name] = self._new_form(name)
        return self._forms[name]

    def _new_form(self, name: str) -> Affine:
        d = sum(block.size for block in self.free)
        declaration = self.declaration
        if name in declaration.formulas:
            form = affine(declaration.formulas[name], self._form, d)
            if form is None:
                raise NotAffineError
            return form
        item: Any = declaration.blocks.get(name) or declaration.choices[name]
        matrix, constant = np.zeros((len(item.start), d)), np.array(item.start, dtype=float)
        if name in self.numeric:
            matrix[:, self.numeric[name]] = np.eye(len(item.start))
            constant = np.zeros(len(item.start))
        elif item.declared.free:
            raise NotAffineError
        if name in declaration.conditions:
            exists = self._fixed_existence(name)
            return Affine(matrix * exists[:, None], constant * exists)
        return Affine(matrix, constant)

    def _fixed_existence(self, name: str) -> np.ndarray:
        condition = self.declaration.conditions[name]
        if any(self.declaration.is_free(other) for other in condition.names):
            raise NotAffineError
        start = self._start_values()
        return condition.hard(start, torch.zeros(1, 1, dtype=torch.float64))[0].numpy()

    def _row(self, constraint: Constraint) -> tuple[np.ndarray, np.ndarray]:
        """``matrix @ x <= limit`` of a linear constraint."""
        d = sum(block.size for block in self.free)
        size = max(constraint.value.kind.size, constraint.limit.kind.size)
        value, limit = (affine(side, self._form, d) for side in (constraint.value, constraint.limit))
        if value is None or limit is None:
            raise NotAffineError
        sign = 1.0 if constraint.upper else -1.0
        matrix = np.broadcast_to(sign * (value.matrix - limit.matrix), (size, d))
        return matrix, np.broadcast_to(sign * (limit.constant - value.constant), (size,))

    def _classified(self) -> tuple[Constraint, ...]:
        start = DesignPoint(*self._assembled(self.start))
        result = []
        for constraint in distinct(self.declaration.constraints):
            try:
                self._row(constraint)
                linear = True
            except NotAffineError:
                linear = False
            limit, value = (float(side(start).abs().max()) for side in (constraint.limit, constraint.value))
            scale = limit if limit > 0 else value if 0 < value < np.inf else 1.0
            result.append(replace(constraint, linear=linear, scale=scale))
        return tuple(result)

    def _build_polytope(self, d: int, scale: np.ndarray, joined: Any) -> None:
        stacked = [(m, c, con.name) for con, matrix, limit in self.rows for m, c in zip(matrix, limit, strict=True)]
        kept = [(m, c, name) for m, c, name in stacked if m.any()]
        for m, c, name in stacked:
            if not m.any() and c < 0:
                self._refuse_constant(name)
        if not kept:
            return
        matrix = np.array([m for m, _, _ in kept])
        used = np.flatnonzero(matrix.any(0))
        self.involved = torch.from_numpy(used)
        names = list(dict.fromkeys(name for _, _, name in kept))
        limits = np.array([c for _, c, _ in kept])
        low, high, start = (joined(attribute)[used] for attribute in ("lower", "upper", "start"))
        low = np.where(self.box.log.numpy()[used], np.maximum(low, 0.0), low)
        problem = Problem(low, high, matrix[:, used], limits, start, scale[used], names)
        polytope = problem.polytope()
        box = BoxMap(joined("lower")[used], joined("upper")[used], start, self.box.log.numpy()[used])
        self.barrier = BarrierMap(box, polytope)

    def _refuse_constant(self, name: str) -> None:
        constraint = next(c for c in self.constraints if c.name == name)
        at = constraint.at(DesignPoint(*self._assembled(self.start)))
        if not at.satisfied:
            raise constraint.refuse(at, "a design without free parameters in it,")

    # psi -> raw -> phi

    def raw(self, psi: Tensor) -> dict[str, Tensor]:
        """Raw values of ``b`` designs, within bounds and linear constraints."""
        # In float64, so that only the rounding of the result counts; Apple's GPUs do not have it.
        wide = psi.dtype if psi.device.type == "mps" else torch.float64
        count = sum(block.size for block in self.free)
        numeric = self.box.forward(psi[:, :count].to(wide))
        if self.barrier is not None:
            inside = self.barrier.forward(psi[:, :count].to(wide)[:, self._index(psi)])
            numeric = self._replaced(numeric, inside)
        numeric = self.box.clamp(numeric.to(psi.dtype))
        values = {name: numeric[:, columns] for name, columns in self.numeric.items()}
        for choice in self.choices:
            values[choice.name] = torch.softmax(psi[:, self.psi_columns[choice.name]], dim=1)
        for name, start in self.start.items():
            if name not in values:
                values[name] = start.to(psi.dtype).to(psi.device).expand(psi.shape[0], -1)
        return values

    def _index(self, like: Tensor) -> Tensor:
        return self.involved.to(like.device)

    def _replaced(self, numeric: Tensor, inside: Tensor) -> Tensor:
        """The free numeric columns with those of the polytope replaced."""
        if inside.shape[1] == numeric.shape[1]:
            return inside
        return numeric.index_copy(1, self._index(numeric), inside)

    def psi(self, raw: Mapping[str, Tensor]) -> Tensor:
        """Inverse of `raw`: ψ (float64, CPU, ``b x d_free``) of values within bounds and constraints."""
        designs = len(next(iter(raw.values())))
        parts = [raw[block.name] for block in self.free] or [torch.zeros(designs, 0)]
        numeric = torch.cat(parts, 1).double().cpu()
        psi = self.box.inverse(numeric)
        if self.barrier is not None:
            psi = self._replaced(psi, self.barrier.inverse(numeric[:, self.involved]))
        logits = [raw[choice.name].double().cpu().clamp(min=1e-12).log() for choice in self.choices]
        return torch.cat([psi, *(x - x.mean(1, keepdim=True) for x in logits)], 1)

    def _assembled(self, raw: Mapping[str, Tensor], hard: bool = False) -> tuple[Tensor, Layout]:
        values = self.assemble(raw, hard)
        return values, Layout(
            self.declaration.columns,
            (0.0,) * values.shape[1],
            (1.0,) * values.shape[1],
            self.declaration.derived,
        )

    def existence(self, name: str, raw: Mapping[str, Tensor], hard: bool = False) -> Tensor:
        """``b x size``: factor of a conditional parameter; 0 or 1 if what it depends on is not free."""
        condition, like = self.declaration.conditions[name], next(iter(raw.values()))
        settled = not any(self.declaration.is_free(other) for other in condition.names)
        return condition.hard(raw, like) if hard or settled else condition.soft(raw, like)

    def assemble(self, raw: Mapping[str, Tensor], hard: bool = False) -> Tensor:
        """φ, ``b x d``: conditions multiplied in (0 or 1 if ``hard``), linked parameters computed."""
        values = dict(raw)
        for name in self.declaration.conditions:
            values[name] = raw[name] * self.existence(name, raw, hard)
        like = next(iter(raw.values()), torch.zeros(1, 0))
        for name, formula in self.declaration.formulas.items():
            values[name] = formula.evaluate(values, like)
        return torch.cat([values[name] for name in self.declaration.columns], 1)

    def raw_of(self, phi: DesignPoint) -> dict[str, Tensor]:
        """Raw values of physical ones: factors of conditions divided out where something is left."""
        raw, hard = {name: phi[name] for name in self.start}, phi.layout is self.built_layout
        factors = {name: self.existence(name, raw, hard) for name in self.declaration.conditions}
        return {n: v / factors[n].clamp(min=1e-6) if n in factors else v for n, v in raw.items()}

    def concrete(self, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Raw values that can be built: integers rounded within their bounds, categories certain."""
        result = dict(raw)
        for name, block in self.declaration.blocks.items():
            if block.integer:
                low, high = (raw[name].new_tensor(side) for side in (block.lower, block.upper))
                result[name] = torch.minimum(torch.maximum(raw[name].round(), low.ceil()), high.floor())
        for name in self.declaration.choices:
            best = raw[name].argmax(1)
            result[name] = torch.nn.functional.one_hot(best, raw[name].shape[1]).to(raw[name].dtype)
        return result

    # Checks

    def check(self, raw: Mapping[str, Tensor], who: str, constraints: Sequence[Constraint]) -> None:
        """Refuse raw values (``1 x size`` each) outside bounds or constraints; names the first."""
        for block in self.free:
            low, high = (torch.tensor(side, dtype=torch.float64) for side in (block.lower, block.upper))
            value = raw[block.name][0].double()
            slack = 1e-9 * torch.where((high - low).isfinite(), high - low, value.abs())
            if bool(((value < low - slack) | (value > high + slack)).any()):
                f = block.unit.factor
                expected = f"a value within the bounds [{block.lower[0] / f:g}, {block.upper[0] / f:g}] {block.unit}"
                came = (value / f).tolist()
                raise ConfigurationError(
                    f"design.parameters.{block.name}", came if len(came) > 1 else came[0], expected
                )
        phi = DesignPoint(*self._assembled(raw))
        for constraint in constraints:
            at = constraint.at(phi)
            tolerance = 1e-9 * constraint.scale
            if not at.satisfied and not bool((constraint.excess(phi, phi.values) <= tolerance).all()):
                raise constraint.refuse(at, who)

    # Neighbourhoods

    def neighbours(self, psi: Tensor, unit: Tensor, radius: float, normal: bool) -> dict[str, Tensor]:
        """Raw values (float64, CPU) around ``psi`` (``1 x d_free``) from points of the unit cube.

        The box ``± radius`` in half ranges (of the logarithm on a logarithmic scale), cut at the bounds, is
        filled and
        then squeezed into the constraints about a point next to the present one: all stay within it.
        """
        psi = psi.detach().double().cpu()
        count = sum(block.size for block in self.free)
        here = torch.cat([self.raw(psi)[block.name] for block in self.free] or [psi[:, :0]], 1)[0]
        at, low, high = (self.box.units(side) for side in (here, self.box.lower, self.box.upper))
        spread = between(unit[:, :count], at, radius, low, high, normal)
        numeric = self.box.values(spread, psi)
        if self.barrier is not None:
            reach = 3 * radius if normal else radius
            corners = (torch.maximum(low, at - reach), torch.minimum(high, at + reach))
            first, last = (self.box.values(side, psi)[self.involved] for side in corners)
            within = self.barrier.polytope.within(first, last, here[self.involved])
            numeric = self.box.clamp(self._replaced(numeric, within.fill(numeric[:, self.involved])))
        infinite = torch.full_like(psi[0, count:], torch.inf)
        moved = between(unit[:, count:], psi[0, count:], radius * _LOGIT_RANGE, -infinite, infinite, normal)
        raw = self.raw(torch.cat([psi[:, :count].expand(len(unit), -1), moved], 1))
        return {**raw, **{name: numeric[:, columns] for name, columns in self.numeric.items()}}

    def _layout(self) -> Layout:
        """Middle and half range of each column; of unbounded and fixed ones start value and its size."""
        values = self.assemble(self.start)[0]
        low, high = self.declaration.ranges()
        with np.errstate(invalid="ignore"):
            bounded = np.isfinite(low) & np.isfinite(high)
            centre = np.where(bounded, (low + high) / 2, values.numpy())
            scale = np.where(bounded, (high - low) / 2, np.abs(values.numpy()))
        scale = np.where(scale > 0, scale, 1.0)
        options = {name: choice.options for name, choice in self.declaration.choices.items()}
        return Layout(
            self.declaration.columns,
            tuple(centre.tolist()),
            tuple(scale.tolist()),
            self.declaration.derived,
            options,
        )
