"""Runs whose design is moved by a search: saved, resumed, noted, counted and polished like those of gradients."""

import csv
import json
import warnings
from dataclasses import replace
from functools import partial

import lightning
import pytest
import torch
from exact import Reading
from rich.console import Console
from searches import Walk
from toys import Gauge, gun, one_parameter

from mode_opt.design import Design
from mode_opt.errors import SimulationError
from mode_opt.experiment import Alternation, Detector, Effort, Experiment, Verification, VerificationEffort
from mode_opt.gradients import Advance
from mode_opt.objectives import Estimate, Resolution
from mode_opt.simulation import BlackBoxSimulator
from mode_opt.training import Budget, EarlyStopping
from mode_opt.training.job import Job, Settings
from mode_opt.training.judgement import judge
from mode_opt.training.manufacture import manufacturable
from mode_opt.training.notes import Notes
from mode_opt.training.progress import Progress
from mode_opt.training.run_directory import prepare
from mode_opt.training.signals import Interrupted, Requests

SMALL = Effort(
    warm_up=2,
    reconstruction_steps=1,
    designs=2,
    events_per_design=16,
    check_every=3,
    validation_events=64,
    validation_share=1.0,
)
NAMES = {"detector": "gauge", "gradient": "walk", "objective": "resolution"}


@pytest.fixture(autouse=True)
def quiet_lightning():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        yield


class Edged(BlackBoxSimulator):
    """The gauge, which raises, or returns NaN, beyond an edge; and asks the run to end in its n-th call."""

    def __init__(self, edge=10.0, nan=False, call=-1, requests=None):
        super().__init__()
        self.gauge, self.edge, self.nan, self.left, self.requests = Gauge(), edge, nan, call, requests

    def simulate(self, phi, primaries, generator):
        self.left -= 1
        if self.left == 0:
            self.requests.receive(15, None)
        beyond = phi["x"] > self.edge
        if bool(beyond.any()) and not self.nan:
            raise ValueError("x is beyond the edge")
        events = self.gauge(phi, primaries, generator)
        return replace(events, hits=torch.where(beyond[:, :, None, None], torch.nan, events.hits))


class Remembering(Progress):
    """Keeps what it is told."""

    def __init__(self):
        super().__init__({}, quiet=True, console=Console(quiet=True))
        self.said = []

    def say(self, text):
        self.said.append(text)


def job(folder, search=None, simulator=None, requests=None, design=None, **changes):
    prepare(folder)
    parts = (design or one_parameter(), simulator or Edged(), gun(), Reading(), Resolution(width="rms"))
    built = Experiment(*parts, search or Walk())
    detector = Detector("gauge", one_parameter(), {"gauge": Gauge()}, gun(), Reading(), Resolution(width="rms"))
    trainer = partial(lightning.Trainer, accelerator="cpu", devices=1)
    settings = {
        "effort": SMALL,
        "verification": VerificationEffort(steps=0, events=2000, replicas=1, bins=2),
        "budget": Budget(steps=8),
        **changes,
    }
    how = Settings(*(partial(torch.optim.SGD, lr=1e-3) for _ in range(2)), trainer, **settings)
    return Job(detector, built, how, folder, NAMES, Remembering(), requests or Requests())


def rows(folder):
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_search_finds_the_optimum_and_the_result_is_its_answer(tmp_path):
    made = job(tmp_path, Walk(events=256, spread=0.5), budget=Budget(steps=25))
    content = made.run().content
    best = made.experiment.design.point(made.experiment.gradient.answer(made.experiment.design))["x"].item()
    assert content["design"]["x"]["final"] == pytest.approx(best, rel=1e-5)
    assert abs(best - 3.0) < 0.6 and content["objective"]["improvement"]["value"] > 0.05
    assert made.judgement.kind == "better" and made.experiment.gradient.prepared == 1
    assert "gradient_norm" not in rows(tmp_path)[0] and "gradient_check" not in content


def test_every_simulated_event_of_a_search_is_counted_once(tmp_path):
    """8 steps of 64 and a training of 2·16, a warm-up of 2·2·16, two validations of 64."""
    content = job(tmp_path).run().content
    assert content["simulator_calls"] == 8 * (64 + 32) + 2 * 32 + 2 * 64


def test_validations_take_no_more_than_their_share_of_a_search(tmp_path):
    """64 calls of warm-up, 96 a step and 64 a validation: 704 with one at step 6, 1056 at step 9, 1344 at step 12."""
    job(tmp_path, effort=replace(SMALL, validation_share=0.1), budget=Budget(steps=13)).run()
    assert [int(row["step"].split(".")[0]) for row in rows(tmp_path) if row["validation"]] == [6, 12]
    job(tmp_path / "more", effort=replace(SMALL, validation_share=0.2), budget=Budget(steps=13)).run()
    assert [int(row["step"].split(".")[0]) for row in rows(tmp_path / "more") if row["validation"]] == [3, 6, 9, 12]


