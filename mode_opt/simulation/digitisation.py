"""From deposited energies to what the electronics record."""

import math
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, ShapeError
from mode_opt.events import Events
from mode_opt.simulation.choices import Choices
from mode_opt.simulation.program import Program
from mode_opt.simulation.simulator import DifferentiableSimulator

Constant = float | str
"""A number, or the name of the design parameter (scalar, or one value per cell) that holds it."""


@final
class Constants:
    """Named constants of a simulator, each a number or the name of a design parameter.

    Args:
        values: constant by name; None means the effect is switched off.
        positive: names of the constants that must be positive; the others must not be negative.

    Raises:
        ConfigurationError: if a number is out of range or not finite.
    """

    def __init__(self, values: dict[str, Constant | None], positive: tuple[str, ...]) -> None:
        for name, value in values.items():
            if value is None or isinstance(value, str):
                continue
            wrong = not math.isfinite(value) or value < 0 or (value == 0 and name in positive)
            if wrong:
                least = "a positive number" if name in positive else "a number, 0 or more"
                raise ConfigurationError(f"digitisation.{name}", value, f"{least}, or the name of a design parameter")
        self.values = dict(values)

    def is_off(self, name: str) -> bool:
        """Whether the constant is None or the number 0."""
        value = self.values[name]
        return value is None or value == 0

    def read(self, name: str, phi: DesignPoint, like: Tensor) -> Tensor:
        """The constant as ``b x 1 x 1`` or ``b x 1 x h``; ``like`` is ``b x n x h``.

        Raises:
            ShapeError: if a design parameter holds neither one value nor one per cell.
        """
        value = self.values[name]
        if not isinstance(value, str):
            return torch.as_tensor(value, dtype=like.dtype, device=like.device).reshape(1, 1, 1)
        if phi[value].shape[1] not in (1, like.shape[2]):
            raise ShapeError(f"design parameter {value}", phi[value].shape, f"b x 1 or b x {like.shape[2]} (cells)")
        return phi[value].to(like.dtype).unsqueeze(1)


def saturated(signal: Tensor, level: Tensor) -> Tensor:
    """``level (1 - exp(-signal / level))``: slope 1 at zero, never above ``level``."""
    return -level * torch.expm1(-signal / level)


def _energies(events: Events) -> Tensor:
    return torch.where(events.mask, events.hits[..., 0], torch.zeros_like(events.hits[..., 0]))


def _recorded(events: Events, signal: Tensor, kept: Tensor | None = None) -> Events:
    """Events whose feature 0 is ``signal``; other features pass through, zeros where not ``kept``."""
    mask = events.mask if kept is None else events.mask & kept
    hits = torch.cat([signal.unsqueeze(-1), events.hits[..., 1:]], -1)
    return replace(events, hits=torch.where(mask.unsqueeze(-1), hits, torch.zeros_like(hits)), mask=mask)


@final
class Digitisation(DifferentiableSimulator):
    """Photostatistics, saturation, noise, gain and a smooth threshold, all reparameterised.

    With e the deposited energy of a cell (hit feature 0, MeV), z and z' standard normal::

        x = e + sqrt(e / N) z  ->  positive part          N: photoelectrons_per_MeV
        x = S (1 - exp(-x / S))                           S: saturation, MeV
        x = gain (x + noise z')                           noise: MeV
        x = x sigmoid((x - threshold) / threshold_width)  both in the unit of the output

    The Gaussian stands for a Poisson number of photoelectrons: mean and variance are those of Poisson, the
    skewness ``1 / sqrt(N e)`` is lost, which changes probabilities by at most ``0.07 / sqrt(N e)`` (first
    Edgeworth term). The positive part adds, with ``u = sqrt(N e)``, the share ``phi(u) / u - Phi(-u)`` to the
    mean: 8.3 % for one expected photoelectron, 0.013 % for nine. Use `StochasticDigitisation` where single
    photoelectrons matter. The root of the number k of photoelectrons is taken as ``k / sqrt(k + 0.001)``, so
    that the derivative of an empty cell is finite.

    The smooth gate multiplies: a cell 4 widths below the threshold keeps 1.8 % of its signal and one 4 widths
    above loses 1.8 %; at the threshold it keeps one half. Against the hard cut ``x (x > threshold)`` the mean
    of a signal whose density rho is flat around the threshold is biased by ``-rho pi^2 width^2 / 6``: terms
    linear in the width cancel. Threshold None or 0: no gate.

    Every constant may be the name of a design parameter. Padded hits stay zero; other features pass through.

    Args:
        photoelectrons_per_MeV: N; None: no photostatistics.
        noise: electronic noise of a cell, MeV; 0: none.
        gain: output per MeV.
        threshold: zero suppression, in the unit of the output; None or 0: none.
        threshold_width: width of the gate, in the unit of the output.
        saturation: S, MeV; None: none.

    Raises:
        ConfigurationError: if a number is out of range, or the named design parameter is unknown.
        ShapeError: if a design parameter is neither scalar nor per cell.
    """

    def __init__(
        self,
        photoelectrons_per_MeV: Constant | None = None,
        noise: Constant = 0.0,
        gain: Constant = 1.0,
        threshold: Constant | None = None,
        threshold_width: Constant = 0.1,
        saturation: Constant | None = None,
    ) -> None:
        super().__init__()
        values = {
            "photoelectrons_per_MeV": photoelectrons_per_MeV,
            "noise": noise,
            "gain": gain,
            "threshold": threshold,
            "threshold_width": threshold_width,
            "saturation": saturation,
        }
        positive = ("photoelectrons_per_MeV", "gain", "threshold_width", "saturation")
        self.constants = Constants(values, positive)

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        events, constants = primaries.expand(phi.designs), self.constants
        signal = _energies(events)
        z = torch.randn((2, *signal.shape), generator=generator, dtype=signal.dtype, device=signal.device)
        if not constants.is_off("photoelectrons_per_MeV"):
            per_energy = constants.read("photoelectrons_per_MeV", phi, signal)
            signal = (signal + _root(signal * per_energy) / per_energy * z[0]).clamp(min=0)
        if not constants.is_off("saturation"):
            signal = saturated(signal, constants.read("saturation", phi, signal))
        if not constants.is_off("noise"):
            signal = signal + constants.read("noise", phi, signal) * z[1]
        signal = constants.read("gain", phi, signal) * signal
        if not constants.is_off("threshold"):
            distance = signal - constants.read("threshold", phi, signal)
            signal = signal * torch.sigmoid(distance / constants.read("threshold_width", phi, signal))
        return _recorded(events, signal.expand(events.mask.shape))


