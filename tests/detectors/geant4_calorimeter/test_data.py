"""Finding Geant4's data sets, without Geant4."""

import pytest

from mode_opt.detectors.geant4_calorimeter import data


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without data sets, and nothing that says where else they are."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in (*data.DATA, "GEANT4_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def install(folder, *versions):
    for name in versions:
        (folder / name).mkdir(parents=True)


FULL = ("G4EMLOW8.8", "PhotonEvaporation6.1.2", "G4PARTICLEXS4.2", "G4SAIDDATA2.0", "G4ENSDFSTATE3.0")


def test_nowhere(home):
    assert data.missing("FTFP_BERT") == list(data.ALWAYS)
    assert data.missing("ionisation") == []
    assert set(data.environment(home / "empty").values()) == {str(home / "empty")}
    assert (home / "empty" / "ENSDFSTATE.dat").read_text() == ""


def test_where_the_package_puts_them(home):
    install(home / ".geant4_pybind", *FULL)
    assert data.missing("FTFP_BERT") == data.missing("QBBC_EMZ") == []
    assert data.missing("QGSP_BIC_HP") == ["G4NEUTRONHPDATA"]
    assert data.missing("Shielding") == ["G4NEUTRONHPDATA", "G4RADIOACTIVEDATA"]
    assert data.missing("FTFP_INCLXX_HP") == ["G4NEUTRONHPDATA", "G4INCLDATA", "G4ABLADATA"]
    found = data.environment(home / "empty")
    assert found["G4LEDATA"] == str(home / ".geant4_pybind" / "G4EMLOW8.8")
    assert found["G4NEUTRONHPDATA"] == str(home / "empty") and set(found) == set(data.DATA)


def test_the_latest_version(home):
    install(home / ".geant4_pybind", "G4EMLOW8.9", "G4EMLOW8.10", "G4EMLOW7.13")
    assert data.environment(home / "empty")["G4LEDATA"].endswith("G4EMLOW8.10")


def test_where_an_installed_geant4_has_them(home, monkeypatch):
    install(home / "share", *FULL)
    monkeypatch.setenv("GEANT4_DATA_DIR", str(home / "share"))
    assert data.missing("FTFP_BERT") == []


def test_a_variable_comes_first(home, monkeypatch):
    install(home / ".geant4_pybind", *FULL)
    install(home, "mine")
    monkeypatch.setenv("G4LEDATA", str(home / "mine"))
    assert data.environment(home / "empty")["G4LEDATA"] == str(home / "mine")
    monkeypatch.setenv("G4LEDATA", str(home / "not there"))
    assert data.missing("FTFP_BERT") == ["G4LEDATA"]
