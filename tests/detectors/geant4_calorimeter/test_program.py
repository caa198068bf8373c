"""Volumes, scoring and physics in Geant4, without data sets: each job in a process of its own."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mode_opt.campaigns import Failure, Job, JobFailure
from mode_opt.detectors.geant4_calorimeter.data import missing
from mode_opt.simulation import PythonFunction

if importlib.util.find_spec("geant4_pybind") is None:
    pytest.skip("geant4-pybind is not installed: pip install 'mode-opt[geant4]'", allow_module_level=True)

STACK = {"layers": 4, "absorber": "G4_Pb", "gap": "G4_lAr", "width": 400.0}
GUN = {"particle": "mu-", "physics": "ionisation", "hits": ["gap", "absorber"], "cut": 0.7}
DESIGN = {"absorber_thickness": 2.0, "gap_thickness": [1.0, 2.0, 3.0, 4.0]}
LEAD, ARGON = 11.35, 1.396
"""g/cm³"""


@pytest.fixture
def run(tmp_path):
    def run(name, arguments, energies=(1000.0,), design=DESIGN, seed=1):
        function = name if ":" in name else f"mode_opt.detectors.geant4_calorimeter.program:{name}"
        work = PythonFunction(function, STACK | arguments, path=Path(__file__).parent, jobs_per_process=1)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        energy = np.asarray(energies, dtype=float)
        return work.run(Job(work.digest, design, len(energy), seed, {"energy": energy}), folder)["hits"]

    return run


def fired(run, energies, design=DESIGN, seed=1, **changes):
    return run("Calorimeter", GUN | changes, energies, design, seed)


def test_the_program_loads_no_frameworks():
    script = "import sys, mode_opt.detectors.geant4_calorimeter.program; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "geant4_pybind", "mode_opt.simulation"} & set(loaded)


def test_volumes_are_those_of_the_design(run):
    rows = run("inspect", {"physics": "FTFP_BERT"})[0]
    layer, z, thickness, radiation_length, interaction_length, mass, overlap = rows.T
    assert layer.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert thickness == pytest.approx([2, 1, 2, 2, 2, 3, 2, 4])
    assert z == pytest.approx(np.cumsum(thickness) - thickness / 2)
    # Review of Particle Physics, atomic and nuclear properties: 6.37 and 19.55 g/cm², 199.6 and 119.7 g/cm²
    assert radiation_length[:2] == pytest.approx([63.7 / LEAD, 195.5 / ARGON], rel=0.005)
    assert interaction_length[:2] == pytest.approx([1996 / LEAD, 1197 / ARGON], rel=0.1)
    assert mass[:2] == pytest.approx([LEAD * 40**2 * 0.2 / 1000, ARGON * 40**2 * 0.1 / 1000], rel=0.001)
    assert not overlap.any()


@pytest.mark.parametrize("wrong", [{"gap": "G4_lead"}, {"physics": "FTFP_BRT"}])
def test_names_that_geant4_does_not_know(run, wrong):
    with pytest.raises(JobFailure, match=next(iter(wrong.values()))) as caught:
        run("inspect", {"physics": "FTFP_BERT"} | wrong)
    assert caught.value.kind is Failure.RAISED


def test_unknown_particle(run):
    with pytest.raises(JobFailure, match=r"detector\.particle: got 'electron'"):
        fired(run, [1.0], particle="electron")


def test_wrong_thickness(run):
    with pytest.raises(JobFailure, match="absorber_thickness: got -1 mm"):
        fired(run, [1.0], design=DESIGN | {"absorber_thickness": -1.0})


def test_nothing_is_downloaded(run, tmp_path, monkeypatch):
    """With CI=true the package would, while it is imported, into the home directory."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    fired(run, [1.0])
    assert not (tmp_path / "home").exists()


def test_straight_tracks_measure_the_layers(run):
    """A geantino only flies: what it crosses of each layer is the design, in the right order."""
    hits = fired(run, [1.0, 5.0], particle="geantino", hits=["gap_path", "absorber_path", "gap", "absorber"])
    assert hits.shape == (2, 4, 4)
    assert hits[:, :, 0] == pytest.approx(np.array([[1, 2, 3, 4]] * 2), abs=1e-6)
    assert hits[:, :, 1] == pytest.approx(2.0, abs=1e-6) and not hits[:, :, 2:].any()


def test_muons_lose_what_the_review_of_particle_physics_says(run):
    """At 300 MeV they are at the minimum: 1.122 in lead and 1.508 in argon, MeV cm²/g; the mean of 2000."""
    hits = fired(run, [300.0] * 2000, hits=["gap", "absorber", "gap_path", "absorber_path"], cut=1000.0)
    gap, absorber, gap_path, absorber_path = hits.sum(1).mean(0)
    assert absorber / absorber_path == pytest.approx(0.1122 * LEAD, rel=0.04)
    assert gap / gap_path == pytest.approx(0.1508 * ARGON, rel=0.04)
    assert 8.0 < absorber_path < 8.3 and 10.0 < gap_path < 10.4  # longer than straight: they scatter


def test_each_event_has_its_own_energy(run):
    """Protons that stop inside leave all they had; where they stop shows in the layers."""
    energies = np.array([10.0, 40.0, 20.0, 50.0])
    hits = fired(run, energies, particle="proton", cut=1000.0)
    assert hits.sum((1, 2)) == pytest.approx(energies, rel=1e-3)
    assert (hits[0, 1:] == 0).all() and hits[3, 1].sum() > 0


def test_a_low_cut_makes_secondary_electrons(run):
    """They lengthen the sum of all tracks."""
    paths = [fired(run, [1000.0] * 200, hits=["gap_path"], cut=cut).sum() for cut in (0.01, 10.0)]
    assert paths[0] > 1.02 * paths[1]


def test_the_seed_decides(run):
    first, again, other = (fired(run, [1000.0] * 5, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_list_within_another_is_the_same_physics(run):
    """Lists of Geant4's factory, such as FTFP_BERT_EMZ, are used so."""
    plain, within = (run(name, GUN, [1000.0] * 20) for name in ("Calorimeter", "lists:calorimeter_of_a_list_within"))
    assert np.array_equal(plain, within) and plain.any()


@pytest.mark.skipif(not missing("FTFP_BERT"), reason="Geant4's data sets are here: it does not abort")
@pytest.mark.parametrize("physics", ["FTFP_BERT", "FTFP_BERT_EMZ"])
def test_when_geant4_aborts_only_the_job_does(run, tmp_path, physics):
    with pytest.raises(JobFailure, match="SIGABRT") as caught:
        fired(run, [1000.0], physics=physics)
    assert caught.value.kind is Failure.CRASH
    (log,) = tmp_path.glob("*/log.txt")
    assert "G4PARTICLEXSDATA" in log.read_text() and "Fatal Exception" in log.read_text()


def test_geant4_runs_once_in_a_process(tmp_path):
    work = PythonFunction("mode_opt.detectors.geant4_calorimeter.program:Calorimeter", STACK | GUN, jobs_per_process=2)
    job = Job(work.digest, DESIGN, 1, 1, {"energy": np.ones(1)})
    for name in "ab":
        (tmp_path / name).mkdir()
    work.run(job, tmp_path / "a")
    with pytest.raises(JobFailure, match="jobs_per_process must be 1"):
        work.run(job, tmp_path / "b")