def _root(count: Tensor) -> Tensor:
    """``count / sqrt(count + 1e-3)``: the root of a number of photoelectrons, with a finite slope at zero."""
    count = count.clamp(min=0)
    return count / (count + 1e-3).sqrt()


@final
class StochasticDigitisation(Program):
    """Poisson photoelectrons and hard zero suppression, as random choices.

    With e the deposited energy of a cell (hit feature 0, MeV), rate ``r = N e + d``, z' a normal number::

        k ~ Poisson(r)                          a choice
        x = gain S (1 - exp(-k / (N S)))        (gain k / N without saturation)
        kept ~ Bernoulli(Phi((x - threshold) / (gain noise)))                     a choice
        x + gain noise z', if kept, with z' given that the sum exceeds the threshold

    so that the hits and the mask are distributed as for noise followed by a hard cut. The choices carry the
    derivative with respect to whatever moves the rate (the energies of a differentiable shower, N, d), and, with
    noise, that of the threshold. What remains, gain and the truncated noise given the choices, is pathwise.
    Without noise the cut is a function of the counts and of the threshold alone: then a threshold or gain that is
    a design parameter would carry no derivative through the cut, and is refused.

    Lost cells have mask False and zeros in all features.

    Args:
        photoelectrons_per_MeV: N.
        noise: electronic noise of a cell, MeV.
        gain: output per MeV.
        threshold: zero suppression, in the unit of the output; None: none.
        saturation: S, MeV; None: none.
        dark_counts: d, mean number of photoelectrons in a cell without energy.

    Raises:
        ConfigurationError: if a number is out of range, or a cut without noise depends on the design.
        ShapeError: if a design parameter is neither scalar nor per cell.
    """

    def __init__(
        self,
        photoelectrons_per_MeV: Constant,
        noise: Constant = 0.0,
        gain: Constant = 1.0,
        threshold: Constant | None = None,
        saturation: Constant | None = None,
        dark_counts: Constant = 0.0,
    ) -> None:
        super().__init__()
        values = {
            "photoelectrons_per_MeV": photoelectrons_per_MeV,
            "noise": noise,
            "gain": gain,
            "threshold": threshold,
            "saturation": saturation,
            "dark_counts": dark_counts,
        }
        self.constants = Constants(values, ("photoelectrons_per_MeV", "gain", "saturation"))
        cut = ("threshold", "gain", "saturation", "photoelectrons_per_MeV")
        moving = [name for name in cut if isinstance(values[name], str)]
        if moving and not self.constants.is_off("threshold") and self.constants.is_off("noise"):
            expected = f"noise > 0: a cut without noise has no derivative with respect to {', '.join(moving)}"
            raise ConfigurationError("digitisation.noise", noise, expected)

    def run(self, phi: DesignPoint, primaries: Events, choices: Choices) -> Events:
        energy, constants = _energies(primaries), self.constants
        rate = constants.read("photoelectrons_per_MeV", phi, energy) * energy.clamp(min=0)
        rate = rate + constants.read("dark_counts", phi, energy)
        # A padded hit chooses nothing: its count is certain.
        count = choices.poisson(torch.where(primaries.mask, rate, torch.zeros_like(rate)))
        kept, signal = self._suppress(phi, self._signal(phi, count), choices)
        return _recorded(primaries, signal, kept)

    def _signal(self, phi: DesignPoint, count: Tensor) -> Tensor:
        """Noiseless output for a number of photoelectrons."""
        energy = count / self.constants.read("photoelectrons_per_MeV", phi, count)
        if not self.constants.is_off("saturation"):
            energy = saturated(energy, self.constants.read("saturation", phi, count))
        return energy * self.constants.read("gain", phi, count)

    def _suppress(self, phi: DesignPoint, signal: Tensor, choices: Choices) -> tuple[Tensor, Tensor]:
        """Which cells are kept, and their output."""
        constants, every = self.constants, torch.ones_like(signal, dtype=torch.bool)
        spread = constants.read("gain", phi, signal) * constants.read("noise", phi, signal)
        quiet, cells = constants.is_off("noise"), signal.shape[2]
        if constants.is_off("threshold"):
            return every, signal if quiet else signal + spread * choices.normal(cells, dtype=signal.dtype)
        distance = signal - constants.read("threshold", phi, signal)
        if quiet:
            return distance > 0, signal
        above = distance / spread
        probability = torch.special.ndtr(above)
        kept = choices.bernoulli(probability) > 0.5
        # Given that it is kept, the noise exceeds -above: its upper tail is uniform in (0, Phi(above)).
        tail = (choices.uniform(cells, dtype=signal.dtype) * probability).clamp(min=1e-30)
        noise = -torch.special.ndtri(torch.where(kept, tail.clamp(max=1 - 1e-6), torch.full_like(tail, 0.5)))
        return kept, signal + spread * noise
