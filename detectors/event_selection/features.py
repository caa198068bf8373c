"""Recorded showers as events: observables for cuts, inputs of a network, and the same under uncertainties."""

from collections.abc import Mapping
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, DataError
from mode_opt.events import Events
from mode_opt.objectives import Scenario

from .observables import BRANCH, Observable

DATA = Path(__file__).parent / "data" / "em_showers_egamma.root"

LAYERS = 50
PHOTON = 22
"""Particle number of the signal; everything else is background."""

SPECTRUM = (-5, -4)
"""Features of a selected event with the factors of its weight for the spectrum at −1 and at +1."""


def names_of(observables: Mapping[str, Observable], groups: int | None) -> tuple[str, ...]:
    """Name of each feature of the hit of a selected event."""
    own = (*observables, *(f"share_{k}" for k in range(0 if groups is None else LAYERS // groups)))
    varied = tuple(f"{name}_{side}" for side in ("low", "high") for name in own)
    return (*own, *varied, "spectrum_low", "spectrum_high", "selected_low", "selected_high", "selected")


@final
class Calibration(Scenario):
    """The showers as a calorimeter would read them whose response rises or falls with the depth.

    Observables and inputs of the network are those of the tilted response, and the cuts are decided on them.

    Args:
        sign: −1 or +1, times the tilt with which the features were computed (`read_events`).

    Raises:
        ConfigurationError: for another sign.
    """

    def __init__(self, sign: int) -> None:
        super().__init__()
        if sign not in (-1, 1):
            raise ConfigurationError("objective.templates.shapes.calibration.sign", sign, "−1 or +1")
        self.sign = sign

    def forward(self, events: Events, phi: DesignPoint) -> tuple[Events, DesignPoint]:
        hits, side = events.hits, (self.sign + 1) // 2
        own = (hits.shape[3] - 5) // 3
        varied = hits[..., (1 + side) * own : (2 + side) * own]
        decided = hits[..., side - 3 : side - 2]
        changed = torch.cat([varied, hits[..., own:-1], decided], -1)
        return Events(events.truth, changed, events.mask, events.weight, events.log_probability, events.controls), phi


def read_events(
    observables: Mapping[str, Observable],
    sample: str = "all",
    groups: int | None = None,
    tilt: float = 0.02,
    spectral_index: float = 0.2,
) -> Events:
    r"""Recorded showers: truth ``is_photon``, one hit with the features of `names_of` before the selection.

    These are the observables and the shares of the energy in groups of layers, the same with the energy in layer k
    times :math:`1 \mp t (2k/49 - 1)`, and the weights of another spectrum,
    :math:`E^{\mp \gamma} / \langle E^{\mp \gamma} \rangle` with the mean over all showers of the same kind.

    A shower without energy in any gap keeps its place with an unreal hit, so that no cut selects it. The halves are
    the first and the last 8000 entries of the file, whose order is random; both hold showers of the same energies.

    Args:
        observables: by name, in the order of the features.
        sample: ``training``, ``held_out`` or ``all``.
        groups: number of layers in a group, a divisor of 50; None: no shares.
        tilt: t.
        spectral_index: γ.

    Raises:
        ConfigurationError: for another sample, groups that do not fit, or an uncertainty that cannot be.
        DataError: if the file or a branch is missing or broken, or the showers have not 50 layers.
    """
    if groups is not None and (groups < 1 or LAYERS % groups):
        raise ConfigurationError("detector.groups", groups, f"a divisor of {LAYERS}")
    if not 0 <= tilt < 1:
        raise ConfigurationError("detector.tilt", tilt, "0 or a positive fraction below 1")
    if not 0 <= spectral_index < float("inf"):
        raise ConfigurationError("detector.spectral_index", spectral_index, "0 or a positive number")
    deposits, number, energy = _columns()
    half = len(number) // 2
    samples = {"training": slice(half), "held_out": slice(half, None), "all": slice(None)}
    if sample not in samples:
        raise ConfigurationError("detector.sample", sample, f"one of {', '.join(samples)}")
    depth = torch.linspace(-1, 1, LAYERS, dtype=torch.float64)
    blocks = [_features(deposits * (1 + sign * tilt * depth), observables, groups) for sign in (0, -1, 1)]
    photon = torch.eq(number, PHOTON)
    factors = [_spectrum(energy, photon, sign * spectral_index) for sign in (-1, 1)]
    values = torch.cat([*blocks, torch.stack(factors, 1)], 1)[samples[sample]]
    seen = (deposits.sum(1, keepdim=True) > 0)[samples[sample]]
    hits = torch.where(seen, values, torch.zeros_like(values)).to(torch.get_default_dtype())
    truth = photon[samples[sample]].to(hits.dtype)
    return Events.of(truth.reshape(1, -1, 1), hits[None, :, None, :], seen.reshape(1, -1, 1))


def _columns() -> tuple[Tensor, Tensor, Tensor]:
    """Energies in the gaps, ``n x 50`` in MeV, particle numbers and energies of the primaries."""
    from mode_opt.data import Ragged, RootReader

    names = (BRANCH, "pdg_id", "primary_energy")
    columns = RootReader(DATA, list(names), tree="showers").read()
    plain = [column for name in names if not isinstance(column := columns[name], Ragged)]
    if len(plain) < 3 or plain[0].shape[1:] != (LAYERS,):
        raise DataError(f"{DATA}: a branch is jagged, or {BRANCH} has other than {LAYERS} layers")
    return plain[0].double(), plain[1], plain[2].double()


def _features(deposits: Tensor, observables: Mapping[str, Observable], groups: int | None) -> Tensor:
    """Observables and shares of the groups, ``n x k``."""
    values = [compute(deposits) for compute in observables.values()]
    if groups is not None:
        total = deposits.sum(1, keepdim=True).clamp_min(torch.finfo(deposits.dtype).tiny)
        values += (deposits.reshape(len(deposits), -1, groups).sum(2) / total).unbind(1)
    return torch.stack(values, 1)


def _spectrum(energy: Tensor, photon: Tensor, index: float) -> Tensor:
    """Factors of the weights for a spectrum that is harder by this index, on average 1 for each kind."""
    factor = (energy / energy.log().mean().exp()) ** index
    for kind in (photon, ~photon):
        factor = torch.where(kind, factor / factor[kind].mean(), factor)
    return factor
