"""``ParametricShower``: a differentiable electron shower in a sampling calorimeter.

Sources: [GP] G. Grindhammer, S. Peters, The parameterized simulation of electromagnetic showers in
homogeneous and sampling calorimeters, hep-ex/0001020. [W] R. Wigmans, Calorimetry, 2nd ed., Oxford 2017,
chapters 3 and 4. [WH] E. B. Wilson, M. M. Hilferty, Proc. Natl. Acad. Sci. 17 (1931) 684.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ShapeError
from mode_opt.events import Events
from mode_opt.simulation import DifferentiableSimulator

from .materials import EffectiveMedium, Material, material

Number = float | Tensor
_NODES = ((0.5 - 0.15**0.5, 5 / 18), (0.5, 8 / 18), (0.5 + 0.15**0.5, 5 / 18))
_LEAST = 1e-12
"""Share of the energy that every slab receives at least: keeps quotients and their derivatives finite."""


@final
@dataclass(frozen=True)
class Calibration:
    """The constants of the model; the values are those found by ``scripts/calibrate_parametric.py``.

    With ``l = ln(E / E_c)`` (at least 2), ``s = 1 / F_s`` and Z of the effective medium::

        <ln T>       = ln(l - depth_offset - depth_step s)          depth T of the maximum, radiation lengths
        <ln(a - 1)>  = ln(shape_offset + (shape_slope + 2.26 / Z) l - shape_step s)
        sd(ln T)     = 1 / (depth_spread + depth_spread_slope l)
        sd(ln(a-1))  = 1 / (shape_spread + shape_spread_slope l)    correlation: correlation - 0.023 l

    [GP] write ``ln a`` where ``ln(a - 1)`` stands here, which keeps ``a > 1`` for every shower.
    ``transition``, ``cavity`` (g/cm2) and ``softening`` belong to the electron-to-mip ratio, ``grain`` (MeV)
    and ``grain_power`` to the sampling fluctuation, ``cluster`` and ``cluster_length`` (radiation lengths) to
    the clusters, ``albedo`` and ``lateral`` to the leakage: see `ParametricShower`. A tensor in the place of
    a number is for calibration, which differentiates with respect to it.
    """

    depth_offset: Number = 0.7871
    depth_step: Number = 0.1481
    shape_offset: Number = -0.4117
    shape_slope: Number = 0.4705
    shape_step: Number = 0.1278
    depth_spread: Number = -0.4791
    depth_spread_slope: Number = 1.04
    shape_spread: Number = 0.4341
    shape_spread_slope: Number = 0.5405
    correlation: Number = 0.8128
    transition: Number = 0.01479
    cavity: Number = 0.3891
    softening: Number = 0.715
    grain: Number = 0.7859
    grain_power: Number = 0.3821
    cluster: Number = 0.6746
    cluster_length: Number = 0.1254
    albedo: Number = 0.002596
    lateral: Number = 0.9641


@final
@dataclass(frozen=True)
class Deposits:
    """Where the energy of each electron went, MeV; the sum of everything is the energy that entered.

    Attributes:
        absorber: ``b x n x layers``.
        gap: ``b x n x layers``.
        leakage: ``b x n``, out of the front, the sides and the back.
    """

    absorber: Tensor
    gap: Tensor
    leakage: Tensor


@final
class ParametricShower(DifferentiableSimulator):
    """Energy that one electron leaves in the gap of each layer (absorber, then gap), with derivatives.

    Mean energy of slab ``j`` at depth ``t`` (radiation lengths of the stack) for one shower [GP]::

        p(t) = beta^a t^(a-1) exp(-beta t) / Gamma(a),     beta = (a - 1) / T,     w_j = int_j p dt

    where ``T`` and ``a`` are log-normal from shower to shower (`Calibration`). The integrals are composite
    three-point Gauss sums with steps of at most one radiation length. A layer releases ``E (1 - side) (w_a +
    w_g)`` on average, in clusters (one for each secondary photon, say) whose energies add up to a gamma
    variate of variance ``mean x cluster x E_c``, normalised to the event's sum; a cluster is spread behind
    the centre of its layer as ``exp(-t / cluster_length)``. Of the energy of a layer the gap takes the share
    ``q / (1 + q)``::

        q    = e w_g X0_g m_g / (w_a X0_a m_a)             m: loss of a minimum ionising particle, MeV/mm
        e    = e8 + (1 - e8) exp(-t / (softening T))       the spectrum softens behind the maximum
        e8   = 1 / (1 + transition (Z_a - Z_g) x / (x + cavity))          x: g/cm2 of one gap
        side = albedo + 0.42 exp(-size / (2 R_M lateral))

    so that a thin gap sees the ratio of the minimum losses and a thick one the electron-to-mip ratio of its
    own material (``Z_a < Z_g``: the inverse ratio). Sampling fluctuation: slabs and leakage are independent
    gamma variates of these means and variance ``mean x w``, ``w = grain (D_a D_g)^grain_power`` with ``D``
    (MeV) the losses of a minimum ionising particle in the two slabs of a layer, divided by their sum and
    multiplied by E. This is a Dirichlet distribution: energies are positive, their sum is E in every event,
    and ``var(gap) = E f (1 - f) w`` for a sampling fraction f, which is the a/sqrt(E) of [W] and vanishes for
    f -> 1.

    The gamma variates are differentiable functions of a normal z and a uniform u, whose number does not
    depend on the design: ``Gamma(k) = Gamma(k + 1) u^(1/k)`` exactly, with [WH]
    ``Gamma(k + 1) = (k + 1) (1 - 1 / (9 (k + 1)) + z / (3 sqrt(k + 1)))^3``, whose mean is right to 0.2 %.

    Reads the design parameters ``absorber_thickness`` and ``gap_thickness`` (mm, ``b x 1`` or ``b x layers``;
    a medium of unequal layers is averaged over the stack). Primaries: hits ``b x n x 1 x 1``, the energy of
    an electron in MeV, meant for 0.2 to 50 GeV. Returns hits ``b x n x layers x 1``.

    Args:
        layers: number of layers.
        absorber: name of the absorber in `materials.MATERIALS`.
        gap: name of the sensitive material.
        transverse_size: width and height of the calorimeter, mm.
        calibration: the constants; those of PbWO4 and liquid argon if None.

    Raises:
        ConfigurationError: for an unknown material.
        ShapeError: if primaries have not one hit of one feature, or a thickness is not b x 1 or b x layers.
    """

    def __init__(
        self,
        layers: int = 50,
        absorber: str = "PbWO4",
        gap: str = "lAr",
        transverse_size: float = 400.0,
        calibration: Calibration | None = None,
    ) -> None:
        super().__init__()
        self.layers = layers
        self.absorber = material(absorber, "absorber")
        self.gap = material(gap, "gap")
        self.transverse_size = transverse_size
        self.calibration = calibration or Calibration()

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        events = primaries.expand(phi.designs)
        hits = self.deposits(phi, primaries, generator).gap.unsqueeze(-1)
        return replace(events, hits=hits, mask=torch.ones(hits.shape[:3], dtype=torch.bool, device=hits.device))

    def deposits(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Deposits:
        """Energies in all slabs, absorber included; arguments as in `forward`."""
        if primaries.hits.shape[2:] != (1, 1):
            raise ShapeError("primaries.hits", primaries.hits.shape, "b x n x 1 x 1, the energy of one electron in MeV")
        energy = primaries.expand(phi.designs).hits[..., 0]
        thickness = [self._thickness(phi, name).to(energy.dtype) for name in ("absorber", "gap")]
        stack = _Stack.of(self.absorber, self.gap, thickness[0], thickness[1])
        scale, shape = self._shower(stack.medium, energy, generator)
        in_absorber, in_gap = stack.profile(scale, shape)
        share = self._gap_share(stack, in_absorber, in_gap, scale)
        released = energy * (1 - self._side_leakage(stack.medium)) * (in_absorber + in_gap)
        clusters = self._clusters(stack.medium, released, generator)
        layer = clusters @ stack.spread(self.calibration.cluster_length)
        leakage = torch.maximum(energy - layer.sum(2, keepdim=True), _LEAST * energy)
        means = torch.cat([layer * (1 - share), layer * share, leakage], 2)
        return self._fluctuate(stack, energy, means, generator)

    def _thickness(self, phi: DesignPoint, name: str) -> Tensor:
        """``b x layers``, mm."""
        thickness = phi[f"{name}_thickness"]
        if thickness.shape[1] not in (1, self.layers):
            raise ShapeError(f"{name}_thickness", thickness.shape, f"b x 1 or b x {self.layers} (layers)")
        return thickness.expand(-1, self.layers)

    def _shower(
        self, medium: EffectiveMedium, energy: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Depth of the maximum ``T`` and shape minus one ``a - 1`` of each shower, both ``b x n x 1``."""
        c = self.calibration
        log = (energy / medium.critical_energy[:, None]).log().clamp(min=2.0)
        step, number = medium.step[:, None], medium.atomic_number[:, None]
        z = torch.randn((2, *log.shape), generator=generator, dtype=log.dtype, device=log.device)
        rho = c.correlation - 0.023 * log
        mixed = rho * z[0] + (1 - rho**2).clamp(min=1e-3).sqrt() * z[1]
        depth = (log - c.depth_offset - c.depth_step * step).clamp(min=0.1)
        shape = (c.shape_offset + (c.shape_slope + 2.26 / number) * log - c.shape_step * step).clamp(min=0.1)
        spread_depth = (c.depth_spread + c.depth_spread_slope * log).clamp(min=1.0)
        spread_shape = (c.shape_spread + c.shape_spread_slope * log).clamp(min=1.0)
        return depth * (z[0] / spread_depth).exp(), shape * (mixed / spread_shape).exp()

    def _gap_share(self, stack: "_Stack", in_absorber: Tensor, in_gap: Tensor, scale: Tensor) -> Tensor:
        """Share of the gap in the energy of each layer, ``b x n x layers``."""
        c, absorber, gap = self.calibration, self.absorber, self.gap
        difference = absorber.atomic_number - gap.atomic_number
        mass = stack.gap * gap.density / 10
        transition = c.transition * abs(difference) * mass / (mass + c.cavity)
        limit = (1 / (1 + transition) if difference > 0 else 1 + transition)[:, None]
        ratio = limit + (1 - limit) * (-stack.centre[:, None] / (c.softening * scale)).exp()
        collected = ratio * in_gap * (gap.radiation_length * gap.minimum_loss)
        return collected / (collected + in_absorber * (absorber.radiation_length * absorber.minimum_loss))

    def _side_leakage(self, medium: EffectiveMedium) -> Tensor:
        """Share of the energy lost through front and sides, ``b x 1 x 1``."""
        c = self.calibration
        width = self.transverse_size / (2 * medium.moliere_radius * c.lateral)
        return (c.albedo + 0.42 * (-width).exp())[:, None]

    def _clusters(self, medium: EffectiveMedium, mean: Tensor, generator: torch.Generator | None) -> Tensor:
        """Energy that secondary photons release in each layer: gamma variates with the sum of their means."""
        size = (self.calibration.cluster * medium.critical_energy)[:, None]
        drawn = gamma_variate(mean / size, generator)
        return drawn * (mean.sum(2, keepdim=True) / drawn.sum(2, keepdim=True).clamp(min=_LEAST))

    def _fluctuate(self, stack: "_Stack", energy: Tensor, mean: Tensor, generator: torch.Generator | None) -> Deposits:
        """Dirichlet variates of ``b x n x (2 layers + 1)`` means: absorbers, gaps, leakage."""
        c = self.calibration
        product = stack.absorber * self.absorber.minimum_loss * stack.gap * self.gap.minimum_loss
        grain = c.grain * product.clamp(min=1e-9) ** c.grain_power
        grain = torch.cat([grain, grain, grain.mean(1, keepdim=True)], 1)[:, None]
        drawn = grain * gamma_variate(mean / grain, generator)
        drawn = drawn * (energy / drawn.sum(2, keepdim=True).clamp(min=_LEAST))
        absorber, gap, leakage = drawn.split([self.layers, self.layers, 1], 2)
        return Deposits(absorber, gap, leakage[..., 0])


