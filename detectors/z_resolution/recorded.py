"""The recorded muon pairs."""

from pathlib import Path
from typing import cast

from torch import Tensor

from mode_opt.data import RootReader
from mode_opt.errors import ConfigurationError

from .line_shape import Z_MASS

DATA = Path(__file__).parent / "data" / "uproot-Zmumu.root"

SAMPLES = ("GG", "GT", "TT")
"""How the two muons were reconstructed: global (tracker and muon chambers) or tracker alone."""


def recorded(sample: str = "GG", window: tuple[float, float] = (80e3, 100e3)) -> RootReader:
    """Reader of the mass (MeV) of the muon pairs of opposite charge within a window, one of each event.

    The file holds each pair up to 26 times: once for each combination of reconstructions, and again with a further
    muon. So pairs are selected first and made unique by run and event after that. The other way round would keep the
    first row of each event, which is always GT.

    Args:
        sample: ``GG``, ``GT`` or ``TT``.
        window: lowest and highest mass, MeV.

    Raises:
        ConfigurationError: for another sample.
    """
    if sample not in SAMPLES:
        raise ConfigurationError("detector.sample", sample, f"one of {', '.join(SAMPLES)}")
    low, high = (f"{edge / 1000:.9g}" for edge in window)
    cut = f'(Type == "{sample}") & (Q1 * Q2 < 0) & (M > {low}) & (M < {high})'
    return RootReader(DATA, {"mass": {"expression": "M", "unit": "GeV"}}, cut=cut).unique(["Run", "Event"])


def masses(reader: RootReader) -> Tensor:
    """The recorded masses, ``n``, MeV."""
    return cast(Tensor, reader.read()["mass"])


def closed_form(mass: Tensor) -> float:
    """The common factor on all momenta that brings the mean mass to m_Z, ``m_Z / ⟨m⟩``.

    It is where the transport between the scaled masses and a line at m_Z is least. It takes all that moves the mean for
    the momentum scale: radiation, the luminosity of the quarks and the window.
    """
    return Z_MASS / float(mass.mean())
