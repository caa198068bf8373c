"""What the two programs simulate, seen from their command lines."""

import subprocess
import sys

import numpy as np
import pytest
import uproot
from showers import PROGRAM, runner

ELECTRON_TO_MIP = 1 / (1 + 0.007 * 78.5)
DESIGN = {"absorber": 0.5, "gap": 0.3}


def fraction(absorber, gap):
    """Visible part of the energy that a layer takes, from the formulae of the README."""
    return ELECTRON_TO_MIP * gap * 2.052 / (gap * 2.052 + absorber * 12.73)


def test_all_energy_is_seen_where_nothing_leaks(shower):
    # 40 radiation lengths; of 2 GeV that are seen, layers below the threshold of 2 MeV lose a few MeV
    energy, deposits = shower(absorber=1.4, gap=0.3, energy=100, events=2000)
    expected, total = 1e5 * fraction(1.4, 0.3), deposits.sum(1)
    assert total.mean() == pytest.approx(expected, abs=4 * total.std() / 2000**0.5 + 4e-3 * expected)
    assert (energy == 100).all()


def test_a_thin_calorimeter_leaks_and_no_layer_sees_more_than_there_is(shower):
    _, thin = shower(absorber=0.1, gap=0.3, energy=3, events=1000)
    full = 3000 * fraction(0.1, 0.3)
    assert 0 < thin.sum(1).mean() < 0.5 * full
    assert (thin.mean(0) < full).all()


def test_the_response_is_linear_where_nothing_leaks(shower):
    ratios = []
    for energy in (50, 100, 200):
        _, deposits = shower(absorber=1.4, gap=0.3, energy=energy, events=1500, seed=energy)
        ratio = deposits.sum(1) / energy
        ratios.append(ratio.mean())
        assert ratios[-1] == pytest.approx(ratios[0], abs=5 * ratio.std() / 1500**0.5 + 5e-3 * ratios[0])


def test_fluctuations_are_those_of_crossings_light_and_noise(shower):
    _, deposits = shower(absorber=1.4, gap=0.3, energy=100, events=4000)
    visible, crossing = 1e5 * fraction(1.4, 0.3), 1.15 * 2.052 * 0.3
    expected = (visible * (2 * crossing + 1 / 5.0) + 16 * 1.0**2) ** 0.5
    assert deposits.sum(1).std() == pytest.approx(expected, rel=5 / (2 * 4000) ** 0.5)


def test_layers_below_the_threshold_read_nothing(shower):
    _, deposits = shower(absorber=0.5, gap=0.3, energy=1, events=500)
    assert deposits[deposits > 0].min() >= 2.0 - 1e-6
    assert 0.02 < (deposits == 0).mean() < 0.9


def test_the_maximum_moves_with_the_logarithm_of_the_energy(shower):
    depth = (np.arange(16) + 0.5) * (0.5 / 0.5612 + 0.3 / 41.31)
    centre = []
    for energy in (1, 10):
        _, deposits = shower(absorber=0.5, gap=0.3, energy=energy, events=2000, layers=16)
        centre.append(float((deposits.mean(0) * depth).sum() / deposits.mean(0).sum()))
    assert 1.0 < centre[1] - centre[0] < np.log(10)  # less than ln 10: the tail of the deeper one leaks


def test_the_seed_decides(shower):
    first, again, other = (shower(**DESIGN, seed=seed, events=50)[1] for seed in (7, 7, 8))
    assert (first == again).all()
    assert (first != other).any()


def test_primaries_and_layers_come_from_files_and_lists(shower, tmp_path):
    energies = np.linspace(1, 5, 40)
    (tmp_path / "run.ini").write_text("[calorimeter]\nlayers = 3\nabsorber = 0.5, 1.0, 2.0\ngap = 0.2\n; a comment\n")
    np.savetxt(tmp_path / "primaries.csv", energies, header="energy", comments="")
    energy, deposits = shower(config=tmp_path / "run.ini", primaries=tmp_path / "primaries.csv", events=40, gap=0.3)
    assert energy == pytest.approx(energies)
    assert deposits.shape == (40, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--absorber", "-1"], "above 0"),
        (["--absorber", "nan"], "not a number"),
        (["--absorber", "1,2"], "one for each layer"),
        (["--events", "1.5"], "whole number"),
        (["--colour", "red"], "colour"),
        (["--config", "nowhere.ini"], "nowhere.ini"),
        (["--events"], "--name value"),
    ],
)
def test_mistakes_are_refused_with_status_2(program, tmp_path, words, message):
    done = subprocess.run([*program, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and message in done.stderr
    assert not list(tmp_path.glob("shower.*"))


def test_too_few_primaries_are_refused(program, tmp_path):
    (tmp_path / "primaries.csv").write_text("energy\n1.0\n2.0\n")
    words = [*program, "--primaries", "primaries.csv", "--events", "3"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "one energy for each event" in done.stderr


def test_both_languages_agree(binary, tmp_path):
    count, means, widths = 6000, [], []
    for k, command in enumerate(([sys.executable, str(PROGRAM / "shower.py")], [binary])):
        _, deposits = runner(command, tmp_path)(**DESIGN, energy=3, events=count, seed=5 + k)
        total = np.column_stack([deposits, deposits.sum(1)])
        means.append((total.mean(0), total.std(0) / count**0.5))
        fourth = ((total - total.mean(0)) ** 4).mean(0)
        widths.append((total.std(0), np.sqrt((fourth - total.var(0) ** 2) / count) / (2 * total.std(0))))
    for (first, first_error), (second, second_error) in (means, widths):
        assert (np.abs(first - second) < 4 * np.hypot(first_error, second_error)).all()


def test_root_csv_and_npz_hold_the_same(tmp_path):
    command = [sys.executable, str(PROGRAM / "shower.py"), "--events", "20"]
    for name in ("a.root", "a.npz", "a.csv"):
        subprocess.run([*command, "--output", name], cwd=tmp_path, check=True)
    with uproot.open(tmp_path / "a.root") as file:
        tree = file["events"].arrays(library="np")
    stored = np.load(tmp_path / "a.npz")
    table = np.loadtxt(tmp_path / "a.csv", delimiter=",", skiprows=1)
    assert (tree["edep"] == stored["edep"]).all() and tree["edep"].shape == (20, 16)
    assert table[:, 1:] == pytest.approx(stored["edep"], rel=1e-6)


def test_the_script_says_that_there_is_no_compiler(tmp_path):
    words = ["sh", str(PROGRAM / "build.sh"), str(tmp_path / "shower")]
    done = subprocess.run(
        words, env={"PATH": "/usr/bin:/bin", "CXX": "no-such-compiler"}, capture_output=True, text=True
    )
    assert done.returncode == 3 and "no-such-compiler" in done.stderr and "shower.py" in done.stderr
    assert not list(tmp_path.iterdir())
