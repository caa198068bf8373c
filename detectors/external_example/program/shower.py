"""shower: electrons in a sampling calorimeter of lead and plastic scintillator. README.md says what is simulated.

  python shower.py --config run.ini [--absorber CM] [--gap CM] [--layers N] [--events N] [--seed N]
                   [--energy GEV | --primaries FILE] [--output FILE.root|.csv|.npz]

An option overrides the entry of the same name in the configuration file. shower.cpp is the same in C++.
"""

import configparser
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Material:
    """Z, radiation length (cm), critical energy of electrons (MeV), loss of a minimum ionising particle (MeV/cm)."""

    charge: float
    radiation_length: float
    critical_energy: float
    loss: float


LEAD = Material(82.0, 0.5612, 7.43, 12.73)
SCINTILLATOR = Material(3.5, 41.31, 93.11, 2.052)
ELECTRON_TO_MIP = 1 / (1 + 0.007 * (LEAD.charge - SCINTILLATOR.charge))
CROSSING_LOSS = 1.15  # mean deposit of a crossing particle, in minimum losses
PHOTOELECTRONS = 5.0  # per MeV
NOISE = 1.0  # MeV per layer
THRESHOLD = 2.0  # MeV; a layer with less is not read out
DECAY, DECAY_SPREAD = 0.5, 0.12  # of the profile per radiation length, and of its logarithm from shower to shower
DEFAULTS = {
    **{"absorber": "0.2", "gap": "0.2", "layers": "16", "events": "1000", "seed": "1"},
    **{"energy": "1", "primaries": "", "output": "shower.root"},
}


def settings(words: Sequence[str]) -> dict[str, str]:
    """The configuration file, then the options."""
    if len(words) % 2 or any(not word.startswith("--") for word in words[::2]):
        raise ValueError(f"expected --name value: {' '.join(words)}")
    given = {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
    found = {**DEFAULTS, **_configuration(given.pop("config", None)), **given}
    if unknown := sorted(set(found) - set(DEFAULTS)):
        raise ValueError(f"unknown setting {', '.join(unknown)}")
    return found


def _configuration(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(Path(path).read_text(encoding="utf-8"))
    except configparser.Error as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    return {name: value for section in parser.sections() for name, value in parser[section].items()}


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"not a number: {text}")
    return value


def whole(given: dict[str, str], name: str, least: int) -> int:
    """A whole number."""
    value = number(given[name])
    if value != int(value) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}")
    return int(value)


def thicknesses(given: dict[str, str], name: str, layers: int) -> np.ndarray:
    """cm; one number for all layers, or one for each, separated by commas."""
    values = np.array([number(word.strip()) for word in given[name].split(",")])
    if len(values) not in (1, layers):
        raise ValueError(f"{name} needs 1 number or one for each layer")
    if (values <= 0).any():
        raise ValueError(f"{name} must be above 0 cm")
    return np.broadcast_to(values, layers)


def energies(given: dict[str, str], events: int) -> np.ndarray:
    """GeV, one of each event: all the same, or the lines of a file, whose first may be a heading."""
    if not given["primaries"]:
        values = np.full(events, number(given["energy"]))
    else:
        lines = [line.strip() for line in Path(given["primaries"]).read_text(encoding="utf-8").splitlines()]
        values = np.array([number(x) for k, x in enumerate(lines) if x and not (k == 0 and x[0].isalpha())])
        if len(values) != events:
            raise ValueError(f"{given['primaries']} must hold one energy for each event")
    if (values <= 0).any():
        raise ValueError("energies must be above 0 GeV")
    return values


def incomplete_gamma(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """P(a, x) = x^a e^-x / Γ(a+1) (1 + x/(a+1) + x²/((a+1)(a+2)) + …), regularised; arrays of the same shape."""
    beyond = x > a + 60 + 12 * np.sqrt(a)
    x = np.where(beyond, 1.0, x)
    term, total, n = np.ones_like(x), np.ones_like(x), 0
    while (term > 1e-12 * total).any():
        n += 1
        term = term * x / (a + n)
        total = total + term
    log_gamma = np.array([math.lgamma(value) for value in (a[:, 0] + 1)])[:, None]
    return np.where(beyond, 1.0, np.minimum(1.0, total * np.exp(a * np.log(x) - x - log_gamma)))


def deposited(energy: np.ndarray, absorber: np.ndarray, gap: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """MeV that each layer, lead and gap together, takes of each electron (MeV): events x layers; the rest leaks."""
    in_lead, in_gap = absorber / LEAD.radiation_length, gap / SCINTILLATOR.radiation_length
    depth = np.cumsum(in_lead + in_gap)
    critical = np.sum(in_lead * LEAD.critical_energy + in_gap * SCINTILLATOR.critical_energy) / depth[-1]
    length = np.maximum(np.log(energy / critical), 2.0)
    maximum = (length - 0.5) * np.exp(random.standard_normal(len(energy)) / (1.26 * length - 1.4))
    b = DECAY * np.exp(DECAY_SPREAD * random.standard_normal(len(energy)))
    shape = np.repeat((1 + b * maximum)[:, None], len(depth), axis=1)
    return energy[:, None] * np.diff(incomplete_gamma(shape, b[:, None] * depth), axis=1, prepend=0.0)


def signals(released: np.ndarray, absorber: np.ndarray, gap: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """MeV in each gap as it is read out.

    A Poisson number of particles cross the gap, each leaves an exponentially distributed energy; then photoelectrons
    and noise, and nothing of layers below the threshold.
    """
    minimum = gap * SCINTILLATOR.loss
    fraction = ELECTRON_TO_MIP * minimum / (minimum + absorber * LEAD.loss)
    each = CROSSING_LOSS * minimum
    crossings = random.poisson(fraction * np.maximum(released, 0.0) / each)
    deposit = random.standard_gamma(crossings) * each
    signal = random.poisson(PHOTOELECTRONS * deposit) / PHOTOELECTRONS + NOISE * random.standard_normal(deposit.shape)
    return np.where(signal < THRESHOLD, 0.0, signal)


def write(path: Path, energy: np.ndarray, edep: np.ndarray) -> None:
    """By the ending: a ROOT tree ``events`` with branches energy and edep[layers], .npz likewise, or CSV."""
    if path.suffix == ".root":
        import uproot

        with uproot.recreate(path) as file:
            file.mktree("events", {"energy": energy.dtype, "edep": (edep.dtype, edep.shape[1:])})
            file["events"].extend({"energy": energy, "edep": edep})
    elif path.suffix == ".npz":
        np.savez(path, energy=energy, edep=edep)
    else:
        header = ",".join(["energy", *(f"edep_{k}" for k in range(edep.shape[1]))])
        np.savetxt(path, np.column_stack([energy, edep]), fmt="%.8g", delimiter=",", header=header, comments="")


def run(given: dict[str, str]) -> None:
    """Simulate and write."""
    layers, events = whole(given, "layers", 1), whole(given, "events", 1)
    absorber, gap = (thicknesses(given, name, layers) for name in ("absorber", "gap"))
    energy = energies(given, events)
    random = np.random.default_rng(whole(given, "seed", 0))
    write(
        Path(given["output"]), energy, signals(deposited(1000 * energy, absorber, gap, random), absorber, gap, random)
    )


def main(words: Sequence[str]) -> int:
    """Exit status: 0, or 2 for a mistake in what was asked for."""
    try:
        run(settings(words))
    except (ValueError, FileNotFoundError) as error:
        sys.stderr.write(f"shower: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
