"""Bad configuration is refused before any work, in one readable message that names the key."""

import pytest

FAST = ["simulator=parametric", "experiment=smoke", "hydra.run.dir=run"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["detector.design.parameters.gap_thicknes.start=3"], ["gap_thicknes"]),
        (["detector.design.parameters.gap_thickness.start=30"], ["gap_thickness.start", "30"]),
        (["detector.design.parameters.gap_thickness.unit=kg"], ["gap_thickness", "kg"]),
        (["detector.design.parameters.gap_thickness.start=abc"], ["gap_thickness.start", "abc"]),
        (["detector.design.constraints=['length <= 100 mm']"], ["length"]),
        (["detector.design.constraints=['length <= 100 kg']"], ["length", "kg"]),
        (["detector.design.constraints=['lenght <= 100 mm']"], ["lenght"]),
        (["simulator=geant5"], ["simulator", "geant5", "surrogate, parametric"]),
        (["detector=toaster"], ["toaster"]),
        (["gradient=magic"], ["gradient/magic"]),
        (["design.gap_thicknes=3"], ["gap_thicknes"]),
        (["objective=resolution", "objective.width=fwhm"], ["objective.width", "fwhm"]),
        (["budget.steps=0"], ["budget.steps"]),
        (["effort.events=-1"], ["effort.events"]),
        (["seed=-4"], ["seed", "-4"]),
        (["detector.absorber=cheese"], ["absorber", "cheese"]),
        (["detector.energy=[1000,500]"], ["energy"]),
        (["trainer.accelerator=gpux"], ["gpux"]),
        (["resume=nowhere"], ["nowhere"]),
        (["hydra.run.dir=/dev/null/run"], ["/dev/null/run"]),
    ],
    ids=lambda part: part[0] if isinstance(part, list) else "",
)
def test_refused_with_the_key_and_no_stack(command, overrides, words, tmp_path):
    done = command("optimise", *FAST, *overrides, check=False)
    assert done.returncode not in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) <= 12
    assert not (tmp_path / "run" / "history.csv").exists()


def test_a_wrong_pair_of_simulator_and_estimator(command, tmp_path):
    folder = tmp_path / "mine" / "toy" / "conf" / "detector"
    folder.mkdir(parents=True)
    (folder.parent.parent / "blackbox.py").write_text(BLACK_BOX)
    (folder / "toy.yaml").write_text("_target_: toy.blackbox.detector\nparameters: {x: {start: 1.0, bounds: [0, 3]}}\n")
    done = command("optimise", "--detectors", "mine", "detector=toy", "gradient=pathwise", check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "Pathwise" in done.stderr and "Wall" in done.stderr


BLACK_BOX = """
from mode_opt import Design, Detector
from mode_opt.objectives import Resolution
from mode_opt.reconstruction import CellNetwork
from mode_opt.simulation import BlackBoxSimulator, ParticleGun


class Wall(BlackBoxSimulator):
    def simulate(self, phi, primaries, generator):
        raise RuntimeError("must not be called")


def detector(parameters):
    return Detector("toy", Design(parameters), {"wall": Wall()}, ParticleGun(), CellNetwork.fitting, Resolution())
"""


def test_debug_shows_the_stack(command):
    done = command("optimise", *FAST, "budget.steps=0", "--debug", check=False)
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_unknown_command_and_missing_arguments(command):
    assert "one of optimise, simulate" in command("optimize", check=False).stderr
    assert "one run directory" in command("report", check=False).stderr
    assert "a run directory" in command("verify", check=False).stderr
    assert "a folder that holds folders of detectors" in command("detectors", "--detectors", "no", check=False).stderr


def test_alone_it_prints_help(command):
    assert "usage: mode-opt COMMAND" in command().stdout
    assert "mode-opt 0." in command("--version").stdout