@final
@dataclass(frozen=True)
class _Stack:
    """Geometry of ``b`` stacks: thicknesses in mm, depths in radiation lengths, all ``b x layers``."""

    absorber: Tensor
    gap: Tensor
    front: Tensor
    middle: Tensor
    back: Tensor
    medium: EffectiveMedium

    @classmethod
    def of(cls, absorber: Material, gap: Material, absorber_mm: Tensor, gap_mm: Tensor) -> "_Stack":
        depth_absorber, depth_gap = absorber_mm / absorber.radiation_length, gap_mm / gap.radiation_length
        back = (depth_absorber + depth_gap).cumsum(1)
        middle = back - depth_gap
        medium = EffectiveMedium.of(absorber, gap, absorber_mm, gap_mm)
        return cls(absorber_mm, gap_mm, middle - depth_absorber, middle, back, medium)

    def spread(self, length: Number) -> Tensor:
        """Share of a cluster released in the middle of layer ``i`` that layer ``j`` gets, ``b x i x j``."""
        start = self.centre[:, :, None]
        front, back = ((edge[:, None, :] - start).clamp(min=0) for edge in (self.front, self.back))
        return (-front / length).exp() - (-back / length).exp()

    @property
    def centre(self) -> Tensor:
        return (self.front + self.back) / 2

    def profile(self, scale: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        """Integrals of the profile over absorbers and gaps, ``b x n x layers``; ``shape`` is ``a - 1``."""
        rate = shape / scale
        norm = (shape + 1) * rate.log() - (shape + 1).lgamma()

        def density(t: Tensor) -> Tensor:
            t = t[:, None].clamp(min=1e-6)
            return (norm + shape * t.log() - rate * t).exp()

        absorbers = _integral(density, self.front, self.middle)
        return absorbers + _LEAST, _integral(density, self.middle, self.back) + _LEAST


def _integral(density: Callable[[Tensor], Tensor], front: Tensor, back: Tensor) -> Tensor:
    """Integrals of ``density`` from ``front`` to ``back``, both ``b x layers``, as ``b x n x layers``.

    Composite Gauss sums; steps are at most one radiation length, their number that of the thickest slab.
    """
    width = back - front
    steps = max(1, int(width.detach().max().ceil()))
    total = torch.zeros(())
    for step in range(steps):
        for node, weight in _NODES:
            value = density(front + width * ((step + node) / steps)) * (width * (weight / steps))[:, None]
            total = value if step == 0 and node == _NODES[0][0] else total + value
    return total


def gamma_variate(shape: Tensor, generator: torch.Generator | None) -> Tensor:
    """Gamma variates of the given shape and scale 1, differentiable in ``shape``; see `ParametricShower`.

    Two random numbers a variate are drawn, whatever the shape. Shapes below 1e-6 count as 1e-6.
    """
    shape = shape.clamp(min=1e-6)
    z = torch.randn(shape.shape, generator=generator, dtype=shape.dtype, device=shape.device)
    u = torch.rand(shape.shape, generator=generator, dtype=shape.dtype, device=shape.device)
    above = shape + 1
    cube = (1 - 1 / (9 * above) + z / (3 * above.sqrt())).clamp(min=0) ** 3
    return above * cube * (torch.log1p(-u) / shape).exp()
