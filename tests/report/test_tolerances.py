"""``tolerance.json`` on the page and in its figure: what the file says, and no more."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mode_opt.errors import ConfigurationError, DataError
from mode_opt.report import RunDirectory, figure_tolerance, write_figure
from mode_opt.report.catalogue import CATALOGUE
from mode_opt.report.page import render
from mode_opt.report.tolerance_figure import numbers_tolerance
from mode_opt.report.tolerance_tables import tolerance_tables

WriteRun = Callable[..., Path]


def estimate(value: float | None, error: float | None = 0.01) -> dict[str, float | None]:
    return {"value": value, "standard_error": error}


def side(deviation: float | None, room: float | None = None, limit: str = "") -> dict[str, Any]:
    return {"deviation": estimate(deviation), "room": room, "limit": limit}


def profile(kind: str, name: str, origin: float, unit: str, measured: list[list[float]]) -> dict[str, Any]:
    """J = 0.064 (1 + t²) about the origin."""
    t = np.linspace(-0.2, 0.2, 21)
    change = 0.064 * t**2
    entries = {"at": (origin + t).tolist(), "change": change.tolist(), "error": (0.1 * change).tolist()}
    ends = {"below": 0.1, "above": None, "room_below": None, "room_above": 0.05}
    return {"kind": kind, "name": name, "unit": unit, "origin": origin, **ends, **entries, "measured": measured}


def tree(**changes: Any) -> dict[str, Any]:
    """Two parameters, an active constraint, one free direction and the normal."""
    parameter = {"unit": "mm", "below": side(0.1), "above": side(None, 0.05, "length"), "spread": estimate(0.08)}
    first = parameter | {"name": "absorber_thickness", "value": 2.3071, "held": ["length"]}
    second = parameter | {"name": "gap_thickness", "value": 5.6914, "held": []}
    direction = {"below": side(0.2), "above": side(0.2), "curvature": estimate(1.5)}
    limit = {"unit": "mm", "kind": "linear", "value": estimate(399.925, 0.0), "unique": True}
    gains = {"gain": estimate(0.0012, 0.0001), "gain_per_percent": estimate(0.0048, 0.0004)}
    free = {"words": "gap_thickness <= 10 mm", "state": "free", "kind": "bound"}
    mixed = {"absorber_thickness": -0.3, "gap_thickness": 0.95}
    return {
        "method": "regression",
        "loss_percent": 1.0,
        "objective": estimate(0.064),
        "optimality": {"chi2": 1.0, "ndf": 1.0, "p_value": 0.3},
        "fit": {"adequate": True, "designs": 13},
        "parameters": [first, second],
        "limits": [limit | gains | {"words": "length <= 400 mm", "state": "active"}, limit | gains | free],
        "directions": [
            direction | {"kind": "stiff", "held": "", "components": mixed},
            direction | {"kind": "held", "held": "length", "components": {"absorber_thickness": 1, "gap_thickness": 0}},
        ],
        "profiles": [
            profile("parameter", "absorber_thickness", 2.3071, "mm", [[2.2, 0.001, 0.0002], [2.4, 0.001, 0.0002]]),
            profile("parameter", "gap_thickness", 5.6914, "mm", []),
            profile("direction", "1", 0.0, "", []),
            profile("direction", "2", 0.0, "", []),
        ],
    } | changes


def with_tolerance(path: Path, **changes: Any) -> Path:
    (path / "tolerance.json").write_text(json.dumps(tree(**changes)))
    return path


def page_of(path: Path) -> str:
    """The page without figures, which take seconds."""
    return render(RunDirectory(path), [], [])


def caption_of(path: Path) -> str:
    run, plot = RunDirectory(path), next(plot for plot in CATALOGUE if plot.name == "tolerance")
    numbers, figure = plot.numbers(run), plot.draw(run)
    assert numbers is not None and figure is not None
    return plot.caption(run, numbers, figure)


def test_the_page_holds_the_tables(write_run: WriteRun) -> None:
    page = page_of(with_tolerance(write_run()))
    section = page.split('id="tolerance-tables"')[1].split("<h2")[0]
    assert "any; length allows 0.05" in section and "0.100 ± 0.010" in section  # above and below
    assert "length &lt;= 400 mm" in section and "0.00120 ± 0.00010 per mm" in section and "active" in section
    assert "gap_thickness &lt;= 10 mm" not in section  # a bound that is far away
    assert "+0.95 gap_thickness, -0.30 absorber_thickness" in section and "held by length" in section
    assert "fitted to 13 designs" in section and "agrees with that of an optimum" in section


def test_a_run_without_tolerances_says_nothing_of_them(write_run: WriteRun) -> None:
    path = write_run()
    run = RunDirectory(path)
    assert run.tolerance is None and tolerance_tables(run) is None and numbers_tolerance(run) is None
    assert write_figure(path, "tolerance") is None and not (path / "figures" / "tolerance.png").exists()
    assert "tolerance-tables" not in page_of(path)


def test_the_figure_shows_the_numbers_of_its_table(write_run: WriteRun) -> None:
    path = with_tolerance(write_run())
    run = RunDirectory(path)
    numbers, figure = numbers_tolerance(run), figure_tolerance(run)
    assert numbers is not None and figure is not None
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_xlabel() for axes in panels] == [
        "absorber thickness [mm]",
        "gap thickness [mm]",
        "direction 1, stiff [half ranges]",
        "direction 2, held by length [half ranges]",
    ]
    for axes, (kind, name) in zip(panels, [("parameter", "absorber_thickness"), ("direction", "1")], strict=False):
        part = numbers.where("kind", kind).where("name", name).where("series", "model")
        (line,) = [one for one in axes.lines if one.get_gid() == "model"]
        if kind == "parameter":
            np.testing.assert_allclose(line.get_xdata(), part.floats("at"))
            np.testing.assert_allclose(line.get_ydata(), part.floats("change_percent"))
        np.testing.assert_allclose(part.floats("change_percent"), 100 * np.linspace(-0.2, 0.2, 21) ** 2)
        (loss,) = [one for one in axes.lines if one.get_gid() == "loss"]
        assert loss.get_ydata()[0] == 1.0
    assert len(numbers.where("series", "measured")) == 2
    assert "Points: simulated designs" in caption_of(path)
    assert write_figure(path, "tolerance") == path / "figures" / "tolerance.png"
    assert (path / "figures" / "tolerance.csv").is_file()


def test_many_parameters_leave_room(write_run: WriteRun) -> None:
    """Of nine the six that matter most: the curvature grows with the number."""
    lines, parameters = [], []
    for k in range(9):
        line = profile("parameter", f"x{k}", 1.0, "", [])
        lines.append(line | {"change": [(k + 1) * c for c in line["change"]]})
        parameters.append(tree()["parameters"][0] | {"name": f"x{k}"})
    changes = {"profiles": lines, "parameters": parameters, "directions": []}
    assert "3 parameters that matter less are not shown" in caption_of(with_tolerance(write_run(), **changes))


def test_what_does_not_hold_is_said(write_run: WriteRun) -> None:
    changes = {"fit": {"adequate": False, "designs": 13}, "optimality": {"chi2": 99.0, "ndf": 1.0, "p_value": 1e-9}}
    page = page_of(with_tolerance(write_run(), **changes))
    assert "A quadratic does not describe the objective" in page and "does not agree with that of an optimum" in page
    silent = {"fit": None, "method": "differences", "optimality": {"chi2": None, "ndf": None, "p_value": None}}
    page = page_of(with_tolerance(write_run("other"), **silent))
    assert "differences of gradients" in page and "optimum (p" not in page


@pytest.mark.parametrize(
    "changes", [{"parameters": None}, {"limits": [{}]}, {"objective": {}}, {"profiles": [1]}, {"loss_percent": "much"}]
)
def test_a_damaged_file_is_named(write_run: WriteRun, changes: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"tolerance\.json"):
        RunDirectory(with_tolerance(write_run(), **changes))


def test_there_are_only_the_figures_of_the_catalogue(write_run: WriteRun) -> None:
    with pytest.raises(ConfigurationError, match="nonsense"):
        write_figure(write_run(), "nonsense")
