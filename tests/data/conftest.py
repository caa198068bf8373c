"""The ROOT files that the tests of the data room read."""

from pathlib import Path

import pytest

FILES = Path(__file__).parent / "files"


@pytest.fixture
def hzz() -> str:
    """2421 simulated events with jagged jets and muons."""
    return str(FILES / "uproot-HZZ.root")


@pytest.fixture
def zmumu() -> str:
    """2304 rows of 500 real events."""
    return str(FILES / "uproot-Zmumu.root")


@pytest.fixture
def geant4() -> str:
    """Cosmic muons in a strip detector; four trees."""
    return str(FILES / "uproot-from-geant4.root")


@pytest.fixture
def dimuons() -> str:
    """1000 real events in an RNTuple."""
    return str(FILES / "Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root")


@pytest.fixture
def showers() -> str:
    """20480 electron showers of 256 designs, carried by the detector."""
    return str(Path(__file__).parents[2] / "detectors/sampling_calorimeter/data/em_showers_scan.root")
