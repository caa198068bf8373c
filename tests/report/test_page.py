"""The page: true to the run, self-contained, safe."""

import base64
import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mode_opt.errors import ConfigurationError
from mode_opt.report import write_report

WriteRun = Callable[..., Path]
FIGURE_FILES = ("evaluation.csv", "drawing.json", "surrogate.json")
VOID = {"meta", "img", "br", "link", "input"}
ATTACK = '<script>alert("1")</script>'


class Page(HTMLParser):
    """Collects tags, texts by table class, and checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: dict[str, str] = {}
        self.table, self.identity = "", ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        self.identity = str(attributes.get("id") or attributes.get("class") or tag)
        if tag == "table":
            self.table = str(attributes.get("class"))
            self.tables[self.table] = []
        elif tag == "tr" and self.table:
            self.tables[self.table].append([])
        elif tag == "data":
            self.tables[self.table][-1].append(str(attributes.get("value")))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts[self.identity] = self.texts.get(self.identity, "") + data

    def numbers(self, table: str) -> list[list[float]]:
        """The exact numbers behind the cells of each row that has any."""
        return [[float(cell) for cell in row] for row in self.tables[table] if row]


def page_of(path: Path) -> Page:
    return Page(write_report(path).read_text(encoding="utf-8"))


def page_at(path: Path) -> Page:
    return Page((path / "report.html").read_text(encoding="utf-8"))


def result_of(path: Path) -> dict[str, Any]:
    return json.loads((path / "result.json").read_text())


def test_tables_hold_the_numbers_of_the_result(reported: Path) -> None:
    page, result = page_at(reported), result_of(reported)
    objective = [[e["value"], e["standard_error"]] for e in list(result["objective"].values())[1:]]
    assert page.numbers("objective") == objective
    assert page.numbers("design") == [[e["initial"], e["final"]] for e in result["design"].values()]
    assert page.numbers("constraints") == [[e["value"], e["limit"]] for e in result["constraints"].values()]
    assert "a factor of 1.978 ± 0.017" in page.texts["headline"]


def test_the_page_is_one_file_without_script(reported: Path) -> None:
    text, page = (reported / "report.html").read_text(), page_at(reported)
    assert "http://" not in text and "https://" not in text and "@import" not in text
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "base", "form"})
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 8 and all(image["alt"] for image in images)
    for image in images:
        kind, _, data = str(image["src"]).partition(",")
        assert kind == "data:image/png;base64" and base64.b64decode(data).startswith(b"\x89PNG")
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("href", "srcset") for name in attributes)


def test_every_word_of_the_run_is_escaped(write_run: WriteRun) -> None:
    path = write_run(columns={ATTACK: np.linspace(0, 1, 200), f"constraint/{ATTACK}": np.ones(200)})
    result = result_of(path)
    result |= {"detector": ATTACK, "gradient": ATTACK, "message": ATTACK, "status": f"failed{ATTACK}"}
    result["objective"]["name"] = ATTACK
    result["design"][ATTACK] = {"initial": ATTACK, "final": ATTACK, "unit": ATTACK}
    result["constraints"][ATTACK] = {"value": 1, "limit": 0, "unit": ATTACK, "satisfied": False}
    result["versions"][ATTACK] = ATTACK
    (path / "result.json").write_text(json.dumps(result))
    (path / "provenance.json").write_text(json.dumps({"command": ATTACK, ATTACK: {ATTACK: [ATTACK, {"a": ATTACK}]}}))
    (path / ".hydra" / "config.yaml").write_text(f"a: '{ATTACK}</pre>'\n")
    surrogate = {"title": ATTACK, "rows": [{"quantity": ATTACK, "bin": "$x_$", "relative_difference": 0.1}]}
    (path / "surrogate.json").write_text(json.dumps(surrogate | {"notes": [ATTACK]}))
    page = page_of(path)
    assert "script" not in {tag for tag, _ in page.tags}
    assert ATTACK in page.texts["headline"] and ATTACK in page.texts["configuration"]


def test_dollars_are_no_mathematics(write_run: WriteRun) -> None:
    path = write_run(result={"detector": "x", "status": "finished", "objective": {"name": r"$\bad{ cost $"}}, steps=5)
    assert write_report(path).exists()


def test_provenance_command_and_configuration(reported: Path) -> None:
    page = page_at(reported)
    text = page.texts["command"]
    assert "mode-opt optimise experiment=sampling_calorimeter seed=7" in text and "mode-opt verify" in text
    provenance = page.texts["td"] + page.texts["row"] if "row" in page.texts else page.texts["td"]
    assert "9f" * 32 in provenance and "2.13.0" in provenance
    assert "absorber_thickness: {start: 4.5" in page.texts["configuration"]
    assert "abc123hidden" not in (reported / "report.html").read_text()


def test_overrides_stand_in_for_a_missing_command(write_run: WriteRun) -> None:
    path = write_run(steps=0, without=("provenance.json", *FIGURE_FILES))
    assert "was not recorded" in write_report(path).read_text()
    (path / ".hydra" / "overrides.yaml").write_text("- detector=calorimeter\n- seed=7\n")
    assert "mode-opt optimise detector=calorimeter seed=7" in page_of(path).texts["command"]


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_an_unfinished_run_gives_a_partial_report(status: str, write_run: WriteRun) -> None:
    result = {"detector": "calorimeter", "status": status, "objective": {"name": "resolution"}}
    path = write_run(result=result, steps=30, without=FIGURE_FILES)
    with (path / "history.csv").open("a") as file:
        file.write("30,0.0")
    page = page_of(path)
    assert f"not finished (status: {status}, 30 design steps recorded)" in page.texts["warning"]
    assert "nothing can be said about an improvement" in page.texts["headline"]
    assert page.tables.keys() == {"provenance"}
    assert "resolution, bias" in page.texts["small"]


@pytest.mark.parametrize("steps", [0, 1, 2, 12])
def test_short_histories(steps: int, write_run: WriteRun) -> None:
    page = page_of(write_run(steps=steps, arrays=True, categories=True, without=FIGURE_FILES))
    assert ("no design steps" in page.texts.get("warning", "")) == (steps == 0)


def test_a_run_killed_before_its_first_step(write_run: WriteRun) -> None:
    path = write_run(result={"detector": "x", "status": "running"}, without=FIGURE_FILES)
    (path / "history.csv").write_text("")
    assert "0 design steps" in page_of(path).texts["warning"]


def test_nan_and_infinity_in_the_history(write_run: WriteRun) -> None:
    holes = np.where(np.arange(40) % 3 == 0, np.nan, 0.1)
    columns = dict.fromkeys(("objective", "gap_thickness", "constraint/length", "gradient_norm"), holes)
    columns |= {
        "reconstruction_loss": np.where(np.arange(40) == 5, np.inf, 1.0),
        "validation": np.full(40, np.nan),
    }
    path = write_run(steps=40, columns=columns, without=FIGURE_FILES)
    write_report(path)
    header, *rows = (path / "figures" / "objective.csv").read_text().splitlines()
    assert header.startswith("series,step") and sum(row.startswith("training") for row in rows) == 26
    nothing = {name: np.full(40, np.nan) for name in [*columns, "multiplier/length", "absorber_thickness"]}
    assert write_report(write_run("nothing", steps=40, columns=nothing, without=FIGURE_FILES)).exists()


def test_arrays_and_categories_in_the_design_table(write_run: WriteRun) -> None:
    path = write_run(arrays=True, categories=True)
    result = result_of(path)
    final = [1.6 + 0.035 * index for index in range(50)]
    result["design"] = {
        "absorber_thickness": {"initial": [4.5] * 50, "final": final, "unit": "mm"},
        "absorber_material": {"initial": "PbWO4", "final": "Pb", "unit": ""},
        "layers": {"initial": 50, "unit": ""},
    }
    (path / "result.json").write_text(json.dumps(result))
    page = page_of(path)
    rows = [row for row in page.tables["design"] if row]
    assert [float(cell) for cell in rows[0][1].split()] == final
    assert rows[1] == ["PbWO4", "Pb"] and rows[2] == ["50.0", ""]
    assert len(page.tables["elements"]) == 51
    assert {"arrays.png", "arrays.pdf", "arrays.csv", "categories.csv"} <= {
        file.name for file in (path / "figures").iterdir()
    }


def test_a_second_report_replaces_the_first(write_run: WriteRun) -> None:
    path = write_run(without=("drawing.json", "surrogate.json"))
    first = write_report(path).read_bytes()
    assert write_report(path).read_bytes() == first, "the same run gives the same page"
    (path / "evaluation.csv").unlink()
    write_report(path)
    left = {file.stem for file in (path / "figures").iterdir()}
    assert "resolution" not in left and "objective" in left


def test_a_directory_that_cannot_be_written(write_run: WriteRun) -> None:
    path = write_run(steps=0)
    (path / "figures").write_text("not a folder")
    with pytest.raises(ConfigurationError, match="expected a directory that can be written"):
        write_report(path)
