"""The detector: what it refuses, and events of it from end to end."""

import importlib.util
from importlib.metadata import PackageNotFoundError

import pytest
import torch

from mode_opt.campaigns import Campaign, Job, Serial, Store
from mode_opt.design import DesignPoint
from mode_opt.detectors.geant4_calorimeter import data, detector, geant4_calorimeter
from mode_opt.errors import ConfigurationError
from mode_opt.simulation import PythonFunction, conducted, stream
from mode_opt.simulation.external import design_values

INSTALLED = importlib.util.find_spec("geant4_pybind") is not None
ABSENT = data.missing("FTFP_BERT")
needs_geant4 = pytest.mark.skipif(
    not INSTALLED, reason="geant4-pybind is not installed: pip install 'mode-opt[geant4]'"
)
needs_data = pytest.mark.skipif(
    not INSTALLED or bool(ABSENT), reason=f"Geant4's data sets are missing ({', '.join(ABSENT)}): {data.HOW}"
)
MUONS = {"simulators": {"geant4": {"physics": "ionisation"}}, "particle": "mu-", "energy": [1000.0, 2000.0]}


def simulated(folder, thicknesses, count=40, **changes):
    """Events at designs with these gap thicknesses, and how many jobs it took."""
    built = geant4_calorimeter(**{"layers": 3, "digitisation": None, **changes})
    simulator = built.simulator()
    store = Store(folder)
    conducted(simulator, Campaign(store, Serial()))
    start = built.design().detach()
    values = start.values.repeat(len(thicknesses), 1)
    values[:, list(start.layout.names).index("gap_thickness")] = torch.tensor(thicknesses)
    phi = DesignPoint(values, start.layout)
    events = simulator(phi, built.primaries.sample(count, stream("cpu", 1)), stream("cpu", 2))
    return events, sum(1 for _ in store.entries())


def test_its_file_describes_it():
    built = geant4_calorimeter()
    assert list(built.simulators) == ["geant4"] and built.hit_names == ("gap",)
    point = built.design().detach()
    assert float(point["length"]) == pytest.approx(50 * 7.0)
    shapes = built.drawing(point)
    assert len(shapes) == 100 and shapes[-1]["x"][1] == pytest.approx(350.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": 0}, "layers"),
        ({"width": -1.0}, "width"),
        ({"hits": ["gap", "energy"]}, "hits"),
        ({"hits": []}, "hits"),
        ({"hits": ["gap", "absorber"]}, "digitisation"),
        ({"design": {"parameters": {"gap_thickness": {"size": 7}}}}, "size"),
        ({"simulators": {"parametric": {}}}, "simulators"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_refused(changes, words):
    with pytest.raises(ConfigurationError, match=words):
        geant4_calorimeter(**changes)


@needs_geant4
@pytest.mark.parametrize(("changes", "words"), [({"absorber": "G4_lead"}, "G4_lead"), ({"layers": 3}, "cut")])
def test_refused_when_geant4_is_met(changes, words):
    options = {"physics": "ionisation"} | ({"cut": 0.0} if words == "cut" else {})
    with pytest.raises(ConfigurationError, match=words):
        geant4_calorimeter(**changes, simulators={"geant4": options}).simulator()


@needs_geant4
def test_missing_data_sets_are_told_before_any_run(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in (*data.DATA, "GEANT4_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigurationError, match=r"G4EMLOW \(G4LEDATA\).*python -c 'import geant4_pybind'"):
        geant4_calorimeter().simulator()
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told(monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(detector, "version", version)
    with pytest.raises(ConfigurationError, match=r"pip install 'mode-opt\[geant4\]'"):
        geant4_calorimeter().simulator()


@needs_geant4
def test_its_volumes_are_those_that_geant4_has(tmp_path):
    built = geant4_calorimeter(
        layers=3, design={"parameters": {"gap_thickness": {"size": 3, "start": [1.0, 2.0, 3.0]}}}
    )
    point = built.design().detach()
    arguments = {"layers": 3, "absorber": "G4_PbWO4", "gap": "G4_lAr", "width": 1000.0, "physics": "ionisation"}
    work = PythonFunction("mode_opt.detectors.geant4_calorimeter.program:inspect", arguments, jobs_per_process=1)
    rows = work.run(Job(work.digest, design_values(point, 0), 1, 1), tmp_path)["hits"][0]
    volumes = built.volumes(point).children
    ours = [[v.placement.translation[2], v.solid.z, v.material.radiation_length] for v in volumes]
    for row, (z, thickness, length) in zip(rows, ours, strict=True):
        assert row[1:3] == pytest.approx([z, thickness], abs=1e-4) and row[3] == pytest.approx(length, rel=0.02)
    assert geant4_calorimeter(absorber="G4_Zr").volumes is None


@needs_geant4
def test_muons_through_two_designs(tmp_path):
    """Deposits follow the thickness of the gaps; the same again comes from the store."""
    events, jobs = simulated(tmp_path, [2.0, 8.0], **MUONS)
    assert events.hits.shape == (2, 40, 3, 1) and jobs == 2
    mean = events.hits.mean((1, 2, 3))
    assert mean[1] / mean[0] == pytest.approx(4.0, rel=0.3)
    again, same = simulated(tmp_path, [2.0, 8.0], **MUONS)
    assert torch.equal(events.hits, again.hits) and same == 2


@needs_geant4
def test_limits_leave_results_valid_and_physics_does_not(tmp_path):
    def digest(**settings):
        changed = MUONS | {"simulators": {"geant4": {"physics": "ionisation", **settings}}}
        return geant4_calorimeter(layers=3, digitisation=None, **changed).simulator().work.digest

    assert digest() == digest(time_limit=5.0) != digest(cut=0.1)


@needs_data
def test_electrons_make_showers(tmp_path):
    """1 GeV into 24 radiation lengths: nearly all of it is found, a fraction of it in the gaps."""
    settings = {"layers": 50, "hits": ["gap", "absorber"], "energy": [1000.0, 1001.0]}
    events, _ = simulated(tmp_path, [2.5], count=5, **settings)
    total, gap = events.hits.sum((2, 3)), events.hits[..., 0].sum(2)
    assert ((total > 900) & (total < 1001)).all() and ((gap > 50) & (gap < 200)).all()
