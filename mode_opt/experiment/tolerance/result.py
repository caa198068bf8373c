"""What a design tolerates."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mode_opt.experiment.tolerance.model import SIGNIFICANT, QuadraticModel
from mode_opt.experiment.tolerance.regression import Fit
from mode_opt.experiment.tolerance.significance import Agreement
from mode_opt.objectives.uncertainty import Estimate


@dataclass(frozen=True)
class Side:
    """A deviation in one sense, in the unit of a parameter or in half ranges along a direction.

    Attributes:
        deviation: that costs the allowed loss; infinite if none does in the quadratic model.
        room: to the next limit; infinite if there is none.
        limit: that one's name, or "".
    """

    deviation: Estimate
    room: float
    limit: str

    @property
    def stopped(self) -> bool:
        """Whether a limit comes before the loss."""
        return self.room < self.deviation.value


@dataclass(frozen=True)
class ParameterTolerance:
    """One free parameter; numbers in its declared unit.

    Attributes:
        name: as in ``history.csv``.
        unit: declared.
        value: at the design.
        size: half range.
        slope: ∂J/∂φ.
        curvature: ∂²J/∂φ².
        above, below: deviations if this parameter alone deviates; different where the design is no free optimum.
        deviation: the smaller of the two.
        spread: standard deviation that is allowed to each parameter if all deviate independently about the design and
            each takes an equal share of the mean loss; infinite where the curvature is not positive.
        held: names of the active limits that the parameter moves towards or away from.
    """

    name: str
    unit: str
    value: float
    size: float
    slope: Estimate
    curvature: Estimate
    above: Side
    below: Side
    deviation: Estimate
    spread: Estimate
    held: tuple[str, ...]


@dataclass(frozen=True)
class DirectionTolerance:
    """A principal direction of the curvature within the active limits, or the normal of one of these; half ranges.

    Attributes:
        components: of the unit vector, by parameter.
        slope: of J along it.
        curvature: along it; an eigenvalue within the active limits.
        step_error: what the step of the differences, or rounding, may still do to the curvature.
        deviation: along it that costs the allowed loss, in the worse sense; infinite if none does.
        above, below: along and against it.
        held: name of the active limit that it is the normal of, out of the allowed region; else "".
    """

    components: dict[str, float]
    slope: Estimate
    curvature: Estimate
    step_error: float
    deviation: Estimate
    above: Side
    below: Side
    held: str = ""

    @property
    def kind(self) -> str:
        """What limits the deviation along it.

        ``held``: an active limit; ``stiff``: the curvature; ``sloping``: the slope, of a design that is no optimum;
        ``free``: nothing within half the range, or nothing to be seen above the errors; ``falling``: the curvature is
        negative, so that the design is no minimum.
        """
        if self.held:
            return "held"
        error = SIGNIFICANT * (self.curvature.standard_error**2 + self.step_error**2) ** 0.5
        if self.curvature.value < -error:
            return "falling"
        if self.deviation.value >= 1:
            return "free"
        if self.curvature.value > error:
            return "stiff"
        return "sloping" if abs(self.slope.value) > SIGNIFICANT * self.slope.standard_error else "free"


@dataclass(frozen=True)
class LimitTolerance:
    """A bound or constraint at the design, and what it costs; numbers in its unit.

    Attributes:
        words: ``length <= 400 mm``.
        name: of the parameter or constraint.
        kind: ``bound``, ``linear``, ``nonlinear``, or ``objective`` of a limit of a `Constrained` objective.
        unit: of value and limit.
        value, limit: at the design; the value of an objective has an error.
        distance: to the (linearised) limit in half ranges; NaN of an objective.
        state: ``active`` (near, with a significant multiplier), ``near``, ``free`` or ``violated``.
        multiplier: by how much J falls for each unit by which the limit gives way.
        gain: what relaxing this limit alone buys a unit; less than the multiplier where that is not unique.
        unique: whether the multiplier is determined.
    """

    words: str
    name: str
    kind: str
    unit: str
    value: Estimate
    limit: float
    distance: float
    state: str
    multiplier: Estimate
    gain: Estimate
    unique: bool

    @property
    def gain_per_percent(self) -> Estimate:
        """What relaxing the limit by 1 % of its size buys."""
        part = abs(self.limit) / 100
        return Estimate(self.gain.value * part, self.gain.standard_error * part)


@dataclass(frozen=True, eq=False)
class Tolerances:
    """The quadratic model of J around a design, and what it allows.

    Attributes:
        method: ``differences`` or ``regression``.
        objective: J at the design.
        loss: the allowed increase of J.
        parameters: one entry a parameter.
        directions: from the stiffest to the freest, then the normals of active limits; none of more than 15
            parameters by regression, where mixed derivatives are not measured.
        limits: bounds and constraints of the design, and limits of a `Constrained` objective.
        optimality: test of the slope along the directions that no active limit holds.
        remaining: by how much J would fall in the quadratic model if the significant slopes along stiff directions
            were followed.
        model: with ``hessian`` in units of J per product of half ranges.
        scale: ``d`` half ranges, in field units.
        fit: of a regression, else None.
    """

    method: str
    objective: Estimate
    loss: float
    parameters: list[ParameterTolerance]
    directions: list[DirectionTolerance]
    limits: list[LimitTolerance]
    optimality: Agreement
    remaining: float
    model: QuadraticModel
    scale: Tensor
    fit: Fit | None

    @property
    def hessian(self) -> Tensor:
        """``d x d``, in units of J per product of half ranges."""
        return self.model.hessian

    def vector(self, direction: DirectionTolerance) -> Tensor:
        """``d``, the unit vector of a direction."""
        return torch.tensor([direction.components[p.name] for p in self.parameters], dtype=torch.float64)
