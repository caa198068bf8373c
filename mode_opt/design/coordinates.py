"""From unconstrained numbers to numbers within bounds, column by column."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

_CLOSEST = 1e-6
"""Values on a bound start this fraction of the half range inside of it, where the derivative is not yet 0."""


def _inward(numbers: Tensor, like: Tensor, sign: float) -> Tensor:
    """Round bounds to the dtype of ``like``, never outwards."""
    rounded = numbers.to(like.dtype)
    towards = torch.full_like(rounded, sign * torch.inf)
    outside = (rounded.double() - numbers) * sign < 0
    return torch.where(outside, torch.nextafter(rounded, towards), rounded).to(like.device)


class BoxMap:
    r"""Maps of the real line onto each column's range.

    With both bounds :math:`y = c + h \tanh\psi`; with a lower one :math:`y = l +
    s\,\mathrm{softplus}(\psi)`, an upper one its mirror image; with none :math:`y = y_\mathrm{start} +
    s\psi`. :math:`y` is the value or, on a logarithmic scale, its logarithm. :math:`c` and :math:`h` are
    middle and half of the range, :math:`s` the size of the start value or its distance from the bound,
    whichever is larger (1 if both are 0).

    Args:
        lower, upper, start: ``d`` numbers each in field units.
        log: ``d`` flags.
    """

    def __init__(self, lower: np.ndarray, upper: np.ndarray, start: np.ndarray, log: np.ndarray) -> None:
        self.lower, self.upper = torch.from_numpy(lower.astype(float)), torch.from_numpy(upper.astype(float))
        self.log = torch.from_numpy(log.astype(bool))
        with np.errstate(all="ignore"):
            low = np.where(log, np.log(np.where(lower > 0, lower, 0.0)), lower)
            high, at = (
                np.where(log, np.log(np.abs(upper)), upper),
                np.where(log, np.log(np.abs(start)), start),
            )
        both, has_low, has_high = np.isfinite(low) & np.isfinite(high), np.isfinite(low), np.isfinite(high)
        with np.errstate(invalid="ignore"):
            bound = np.where(has_low, low, np.where(has_high, high, 0.0))
            size = np.maximum(np.abs(at), np.abs(at - bound))
            size = np.where(log | (size == 0), 1.0, size)
            self.half = torch.from_numpy(np.where(both, (high - low) / 2, size))
            centre = np.where(both, (high + low) / 2, np.where(has_low, low, np.where(has_high, high, at)))
        self.centre = torch.from_numpy(centre)
        kinds = np.where(both, 0, np.where(has_low, 1, np.where(has_high, 2, 3)))
        self._uniform = len(set(kinds)) <= 1
        self._kinds = torch.from_numpy(kinds)
        self._any_log = bool(log.any())
        self._cast: dict[tuple[torch.dtype, torch.device], tuple[Tensor, ...]] = {}

    def _constants(self, like: Tensor) -> tuple[Tensor, ...]:
        """Centre, half, bounds and index tensors in the dtype and on the device of ``like``."""
        key = (like.dtype, like.device)
        if key not in self._cast:
            plain = [t.to(like.dtype).to(like.device) for t in (self.centre, self.half)]
            limits = [_inward(self.lower, like, 1.0), _inward(self.upper, like, -1.0)]
            self._cast[key] = (*plain, *limits, self._kinds.to(like.device), self.log.to(like.device))
        return self._cast[key]

    def limits(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds ``d`` in the dtype of ``like``, rounded inwards."""
        return self._constants(like)[2:4]  # type: ignore[return-value]

    def clamp(self, phi: Tensor) -> Tensor:
        """Take away what rounding added beyond the bounds."""
        return torch.clamp(phi, *self.limits(phi))

    def forward(self, psi: Tensor) -> Tensor:
        """``b x d`` values within bounds."""
        return self.values(self._unit(psi), psi)

    def _unit(self, psi: Tensor) -> Tensor:
        functions = (torch.tanh, softplus, lambda x: -softplus(-x), lambda x: x)
        if self._uniform:
            return functions[int(self._kinds[0])](psi) if len(self._kinds) else psi
        kinds = self._constants(psi)[4]
        result = torch.tanh(psi)
        for kind in (1, 2, 3):
            result = torch.where(kinds == kind, functions[kind](psi), result)
        return result

    def slope(self, psi: Tensor) -> Tensor:
        """Derivative of `forward`, ``b x d``."""
        _, half, *_, kinds, log = self._constants(psi)
        result = 1 - torch.tanh(psi) ** 2
        for kind, slope in enumerate((torch.sigmoid(psi), torch.sigmoid(-psi), torch.ones_like(psi)), 1):
            result = torch.where(kinds == kind, slope, result)
        return half * result * (torch.where(log, self.forward(psi), 1.0) if self._any_log else 1.0)

    def values(self, unit: Tensor, like: Tensor) -> Tensor:
        """Values at ``centre + half * unit``, within bounds."""
        centre, half, *_, log = self._constants(like)
        y = centre + half * unit
        if self._any_log:
            y = torch.where(log, torch.exp(torch.where(log, y, 0.0)), y)
        return self.clamp(y)

    def units(self, phi: Tensor) -> Tensor:
        """Inverse of `values`."""
        centre, half, *_, log = self._constants(phi)
        y = torch.where(log, torch.log(torch.where(log, phi, 1.0)), phi) if self._any_log else phi
        return (y - centre) / half

    def inverse(self, phi: Tensor) -> Tensor:
        """``b x d`` unconstrained numbers of values within or on the bounds."""
        unit, kinds = self.units(phi), self._constants(phi)[4]
        tanh = torch.atanh(unit.clamp(-1 + _CLOSEST, 1 - _CLOSEST))
        positive = unit.abs().clamp(min=_CLOSEST)
        soft = positive + torch.log(-torch.expm1(-positive))
        options = (tanh, soft, -soft, unit)
        result = unit
        for kind, value in enumerate(options):
            result = torch.where(kinds == kind, value, result)
        return result
