"""``Design``: the module that owns ψ."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from mode_opt.design.constraints import Constraint, ConstraintValue
from mode_opt.design.declaration import Declaration, Spec
from mode_opt.design.drawing import drawn
from mode_opt.design.parameters import probabilities, vector
from mode_opt.design.point import DesignPoint, Layout
from mode_opt.design.sampling import unit_samples
from mode_opt.design.system import System
from mode_opt.errors import ConfigurationError, ShapeError
from mode_opt.units import reported


@final
class Design(nn.Module):
    r"""Named parameters with units, bounds and constraints; φ(ψ) for an unconstrained ψ.

    Bounds and linear constraints hold for every ψ, exactly (also after rounding, in float32): each column is
    mapped into its bounds (`coordinates.BoxMap`), then the box onto the polytope that the constraints leave
    (`polytope.Polytope.squeeze`). Other constraints are `nonlinear_constraints`, for an
    `AugmentedLagrangian`; the start may violate them. While optimising, integers are real numbers,
    categories are probabilities, and conditional parameters are multiplied by a smooth factor; `buildable`
    and `concrete` say what could be built.

    Args:
        parameters: by name, a `Parameter` or its specification as in YAML: ``{start: 4.5, bounds: [0.5, 6.0],
            unit: mm}``, ``{kind: integer, start: 50, bounds: [10, 100]}``, ``{start: PbWO4, options: [PbWO4,
            Pb]}``, ``{expression: '8 mm - absorber_thickness', unit: mm, bounds: [1, 10]}``.
        derived: expressions, or ``{expression, unit}``, of quantities computed when asked for.
        constraints: inequalities such as ``"length <= 400 mm"``, or ``{expression, name}``.

    Attributes:
        psi: ``1 x d_free``, the only parameter (``1 x 0`` if all is fixed).
        layout: which of the ``d`` columns of φ is what.

    Raises:
        ConfigurationError: for anything that cannot be used; the message names the key, e.g.
            ``design.parameters.gap_thickness.start``.
    """

    def __init__(
        self,
        parameters: Mapping[str, Spec],
        derived: Mapping[str, Mapping[str, Any] | str] | None = None,
        constraints: Sequence[str | Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self.declaration = Declaration(parameters, derived, constraints)
        self.system = System(self.declaration)
        self.layout: Layout = self.system.layout
        self.psi = nn.Parameter(self.system.psi(self.system.start).to(torch.get_default_dtype()))

    @property
    def free_names(self) -> tuple[str, ...]:
        """The parameters that are optimised."""
        return tuple(name for name in self.declaration.parameters if name in self.system.psi_columns)

    @property
    def psi_columns(self) -> Mapping[str, slice]:
        """Which columns of ψ belong to which free parameter."""
        return self.system.psi_columns

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """All constraints, with the bounds of linked parameters."""
        return self.system.constraints

    @property
    def nonlinear_constraints(self) -> tuple[Constraint, ...]:
        """Those that do not hold by construction."""
        return tuple(c for c in self.constraints if not c.linear)

    def forward(self) -> DesignPoint:
        """φ of the present design, ``b = 1``; derivatives pass to ψ."""
        return self.point(self.psi)

    def point(self, psi: Tensor) -> DesignPoint:
        """φ of ``b x d_free`` unconstrained numbers.

        Raises:
            ShapeError: for another shape.
        """
        return DesignPoint(self.system.assemble(self._raw(psi)), self.layout)

    def _raw(self, psi: Tensor) -> dict[str, Tensor]:
        if psi.ndim != 2 or psi.shape[1] != self.psi.shape[1]:
            raise ShapeError("Design.point(psi)", psi.shape, f"b x {self.psi.shape[1]}")
        return self.system.raw(psi)

    @torch.no_grad()
    def nearby(
        self, b: int, radius: float, generator: torch.Generator | None = None, method: str = "sobol"
    ) -> DesignPoint:
        """``b`` designs around the present one, which is the first of them; no derivatives.

        All are within bounds and linear constraints, and within ``radius`` half ranges of the present value
        in each column (``normal``: standard deviation ``radius``, cut at three of them). Half range: of the
        bounds, else the size of the start value; of the logarithm on a logarithmic scale; 4 for logits of
        categories. Conditions and linked parameters follow.

        Args:
            b: number of designs.
            radius: relative size, 0.1 is 10 % of the half range.
            generator: source of randomness; the same state gives the same designs.
            method: ``sobol``, ``latin_hypercube`` or ``normal``.

        Raises:
            ConfigurationError: for ``b < 1``, a radius that is not positive, or an unknown method.
        """
        if b < 1:
            raise ConfigurationError("nearby.b", b, "at least one design")
        if not 0 < radius < float("inf"):
            raise ConfigurationError("nearby.radius", radius, "a positive number")
        unit = unit_samples(b - 1, self.psi.shape[1], method, generator)
        raw = self.system.neighbours(self.psi, unit, radius, method == "normal")
        values = torch.cat([self().values, self.system.assemble(self._cast(raw)).to(self.psi)])
        return DesignPoint(values, self.layout)

    def _cast(self, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Raw values in ψ's dtype, not rounded beyond the bounds."""
        cast = {name: value.to(self.psi) for name, value in raw.items()}
        if self.system.numeric:
            low, high = self.system.box.limits(self.psi)
            for name, columns in self.system.numeric.items():
                cast[name] = torch.clamp(cast[name], low[columns], high[columns])
        return cast

    def named(self, phi: DesignPoint | None = None) -> dict[str, Tensor]:
        """All parameters and derived quantities by name, ``b x size`` in field units."""
        phi = self() if phi is None else phi
        return {name: phi[name] for name in self.layout.names}

    @torch.no_grad()
    def buildable(self, phi: DesignPoint | None = None) -> DesignPoint:
        """The designs with integers rounded, categories certain and what does not exist 0; no derivatives.

        Rounding may break a constraint: see `snapped`.
        """
        phi = self() if phi is None else phi
        raw = self.system.concrete(self.system.raw_of(phi))
        return DesignPoint(self.system.assemble(raw, hard=True), self.system.built_layout)

    @property
    def discrete(self) -> bool:
        """Whether an integer or a category is free, so that designs differ from those that could be built."""
        return bool(self.system.choices) or any(block.integer for block in self.system.free)

    @torch.no_grad()
    def drawn(self, where: DesignPoint | Tensor | None = None, generator: torch.Generator | None = None) -> DesignPoint:
        """Designs that could be built, drawn at random such that their mean is the relaxed design; no derivatives.

        A free integer x becomes ⌊x⌋ or, with probability x − ⌊x⌋, ⌊x⌋ + 1 (with a grid: one of its neighbours on
        the grid), a free category one of its options with its probability. Where the bounds leave one side only,
        that is taken. Conditions are then decided, and linked parameters computed, at the drawn values. Each of the
        ``b`` designs is drawn independently.

        As with `buildable`, a drawn design may break a constraint, and grids of continuous parameters are left to
        `snapped`.

        Args:
            where: ψ, ``b x d_free``, or designs; None: the present design.
            generator: source of randomness, on the device of ψ.

        Raises:
            ShapeError: for a ψ of another shape.
        """
        where = self.psi if where is None else where
        raw = self.system.raw_of(where) if isinstance(where, DesignPoint) else self._raw(where)
        return DesignPoint(
            self.system.assemble(drawn(self.system, raw, generator), hard=True), self.system.built_layout
        )

    def concrete(self, phi: DesignPoint | None = None) -> dict[str, dict[str, Any]]:
        """``{name: {"value": ..., "unit": ...}}`` of one design's parameters as they would be built.

        Declared units; arrays are lists, categories names, parameters that do not exist None.

        Raises:
            ShapeError: for more than one design.
        """
        phi = self() if phi is None else phi
        _single(phi)
        built = self.buildable(phi)
        return {name: self._reported(name, built) for name in self.declaration.parameters}

    def _reported(self, name: str, built: DesignPoint) -> dict[str, Any]:
        if name in self.declaration.choices:
            return {"value": self.declaration.choices[name].options[int(built[name][0].argmax())], "unit": ""}
        unit = self.declaration.unit(name)
        resolution = torch.finfo(built.values.dtype).eps
        values: list[Any] = [reported(value, unit, resolution) for value in built[name][0].tolist()]
        if name in self.declaration.blocks and self.declaration.blocks[name].integer and unit.factor == 1.0:
            values = [int(value) for value in values]
        if name in self.declaration.conditions:
            raw = {n: built[n] for n in self.system.start}
            exists = self.system.existence(name, raw, hard=True)[0].tolist()
            values = [value if there else None for value, there in zip(values, exists, strict=True)]
        array = len(values) > 1 or self._declared_array(name)
        return {"value": values if array else values[0], "unit": unit.text}

    def _declared_array(self, name: str) -> bool:
        block = self.declaration.blocks.get(name)
        if block is None:
            return False
        start = block.declared.start
        return block.declared.size is not None or (isinstance(start, Sequence) and not isinstance(start, str))

    def columns(self, phi: DesignPoint | None = None) -> dict[str, float]:
        """One row of ``history.csv``: free and linked parameters of one design in declared units.

        Arrays are ``name[0]``, ``name[1]``, categories ``name=option`` with probabilities.
        """
        phi = self() if phi is None else phi
        _single(phi)
        row: dict[str, float] = {}
        for name in self.declaration.parameters:
            values = phi[name][0].detach().tolist()
            if name in self.system.psi_columns and name in self.declaration.choices:
                row |= {f"{name}={o}": v for o, v in zip(self.declaration.choices[name].options, values, strict=True)}
            elif name in self.system.psi_columns or name in self.declaration.linked:
                unit, resolution = self.declaration.unit(name), torch.finfo(phi.values.dtype).eps
                array = len(values) > 1 or self._declared_array(name)
                row |= {f"{name}[{i}]" if array else name: reported(v, unit, resolution) for i, v in enumerate(values)}
        return row

    @torch.no_grad()
    def constraints_at(self, phi: DesignPoint | None = None) -> dict[str, ConstraintValue]:
        """Every constraint's value and limit at one design, in the unit of the limit."""
        phi = self() if phi is None else phi
        _single(phi)
        return {c.name: c.at(phi) for c in self.constraints}

    @torch.no_grad()
    def assign(self, values: Mapping[str, Any]) -> None:
        """Set ψ in place from physical values; parameters not named keep theirs.

        Args:
            values: by name, numbers in the declared unit, texts with a unit, lists for arrays, the name of
                an option or probabilities; ``{"value": ...}`` of `concrete` works too. A conditional
                parameter's value is the one it has if it exists; None keeps it. Fixed and linked parameters
                may be named with the value that they have. Values on a bound or limit are set to 1e-6
                (relative) inside.

        Raises:
            ConfigurationError: for an unknown name or a value that breaks a bound or linear constraint; nothing
                is changed. A nonlinear constraint may be violated, as by the start.
        """
        raw = {name: value.double().cpu() for name, value in self.system.raw(self.psi).items()}
        given = {n: v.get("value") if isinstance(v, Mapping) and "value" in v else v for n, v in values.items()}
        for name, value in given.items():
            key = f"design.parameters.{name}"
            if name not in self.declaration.parameters:
                known = ", ".join(self.declaration.parameters)
                raise ConfigurationError(key, value, f"a parameter; there are {known}")
            if name not in self.declaration.linked and value is not None:
                raw[name] = self._raw_value(name, value, raw[name], key)
        self.system.check(raw, "a design", [c for c in self.constraints if c.linear])
        self._check_dependent(given, raw)
        self.psi.copy_(self.system.psi(raw).to(self.psi))

    def _raw_value(self, name: str, value: Any, present: Tensor, key: str) -> Tensor:
        value = value.reshape(-1).tolist() if isinstance(value, Tensor) else value
        if name in self.declaration.choices:
            choice = self.declaration.choices[name]
            numbers = probabilities(value, choice.options, key, choice.declared.free)
        else:
            items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
            unit = self.declaration.unit(name)
            kept = [p / unit.factor if v is None else v for v, p in zip(items, present[0].tolist(), strict=False)]
            sized = kept if len(items) == len(kept) > 1 else kept[0] if len(items) == 1 else items
            numbers = vector(sized, present.shape[1], unit, key)
        result = torch.tensor([numbers], dtype=torch.float64)
        fixed = name not in self.system.psi_columns
        if fixed and not torch.allclose(result, present, rtol=1e-5, atol=0.0):
            raise ConfigurationError(key, value, "no other value than its own: it is fixed (free: false)")
        return present if fixed else result

    def _check_dependent(self, given: Mapping[str, Any], raw: Mapping[str, Tensor]) -> None:
        """Linked parameters may be named only with the value that follows."""
        named = [name for name in given if name in self.declaration.linked and given[name] is not None]
        if not named:
            return
        phi = DesignPoint(self.system.assemble(self.system.concrete(raw), hard=True), self.layout)
        for name in named:
            unit, key = self.declaration.unit(name), f"design.parameters.{name}"
            numbers = vector(given[name], phi[name].shape[1], unit, key)
            expected = torch.tensor([numbers], dtype=torch.float64)
            if not torch.allclose(phi[name], expected, rtol=1e-4, atol=1e-9):
                follows = ", ".join(f"{value / unit.factor:g}" for value in phi[name][0].tolist())
                raise ConfigurationError(key, given[name], f"{follows} {unit}, which follows from its expression")

    def snapped(self) -> "Design":
        """A new design with gridded, integer and categorical parameters fixed at values that can be made.

        The nearest such values that satisfy all constraints (`snapping`); the other parameters keep their
        present values, or the nearest for which that is possible, and stay free to be optimised again.

        Raises:
            ModeOptError: if there is no such design.
        """
        from mode_opt.design.snapping import snapped

        return snapped(self)


def _single(phi: DesignPoint) -> None:
    if phi.designs != 1:
        raise ShapeError("DesignPoint.values", phi.values.shape, "a single design, 1 x d")