def test_the_budget_of_simulator_calls_ends_a_search(tmp_path):
    job(tmp_path, budget=Budget(steps=None, simulator_calls=700)).run()
    calls = [float(row["simulator_calls"]) for row in rows(tmp_path)]
    assert calls[-1] >= 700 > calls[-2]
    assert "700 simulator calls" in json.loads((tmp_path / "provenance.json").read_text())["stopped_because"]


def test_columns_that_some_steps_have_are_blank_in_the_others(tmp_path):
    job(tmp_path).run()
    assert [row["radius"] for row in rows(tmp_path)] == ["", "", "0.3", "", "", "0.3", "", ""]
    assert all(row["failed_designs"] == "0.0" for row in rows(tmp_path))


def test_a_note_is_shown_once_and_counted(tmp_path):
    made = job(tmp_path)
    content = made.run().content
    assert content["notes"][0] == {"text": "still walking", "count": 7}
    assert made.progress.said.count("note: still walking") == 1
    assert json.loads((tmp_path / "result.json").read_text())["notes"] == content["notes"]


def test_an_interrupted_search_goes_on_bit_for_bit_with_its_store_and_its_notes(tmp_path):
    """Two calls of warm-up, two a step, one a validation: call 11 is in step 4, whose training comes first."""
    requests = Requests()
    with pytest.raises(Interrupted):
        job(tmp_path, simulator=Edged(call=11, requests=requests), requests=requests).run()
    assert len(rows(tmp_path)) == 4
    resumed, whole = job(tmp_path), job(tmp_path / "whole")
    content, expected = resumed.run().content, whole.run().content
    assert {**content, "wall_seconds": 0.0} == {**expected, "wall_seconds": 0.0}
    names = set(rows(tmp_path)[0]) - {"seconds"}
    pairs = zip(rows(tmp_path), rows(tmp_path / "whole"), strict=True)
    assert all(a[name] == b[name] for a, b in pairs for name in names)
    stores = [made.experiment.gradient.store for made in (resumed, whole)]
    assert len(stores[0]) == 8
    assert all(torch.equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(*stores, strict=True))
    assert resumed.experiment.gradient.prepared == 1, "a resumed search has its first look behind it"
    assert "note: still walking" not in resumed.progress.said


class Jumping(Walk):
    """Answers with a design of its own choice after these steps."""

    def __init__(self, steps, x=5.5):
        super().__init__()
        self.steps, self.x = steps, x

    def advance(self, pipeline, generator):
        done = super().advance(pipeline, generator)
        return Advance(done.objective, done.columns)

    def answer(self, design):
        if len(self.store) in self.steps:
            return torch.full_like(design.psi, (self.x - 3.25) / 2.75).atanh()
        return super().answer(design)


@pytest.mark.parametrize(
    ("nan", "words"), [(False, "ValueError: x is beyond the edge"), (True, "hits that are NaN or infinite")]
)
def test_a_validation_that_fails_is_left_out_and_noted_and_the_run_goes_on(tmp_path, nan, words):
    made = job(tmp_path, Jumping([3]), Edged(4.5, nan=nan), effort=replace(SMALL, reconstruction_steps=0))
    content = made.run().content
    checked = [bool(row["validation"]) for row in rows(tmp_path)]
    assert checked == [False, False, False, False, False, True, False, False]
    (note,) = content["notes"]
    assert (
        note["count"] == 1 and note["text"].startswith("a validation failed and is left out") and words in note["text"]
    )
    assert content["status"] == "finished"
    assert content["simulator_calls"] == 8 * 64 + 2 * 32 + 2 * 64, "the failed validation is counted, too"


def test_a_search_that_fails_ends_the_run_with_its_words(tmp_path):
    made = job(tmp_path, simulator=Edged(0.6), effort=replace(SMALL, warm_up=0, reconstruction_steps=0))
    with pytest.raises(SimulationError, match="nothing came back"):
        made.run()
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["status"] == "failed" and "beyond the edge" in content["message"]


def test_whatever_a_simulator_raises_the_result_does_not_claim_that_the_run_goes_on(tmp_path):
    made = job(tmp_path, Jumping(range(8, 20)), Edged(4.5), effort=replace(SMALL, reconstruction_steps=0))
    with pytest.raises(ValueError, match="beyond the edge"):
        made.run()
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["status"] == "failed" and content["message"].startswith("ValueError:")


