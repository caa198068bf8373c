"""Where Geant4's data sets are, found as geant4-pybind and Geant4 find them, without importing either."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

IONISATION = "ionisation"
"""Our own list of processes that need no data set; the others are reference lists of Geant4."""

DATA: Mapping[str, str] = {
    "G4NEUTRONHPDATA": "G4NDL",
    "G4LEDATA": "G4EMLOW",
    "G4LEVELGAMMADATA": "PhotonEvaporation",
    "G4RADIOACTIVEDATA": "RadioactiveDecay",
    "G4PARTICLEXSDATA": "G4PARTICLEXS",
    "G4PIIDATA": "G4PII",
    "G4REALSURFACEDATA": "RealSurface",
    "G4SAIDXSDATA": "G4SAIDDATA",
    "G4ABLADATA": "G4ABLA",
    "G4INCLDATA": "G4INCL",
    "G4ENSDFSTATEDATA": "G4ENSDFSTATE",
    "G4CHANNELINGDATA": "G4CHANNELING",
}
"""Data sets by the environment variable that says where each is."""

ALWAYS = ("G4LEDATA", "G4LEVELGAMMADATA", "G4PARTICLEXSDATA", "G4SAIDXSDATA", "G4ENSDFSTATEDATA")
FURTHER: Mapping[str, tuple[str, ...]] = {
    "HP": ("G4NEUTRONHPDATA",),
    "Shielding": ("G4NEUTRONHPDATA", "G4RADIOACTIVEDATA"),
    "LBE": ("G4NEUTRONHPDATA", "G4RADIOACTIVEDATA"),
    "INCLXX": ("G4INCLDATA", "G4ABLADATA"),
}
"""What reference physics lists with these in their names read besides."""

HOW = (
    "get them once with the package's own command, python -c 'import geant4_pybind' (without CI=true it asks, then "
    "loads some 2 GB into ~/.geant4_pybind), or let the variables or GEANT4_DATA_DIR name the folders of an installed "
    f"Geant4; physics={IONISATION} needs none"
)


def missing(physics: str) -> list[str]:
    """Variables of the data sets that a physics list needs and that are nowhere."""
    if physics == IONISATION:
        return []
    needed = dict.fromkeys((*ALWAYS, *(v for part, more in FURTHER.items() if part in physics for v in more)))
    return [variable for variable in needed if _folder(variable) is None]


def environment(empty: Path) -> dict[str, str]:
    """A folder for each variable, so that geant4-pybind neither asks for what is missing nor downloads it.

    Args:
        empty: stands for what is missing; gets a table of nuclear states without entries, which Geant4 wants to open
            whatever it simulates.
    """
    empty.mkdir(parents=True, exist_ok=True)
    (empty / "ENSDFSTATE.dat").touch()
    return {variable: str(_folder(variable) or empty) for variable in DATA}


def _folder(variable: str) -> Path | None:
    """Of a data set: named by its variable, or in a folder of all of them, the latest version."""
    if variable in os.environ:
        named = Path(os.environ[variable])
        return named if named.is_dir() else None
    found = [folder for parent in _parents() for folder in parent.glob(f"{DATA[variable]}[0-9]*") if folder.is_dir()]
    return max(found, key=lambda folder: _version(folder.name.removeprefix(DATA[variable])), default=None)


def _parents() -> Iterator[Path]:
    if "GEANT4_DATA_DIR" in os.environ:
        yield Path(os.environ["GEANT4_DATA_DIR"])
    else:
        yield Path("~/.geant4_pybind").expanduser()


def _version(text: str) -> list[int]:
    """8.10 is later than 8.9."""
    return [int(part) for part in "".join(c if c.isdigit() else " " for c in text).split()]
