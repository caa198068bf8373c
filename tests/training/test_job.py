"""A whole run in one process: what it saves when, what it claims, and how it ends."""

import csv
import json
import warnings
from functools import partial

import lightning
import pytest
import torch
from exact import Reading, reading_experiment, sigma
from rich.console import Console
from toys import Gauge, gun, one_parameter

from mode_opt.errors import NonFiniteError
from mode_opt.experiment import Detector, Effort, Experiment, VerificationEffort
from mode_opt.experiment.experiment import PROBE
from mode_opt.objectives import Objective, Resolution
from mode_opt.simulation import DifferentiableSimulator
from mode_opt.training import Budget, EarlyStopping, History
from mode_opt.training.job import Job, Settings
from mode_opt.training.progress import Progress
from mode_opt.training.run_directory import prepare
from mode_opt.training.signals import Interrupted, Requests

SMALL = Effort(
    events=128,
    warm_up=2,
    reconstruction_steps=1,
    designs=2,
    events_per_design=16,
    check_every=3,
    validation_events=64,
)
NAMES = {"detector": "gauge", "gradient": "pathwise", "objective": "resolution"}


@pytest.fixture(autouse=True)
def quiet_lightning():
    """Lightning warns about data loaders, which here only count steps; the command silences that too."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        yield


def job(folder, simulator=None, gain=1.0, rates=(0.0, 0.3), requests=None, built=None, **changes):
    prepare(folder)
    built = built or reading_experiment(simulator, gain=gain)
    detector = Detector("gauge", one_parameter(), {"gauge": Gauge()}, gun(), Reading(), Resolution(width="rms"))
    trainer = partial(lightning.Trainer, accelerator="cpu", devices=1)
    settings = {
        "effort": SMALL,
        "verification": VerificationEffort(steps=0, events=2000, replicas=1, bins=2),
        "budget": Budget(steps=7),
        **changes,
    }
    how = Settings(*(partial(torch.optim.SGD, lr=rate, momentum=0.5) for rate in rates), trainer, **settings)
    quiet = Progress({}, quiet=True, console=Console(quiet=True))
    return Job(detector, built, how, folder, NAMES, quiet, requests or Requests())


def state(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def rows(folder):
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_result_is_the_average_measured_by_an_untrained_reconstruction(tmp_path):
    built = job(tmp_path, gain=2.0, rates=(0.01, 0.3))
    content = built.run().content
    average = built.experiment.design.point(state(tmp_path)["alternation.average"])["x"].item()
    last = float(rows(tmp_path)[-1]["x"])
    assert content["design"]["x"]["final"] == pytest.approx(average, rel=1e-5)
    assert content["design"]["x"]["final"] != pytest.approx(last, rel=1e-3)
    assert content["design"]["x"]["initial"] == pytest.approx(1.0, rel=1e-4)
    assert built.experiment.reconstruction.gain.item() != pytest.approx(2.0, rel=1e-3)
    objective = content["objective"]  # rms of 2 (1 + σ ε) − 1: nothing trained has measured this
    assert objective["initial"]["value"] == pytest.approx((1 + 4 * sigma(1.0) ** 2) ** 0.5, rel=0.05)
    difference = objective["initial"]["value"] - objective["final"]["value"]
    assert objective["improvement"]["value"] == pytest.approx(difference, rel=1e-4)
    assert json.loads((tmp_path / "result.json").read_text()) == content


def test_every_simulated_event_is_counted_once(tmp_path):
    """Steps of 128 + 2·16, a warm-up of 2·2·16 and two validations of 64; two designs verified with 2000 events.

    A reconstruction that is built to fit needs `PROBE` events, once in the optimisation and once a verified design.
    """
    parts = one_parameter(), Gauge(), gun(), lambda events, phi: Reading(), Resolution(width="rms")
    content = job(tmp_path, built=Experiment(*parts)).run().content
    assert content["simulator_calls"] == PROBE + 7 * (128 + 32) + 2 * 32 + 2 * 64
    facts = json.loads((tmp_path / "provenance.json").read_text())
    assert facts["verification_calls"] == 2 * (2000 + PROBE)
    assert facts["stopped_because"] == "budget of 7 design steps is spent"


class Interrupting(DifferentiableSimulator):
    """Asks the run to end in its n-th call, as a batch system would: in the middle of a design step."""

    def __init__(self, call, requests):
        super().__init__()
        self.gauge, self.left, self.requests = Gauge(), call, requests

    def forward(self, phi, primaries, generator=None):
        self.left -= 1
        if self.left == 0:
            self.requests.receive(15, None)
        return self.gauge(phi, primaries, generator)


def test_an_interrupted_run_saves_the_step_it_was_in(tmp_path):
    """Two calls of warm-up, two a step, one for the validation after step 3: call 2 + 2·3 + 1 + 2 is in step 4."""
    requests = Requests()
    built = job(tmp_path, Interrupting(11, requests), requests=requests)
    with pytest.raises(Interrupted, match="SIGTERM"):
        built.run()
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "interrupted"
    assert len(rows(tmp_path)) == int(state(tmp_path)["alternation.steps"]) == 4
    resumed = job(tmp_path)
    content = resumed.run().content
    whole = job(tmp_path / "whole").run().content
    assert content["status"] == "finished" and content["objective"] == whole["objective"]
    assert content["simulator_calls"] == whole["simulator_calls"]
    names = set(rows(tmp_path)[0]) - {"seconds"}
    pairs = zip(rows(tmp_path), rows(tmp_path / "whole"), strict=True)
    assert all(a[name] == b[name] for a, b in pairs for name in names)


def test_a_checkpoint_never_knows_a_step_that_the_history_does_not(tmp_path, monkeypatch):
    """The disk is full when the row of step 6 is written: step 3 is what can be continued."""
    append = History.append

    def full(self, row):
        if row["step"] == 6:
            raise OSError("no space left on device")
        append(self, row)

    monkeypatch.setattr(History, "append", full)
    with pytest.raises(OSError, match="no space"):
        job(tmp_path).run()
    assert int(state(tmp_path)["alternation.steps"]) == 3
    monkeypatch.undo()
    assert job(tmp_path).run().content["status"] == "finished" and len(rows(tmp_path)) == 7


def test_a_run_that_no_longer_improves_stops_and_stays_stopped(tmp_path):
    """Patience 2 with an improvement that nothing can reach: the third validation is the last."""
    never = EarlyStopping(patience=2, significance=1e9)
    job(tmp_path, early_stopping=never, budget=Budget(steps=30)).run()
    assert len(rows(tmp_path)) == 9
    reason = json.loads((tmp_path / "provenance.json").read_text())["stopped_because"]
    assert reason == "no improvement in 2 validations"
    job(tmp_path, early_stopping=never, budget=Budget(steps=30)).run()
    assert len(rows(tmp_path)) == 9


class Failing(Objective):
    """A resolution that becomes NaN at the fifth design step, as that of a simulator with a hole would."""

    def __init__(self) -> None:
        super().__init__()
        self.resolution, self.steps = Resolution(width="rms"), 0

    def forward(self, events, belief, phi):
        if not torch.is_grad_enabled():  # error bands and validations
            return self.resolution(events, belief, phi)
        self.steps += 1
        return self.resolution(events, belief, phi) * (float("nan") if self.steps == 5 else 1.0)


def test_a_nan_in_the_middle_of_a_run_leaves_the_last_good_state(tmp_path):
    failing = job(tmp_path)
    failing.experiment.objective = Failing()
    with pytest.raises(NonFiniteError, match="objective is nan at step 4"):
        failing.run()
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert int(saved["alternation.steps"]) == 4  # not step 3, where the last regular checkpoint was
    assert torch.isfinite(saved["alternation.experiment.design.psi"]).all()
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["status"] == "failed" and "nan" in content["message"]
    assert "final" not in content["objective"] and "final" in content["design"]["x"]
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 1 + 4