def test_a_search_that_no_longer_improves_stops(tmp_path):
    never = EarlyStopping(patience=2, significance=1e9)
    job(tmp_path, early_stopping=never, budget=Budget(steps=30)).run()
    assert len(rows(tmp_path)) == 9


def test_a_final_design_that_is_worse_than_the_start_is_called_so(tmp_path):
    made = job(tmp_path, Jumping(range(1, 99), x=0.6), effort=replace(SMALL, reconstruction_steps=0))
    content = made.run().content
    assert content["status"] == "finished" and made.judgement.kind == "worse"
    assert content["objective"]["improvement"]["value"] < 0
    (note,) = content["notes"]
    assert "the final design is worse than the start: improvement -0." in note["text"]
    assert f"note: {note['text']}" in made.progress.said


def verification(value, error):
    return Verification(Estimate(1.0, 0.1), Estimate(1.0 - value, 0.1), Estimate(value, error), [])


@pytest.mark.parametrize(
    ("value", "error", "kind", "words"),
    [
        (0.03, 0.01, "better", "better than the start: improvement 0.03 ± 0.01"),
        (-0.03, 0.01, "worse", "worse than the start: improvement -0.03 ± 0.01"),
        (-0.015, 0.01, "inconclusive", "no significant improvement"),
        (0.015, 0.01, "inconclusive", "consistent with zero"),
        (0.0, 0.0, "inconclusive", "no significant improvement"),
        (-1e-8, 0.0, "inconclusive", "no significant improvement"),
        (-0.01, 0.0, "worse", "worse"),
    ],
)
def test_two_standard_errors_decide_and_rounding_where_there_are_none(value, error, kind, words):
    found = judge(verification(value, error))
    assert found.kind == kind and words in found.words


def test_notes_are_kept_in_order_and_restored_without_being_shown_again():
    said = []
    notes = Notes(said.append)
    assert notes.entries() == {}
    for text in ("b", "a", "b"):
        notes.add(text)
    assert notes.entries() == {"notes": [{"text": "b", "count": 2}, {"text": "a", "count": 1}]}
    assert said == ["note: b", "note: a"]
    notes.restore({"c": 3})
    notes.add("c")
    assert notes.counts == {"c": 4} and len(said) == 2


# Manufacturing

GRIDDED = {
    "x": {"start": 1.2, "bounds": [0.5, 6.0], "unit": "mm"},
    "y": {"start": 1.3, "bounds": [0.0, 4.0], "grid": 1.0},
}


def polished(search, simulator=None, begin=None, steps=12):
    made = Experiment(Design(GRIDDED), simulator or Edged(), gun(), Reading(), Resolution(width="rms"), search)
    alternation, said = Alternation(made, replace(SMALL, warm_up=0, reconstruction_steps=0)), []
    factories = (partial(torch.optim.SGD, lr=1e-3),) * 2
    calls = made.simulator_calls
    design = manufacturable(made, alternation, factories, steps, lambda what, fraction: None, begin, said.append)
    return design, made.simulator_calls - calls, said


def test_the_rest_is_polished_by_a_search_that_has_learned_nothing():
    used, fresh = Walk(spread=0.5), Walk(spread=0.5)
    used.store = [(torch.full((1, 2), 9.0), -1.0)]
    design, calls, said = polished(used, begin=fresh)
    assert design.free_names == ("x",) and design.concrete()["y"]["value"] == 1.0
    assert design.concrete()["x"]["value"] > 1.6, "towards the optimum at 3"
    assert calls == 12 * 64 and said == ["still walking"] * 11
    assert not fresh.store and len(used.store) == 1, "a copy has walked"


def test_polishing_that_finds_nothing_leaves_the_design_on_the_grid_with_a_note():
    design, _, said = polished(Walk(), Edged(0.6), begin=Walk())
    assert design.concrete()["y"]["value"] == 1.0 and design.concrete()["x"]["value"] == pytest.approx(1.2, rel=1e-4)
    assert len(said) == 1 and "not optimised further (nothing came back" in said[0]


def test_a_whole_run_ends_on_the_grid(tmp_path):
    made = job(tmp_path, design=Design(GRIDDED), polish_steps=4)
    content = made.run().content
    assert content["design"]["y"]["final"] % 1.0 == 0.0 and "loss" in content["manufacturing"]
    assert content["simulator_calls"] == 8 * (64 + 32) + 2 * 32 + 2 * 64 + 4 * (64 + 32)
    assert made.untrained.gradient.store == [] and made.untrained.gradient.prepared == 0
