"""Reading of run directories, whole and broken."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mode_opt.errors import DataError
from mode_opt.report import RunDirectory, write_report
from mode_opt.report.configuration import Configuration, redact

WriteRun = Callable[..., Path]


def edited(path: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> Path:
    tree = json.loads((path / name).read_text())
    change(tree)
    (path / name).write_text(json.dumps(tree))
    return path


def test_everything_is_read(write_run: WriteRun) -> None:
    run = RunDirectory(write_run(arrays=True, categories=True))
    assert run.result.final is not None and run.result.final.value == 0.06412
    assert run.steps == 200 and run.scalars() == ["absorber_thickness", "gap_thickness"]
    assert [len(columns) for columns in run.arrays().values()] == [50, 50]
    assert run.arrays()["gap_thickness"][10] == "gap_thickness[10]"
    assert run.constraints() == ["length"]
    assert run.configuration is not None and run.configuration.bounds("gap_thickness") == (1.0, 10.0)


def test_only_what_the_result_lists_is_a_parameter(write_run: WriteRun) -> None:
    run = RunDirectory(write_run(categories=True, columns={"something_else": np.zeros(200)}))
    assert run.scalars() == ["absorber_thickness", "gap_thickness"] and run.categories() == {}


def test_optional_files_may_be_absent(write_run: WriteRun) -> None:
    names = ("evaluation.csv", "drawing.json", "provenance.json", "surrogate.json", ".hydra/config.yaml")
    run = RunDirectory(write_run(without=names))
    assert [run.evaluation, run.drawing, run.provenance, run.surrogate, run.configuration] == [None] * 5


@pytest.mark.parametrize("name", ["result.json", "history.csv"])
def test_needed_files_must_be_there(name: str, write_run: WriteRun) -> None:
    path = write_run(without=(name,))
    with pytest.raises(DataError, match=rf"{name}: the file is missing"):
        write_report(path)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such directory"):
        RunDirectory(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "name",
    ["result.json", "drawing.json", "provenance.json", "surrogate.json", "history.csv", "evaluation.csv"],
)
def test_truncated_files_are_named(name: str, write_run: WriteRun) -> None:
    path = write_run()
    text = (path / name).read_text()
    (path / name).write_text(text[: text.rindex(",") - 1])
    with pytest.raises(DataError, match=rf"{name}.*(truncated|corrupt)"):
        RunDirectory(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("status"), r"result\.json: status is None, expected a word"),
        (
            lambda t: t["objective"]["final"].update(value="x"),
            r"objective\.final\.value is 'x', expected a number",
        ),
        (lambda t: t.update(design=3), r"design is 3, expected a mapping"),
        (
            lambda t: t["constraints"]["length"].update(satisfied="yes"),
            r"satisfied is 'yes', expected true or false",
        ),
    ],
)
def test_wrong_results_are_refused(change: Callable[[dict[str, Any]], Any], message: str, write_run: WriteRun) -> None:
    with pytest.raises(DataError, match=message):
        RunDirectory(edited(write_run(), "result.json", change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["final"][3].update(kind="cone"), r"final\[3\] has kind 'cone', expected 'box'"),
        (
            lambda t: t["initial"][0].update(x=[2, 1]),
            r"initial\[0\]\.x is \[2, 1\], expected two ascending numbers",
        ),
        (
            lambda t: t["initial"][0].update(y=[1, "a", 2]),
            r"initial\[0\]\.y is .* expected two ascending numbers",
        ),
        (lambda t: t.update(initial="box"), r"initial is 'box', expected a list of shapes"),
    ],
)
def test_wrong_drawings_are_refused(change: Callable[[dict[str, Any]], Any], message: str, write_run: WriteRun) -> None:
    with pytest.raises(DataError, match=message):
        RunDirectory(edited(write_run(), "drawing.json", change))


def test_wrong_surrogates_designs_and_configurations_are_refused(write_run: WriteRun) -> None:
    with pytest.raises(DataError, match="expected a list of mappings with a quantity"):
        RunDirectory(edited(write_run("a"), "surrogate.json", lambda t: t.update(rows=[1])))
    path = write_run("b")
    (path / "evaluation.csv").write_text((path / "evaluation.csv").read_text().replace("final", "middle"))
    with pytest.raises(DataError, match="column design holds 'middle', expected initial or final"):
        RunDirectory(path)
    path = write_run("c")
    (path / ".hydra" / "config.yaml").write_text("a: [1,\n")
    with pytest.raises(DataError, match=r"config\.yaml: not valid YAML"):
        RunDirectory(path)


def test_numbers_that_are_not_finite_count_as_not_measured(write_run: WriteRun) -> None:
    path = edited(write_run(), "result.json", lambda t: t["objective"]["final"].update(value=float("nan")))
    assert RunDirectory(path).result.final is None


def test_a_step_written_twice_by_a_resumed_run_counts_once(write_run: WriteRun) -> None:
    path = write_run(steps=5)
    lines = (path / "history.csv").read_text().splitlines()
    again = lines[5].split(",")
    again[1] = "0.5"
    (path / "history.csv").write_text("\n".join([*lines, ",".join(again)]) + "\n")
    run = RunDirectory(path)
    assert run.history is not None and run.history.floats("step").tolist() == [0, 1, 2, 3, 4]
    assert run.history.floats("objective")[-1] == 0.5


def test_bounds_and_senses_are_only_taken_where_they_are_plain() -> None:
    tree = {
        "design": {
            "parameters": {
                "a": {"bounds": ["0.5 mm", "6 mm"], "unit": "mm"},
                "b": {"bounds": ["0.5 cm", "6 cm"], "unit": "mm"},
                "c": {"lower": 1, "upper": 2},
            },
            "constraints": {"length": "total <= 400 mm", "cost": {"expression": "3 kEUR >= cost"}, "mass": 5},
        },
        "more": {"constraints": ["depth >= 20", {"name": "angle", "rule": "theta < 3"}]},
    }
    configuration = Configuration("", tree)
    assert configuration.bounds("a") == (0.5, 6.0) and configuration.bounds("b") is None
    assert configuration.bounds("c") == (1.0, 2.0) and configuration.bounds("d") is None
    senses = {name: configuration.sense(name) for name in ("length", "cost", "depth", "angle", "mass", "x")}
    assert senses == {"length": "<=", "cost": "<=", "depth": ">=", "angle": "<=", "mass": None, "x": None}


def test_secrets_do_not_travel() -> None:
    text = redact("logger.api_key=abc other=1\npassword: 'x y'\nseed: 3")
    assert "abc" not in text and "'x" not in text and "other=1" in text and "seed: 3" in text
