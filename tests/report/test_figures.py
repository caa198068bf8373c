"""Each figure shows the numbers of its CSV, and nothing where there are none."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from mode_opt.report import (
    RunDirectory,
    figure_arrays,
    figure_bias,
    figure_categories,
    figure_constraints,
    figure_detector,
    figure_diagnostics,
    figure_objective,
    figure_parameters,
    figure_promises,
    figure_resolution,
    figure_surrogate,
    write_report,
)
from mode_opt.report.catalogue import CATALOGUE
from mode_opt.report.diagnostics_figure import numbers_diagnostics
from mode_opt.report.objective_figure import running_mean, smoothing_window
from mode_opt.report.promise_figure import numbers_promises, words_of_promises
from mode_opt.report.table import Table, read_table

WriteRun = Callable[..., Path]
WORDS = (
    "series",
    "parameter",
    "option",
    "unit",
    "constraint",
    "sense",
    "design",
    "quantity",
    "bin",
    "within_limit",
)


def csv_of(path: Path, name: str) -> Table:
    """The CSV next to a figure; written here where no report was."""
    file = path / "figures" / f"{name}.csv"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        numbers = next(plot for plot in CATALOGUE if plot.name == name).numbers(RunDirectory(path))
        assert numbers is not None
        numbers.write(file)
    return read_table(path / "figures" / f"{name}.csv", (), words=(*WORDS, "label", "material"))


def bars(axes: Axes, label: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points and half lengths of the vertical bars of an ``errorbar``."""
    found = [c for c in axes.containers if isinstance(c, ErrorbarContainer) and c.get_label() == label]
    line, _, segments = found[0].lines
    half = np.array([np.ptp(segment[:, 1]) / 2 for segment in segments[0].get_segments()])
    return np.asarray(line.get_xydata()), half


def line(axes: Axes, gid: str) -> NDArray[np.float64]:
    return np.asarray(next(found for found in axes.lines if found.get_gid() == gid).get_xydata())


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def test_objective(reported: Path) -> None:
    path = reported
    axes, numbers = drawn(figure_objective(RunDirectory(path))).axes[0], csv_of(path, "objective")
    for gid, series in (("training", "training"), ("mean", "running mean")):
        part = numbers.where("series", series)
        expected = np.stack([part.floats("simulator_calls"), part.floats("objective")], axis=1)
        np.testing.assert_array_equal(line(axes, gid), expected)
    for label, series in (
        ("validation", "validation"),
        ("start, fresh events", "initial"),
        ("final, fresh events", "final"),
    ):
        part, (points, half) = numbers.where("series", series), bars(axes, label)
        np.testing.assert_array_equal(points[:, 1], part.floats("objective"))
        np.testing.assert_allclose(half, part.floats("standard_error"), rtol=1e-9)
    final = numbers.where("series", "final")
    assert (final.floats("objective")[0], final.floats("standard_error")[0]) == (0.06412, 0.00068)
    assert len(numbers.where("series", "validation")) == 21
    assert axes.get_xlabel() == "simulator calls (simulated events)"


def test_running_mean_keeps_straight_lines_and_leaves_out_nan() -> None:
    slope = np.arange(30.0)
    np.testing.assert_allclose(running_mean(slope, 7), slope)
    values = np.array([1.0, np.nan, 3.0, np.nan, np.nan, np.nan])
    assert running_mean(values, 3).tolist()[:3] == [1.0, 2.0, 3.0]
    assert np.isnan(running_mean(values, 3)[-1])
    assert smoothing_window(11) == 1 and smoothing_window(200) % 2 == 1


def test_one_wild_step_does_not_set_the_range(write_run: WriteRun) -> None:
    objective = np.full(200, 0.1)
    objective[7] = 50.0
    run = RunDirectory(write_run(columns={"objective": objective}))
    plot = next(plot for plot in CATALOGUE if plot.name == "objective")
    figure, numbers = drawn(plot.draw(run)), plot.numbers(run)
    assert figure.axes[0].get_ylim()[1] < 10 and numbers is not None
    assert "1 training steps lie outside" in plot.caption(run, numbers, figure)


def test_parameters(reported: Path) -> None:
    path = reported
    figure, numbers = drawn(figure_parameters(RunDirectory(path))), csv_of(path, "parameters")
    for axes, name in zip(figure.axes, ("absorber_thickness", "gap_thickness"), strict=True):
        part = numbers.where("parameter", name).where("series", "history")
        np.testing.assert_array_equal(line(axes, "history"), np.stack([part.floats("step"), part.floats("value")], 1))
        assert axes.get_ylabel() == f"{name.replace('_', ' ')} [mm]"
    final = numbers.where("series", "final")
    assert final.floats("value").tolist() == [2.3071, 5.6914]
    assert "allowed 1 to 10 mm" in figure.axes[1].get_title(loc="right")


def test_forty_parameters_become_a_map(write_run: WriteRun) -> None:
    columns = {f"field_{index}": np.linspace(1, 1 + index / 40, 200) for index in range(40)}
    result = {"detector": "x", "status": "finished", "design": {name: {"unit": "tesla"} for name in columns}}
    path = write_run("many", columns=columns, result=result)
    figure = drawn(figure_parameters(RunDirectory(path)))
    mesh = figure.axes[0].collections[0]
    values = np.asarray(mesh.get_array()).reshape(40, 200)
    np.testing.assert_allclose(values[:, -1], np.arange(40) / 40)
    assert len(figure.axes[0].get_yticklabels()) == 40


def test_arrays(write_run: WriteRun) -> None:
    result = {"detector": "x", "status": "running", "design": {"gap_thickness": {"unit": "mm"}}}
    path = write_run(result=result, arrays=True)
    figure, numbers = drawn(figure_arrays(RunDirectory(path))), csv_of(path, "arrays")
    mesh = next(collection for collection in figure.axes[0].collections if collection.get_gid() == "map")
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).ravel(), numbers.floats("value"))
    last = numbers.rows(numbers.floats("step") == 199)
    np.testing.assert_array_equal(line(figure.axes[1], "last step")[:, 1], last.floats("value"))
    assert numbers.unique("parameter") == ["gap_thickness"]


def test_categories(write_run: WriteRun) -> None:
    result = {"detector": "x", "status": "running", "design": {"absorber_material": {"unit": ""}}}
    path = write_run(result=result, categories=True)
    numbers = csv_of(path, "categories")
    total = sum(numbers.where("option", option).floats("probability") for option in ("PbWO4", "Pb", "Fe"))
    np.testing.assert_allclose(total, 1)
    areas = drawn(figure_categories(RunDirectory(path))).axes[0].collections
    assert [str(area.get_label()) for area in areas] == ["PbWO4", "Pb", "Fe"]
    assert len({area.get_hatch() for area in areas}) == 3, "told apart without colour"
    outline = areas[0].get_paths()[0].vertices
    first = numbers.where("option", "PbWO4").floats("probability")
    assert set(first).issubset(set(np.asarray(outline)[:, 1]))


def test_constraints(reported: Path) -> None:
    path = reported
    figure, numbers = drawn(figure_constraints(RunDirectory(path))), csv_of(path, "constraints")
    np.testing.assert_array_equal(line(figure.axes[0], "value")[:, 1], numbers.floats("value"))
    np.testing.assert_array_equal(line(figure.axes[1], "multiplier")[:, 1], numbers.floats("multiplier"))
    assert set(numbers.floats("limit")) == {400.0} and numbers.unique("sense") == ["<="]
    assert "limit ≤ 400" in [str(found.get_label()) for found in figure.axes[0].lines]
    assert figure.axes[0].get_ylabel() == "length [mm]"


def test_a_constraint_that_does_not_tell_its_side_is_not_hatched(write_run: WriteRun) -> None:
    result = {
        "detector": "x",
        "status": "finished",
        "constraints": {"length": {"value": 400.0, "limit": 400.0, "satisfied": True}},
    }
    run = RunDirectory(write_run(result=result, without=(".hydra/config.yaml",)))
    axes = drawn(figure_constraints(run)).axes[0]
    assert not axes.patches and "limit 400" in [str(found.get_label()) for found in axes.lines]


@pytest.mark.parametrize(("name", "draw"), [("resolution", figure_resolution), ("bias", figure_bias)])
def test_resolution_and_bias(name: str, draw: Callable[[RunDirectory], Figure | None], reported: Path) -> None:
    path = reported
    figure, numbers = drawn(draw(RunDirectory(path))), csv_of(path, name)
    for design, label in (("initial", "start design"), ("final", "final design")):
        part, (points, half) = numbers.where("design", design), bars(figure.axes[0], label)
        np.testing.assert_array_equal(points, np.stack([part.floats("mean"), part.floats(name)], axis=1))
        np.testing.assert_allclose(half, part.floats(f"{name}_standard_error"), rtol=1e-9)
    assert figure.axes[0].get_xscale() == "log"
    assert figure.axes[0].get_ylabel() == f"relative energy {name} [%]"
    assert figure.axes[-1].get_xlabel() == "true energy [MeV]"


def test_the_ratio_is_final_over_start(reported: Path) -> None:
    path = reported
    numbers = csv_of(path, "resolution")
    first, last, ratio = (numbers.where("design", name) for name in ("initial", "final", "ratio"))
    np.testing.assert_allclose(ratio.floats("resolution"), last.floats("resolution") / first.floats("resolution"))
    relative = ratio.floats("resolution_standard_error") / ratio.floats("resolution")
    expected = np.hypot(
        *(part.floats("resolution_standard_error") / part.floats("resolution") for part in (first, last))
    )
    np.testing.assert_allclose(relative, expected)
    lower = drawn(figure_resolution(RunDirectory(path))).axes[1]
    container = next(c for c in lower.containers if isinstance(c, ErrorbarContainer))
    np.testing.assert_array_equal(np.asarray(container.lines[0].get_ydata()), ratio.floats("resolution"))


def test_a_truth_that_may_be_negative_has_absolute_residuals(write_run: WriteRun) -> None:
    path = write_run()
    text = (path / "evaluation.csv").read_text().replace(",energy,MeV,500.0", ",impact,mm,-500.0")
    (path / "evaluation.csv").write_text(text.replace(",energy,MeV", ",impact,mm"))
    figure = drawn(figure_resolution(RunDirectory(path)))
    assert figure.axes[0].get_ylabel() == "impact resolution [mm]" and figure.axes[0].get_xscale() == "linear"


def test_detector_is_drawn_to_scale(reported: Path) -> None:
    path = reported
    figure, numbers = drawn(figure_detector(RunDirectory(path))), csv_of(path, "detector")
    figure.draw_without_rendering()
    above, below = figure.axes[0], figure.axes[2]
    assert above.get_xlim() == below.get_xlim() and above.get_position().y0 > below.get_position().y1
    for axes, design in ((above, "initial"), (below, "final")):
        part = numbers.where("design", design)
        boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        np.testing.assert_allclose([box.get_x() for box in boxes], part.floats("x_low"))
        np.testing.assert_allclose([box.get_width() for box in boxes], part.floats("x_high") - part.floats("x_low"))
        (x0, y0), (x1, y1) = axes.transData.transform([(0.0, 0.0), (100.0, 100.0)])
        assert (x1 - x0) == pytest.approx(y1 - y0, rel=0.01), "one millimetre is as long across as along"
    assert "length 350 mm" in above.get_title(loc="left") and above.get_ylabel() == "across [mm]"
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries == ["PbWO4 (absorber)", "liquid argon (gap)"]


def test_a_long_thin_detector_says_that_it_is_stretched(write_run: WriteRun) -> None:
    import json

    path = write_run()
    box = {"kind": "box", "x": [0, 3000], "y": [-10, 10], "material": "Fe", "label": "magnet"}
    (path / "drawing.json").write_text(json.dumps({"unit": "mm", "final": [box]}))
    figure = drawn(figure_detector(RunDirectory(path)))
    assert "not to scale" in figure.axes[0].get_ylabel() and len(figure.axes) == 1


def test_surrogate(reported: Path) -> None:
    path, page = reported, (reported / "report.html").read_text()
    figure, numbers = drawn(figure_surrogate(RunDirectory(path))), csv_of(path, "surrogate")
    part = numbers.where("quantity", "resolution")
    inside, beyond = part.where("within_limit", "yes"), part.where("within_limit", "no")
    points, half = bars(figure.axes[1], "difference ± 1 σ of the reference")
    np.testing.assert_array_equal(points[:, 1], inside.floats("relative_difference"))
    np.testing.assert_allclose(half, inside.floats("standard_error"))
    points, _ = bars(figure.axes[1], "beyond the limit")
    assert points[:, 1].tolist() == beyond.floats("relative_difference").tolist() == [0.17]
    assert beyond.floats("standard_error")[0] == pytest.approx(0.045 * 1.17)
    assert "15 of 16 bins lie within their limit" in page


def test_diagnostics(reported: Path) -> None:
    path = reported
    figure, numbers = drawn(figure_diagnostics(RunDirectory(path))), csv_of(path, "diagnostics")
    for axes, name in zip(figure.axes, ("reconstruction_loss", "gradient_norm"), strict=True):
        np.testing.assert_array_equal(line(axes, name)[:, 1], numbers.floats(name))
    assert figure.axes[1].get_yscale() == "log"


def search_columns() -> dict[str, np.ndarray]:
    """What a search with a trust region writes: gains every other step, never a gradient."""
    step = np.arange(200)
    gains = {"predicted_gain": 0.1 / (1 + step), "actual_gain": 0.08 / (1 + step) - 1e-3}
    columns = {name: np.where(step % 2 == 0, values, np.nan) for name, values in gains.items()}
    columns |= {f"{name}_standard_error": np.where(step % 2 == 0, 0.01, np.nan) for name in gains}
    return columns | {"gradient_norm": np.full(200, np.nan), "radius": 0.5 ** (step / 50), "failed_designs": step % 3.0}


def test_diagnostics_of_a_search_show_its_trust_region(write_run: WriteRun) -> None:
    path = write_run(columns=search_columns())
    write_report(path)
    figure, numbers = drawn(figure_diagnostics(RunDirectory(path))), csv_of(path, "diagnostics")
    labels = [axes.get_ylabel() for axes in figure.axes]
    expected = ["reconstruction loss", "radius of the trust region", "designs that failed", "gain of a step"]
    assert labels == expected and "gradient_norm" not in numbers
    assert figure.axes[1].get_yscale() == "log" and figure.axes[2].get_yscale() == "linear"
    for name in ("predicted_gain", "actual_gain"):
        known = np.isfinite(numbers.floats(name))
        np.testing.assert_array_equal(line(figure.axes[3], name)[:, 1], numbers.floats(name)[known])
        assert known.sum() == 100
    assert len(figure.axes[3].collections) == 2
    assert "by the local model, of the design it was learnt around" in (path / "report.html").read_text()


def judged_columns(pulls: list[float], steps: int = 200) -> dict[str, np.ndarray]:
    """A search whose promise of step k, 1/(1 + k) ± 0.1, is judged in row k + 1 with an error of 0.2."""
    step = np.arange(steps)
    promised, pull = 1.0 / (1 + step), np.full(steps, np.nan)
    pull[1 : len(pulls) + 1] = pulls
    before = np.concatenate([[np.nan], promised[:-1]])
    columns = {"predicted_gain": promised, "predicted_gain_standard_error": np.full(steps, 0.1), "pull": pull}
    columns |= {"actual_gain": before + 0.2 * pull, "actual_gain_standard_error": np.where(step > 0, 0.2, np.nan)}
    columns |= {"accepted": np.where(np.isfinite(pull), np.nan_to_num(pull) > -2.5, np.nan).astype(float)}
    return columns | {"radius": 0.5 ** (step / 50), "failed_designs": np.zeros(steps), "surrogate_seconds": 0.1 + step}


def test_a_promise_is_compared_with_the_verdict_of_the_next_row(write_run: WriteRun) -> None:
    """Row 3 judged nothing, and nothing was promised in row 2: the verdict of row 4 belongs to row 3."""
    columns = judged_columns([0.5, -3.0, np.nan, 1.0, 0.0])
    columns["predicted_gain"][2] = np.nan
    path = write_run(columns=columns)
    write_report(path)
    figure, numbers = drawn(figure_promises(RunDirectory(path))), csv_of(path, "promises")
    assert numbers.floats("step").tolist() == [0.0, 1.0, 3.0, 4.0]
    np.testing.assert_allclose(numbers.floats("promised"), [1.0, 1 / 2, 1 / 4, 1 / 5])
    np.testing.assert_allclose(
        (numbers.floats("actual") - numbers.floats("promised")) / numbers.floats("actual_standard_error"),
        numbers.floats("pull"),
        atol=1e-9,
    )
    pulls, gains, radius, last = figure.axes
    assert line(pulls, "step accepted")[:, 1].tolist() == [0.5, 1.0, 0.0]
    assert line(pulls, "step for the worse").tolist() == [[1.0, -3.0]]
    points = [c for c in gains.containers if isinstance(c, ErrorbarContainer)]
    assert sum(len(c.lines[0].get_xdata()) for c in points) == 4
    np.testing.assert_array_equal(line(radius, "radius")[:, 1], columns["radius"])
    assert last.get_ylabel() == "learning and descent [s a step]"
    page = (path / "report.html").read_text()
    assert "came true within 2 standard errors in 3 of 4 steps; 1 step was significantly for the worse." in page
    drawn_again = csv_of(path, "diagnostics")
    assert "radius" not in drawn_again and "gradient_norm" in drawn_again, "no panel twice"


def test_failed_designs_take_the_place_of_the_seconds(write_run: WriteRun) -> None:
    columns = judged_columns([0.0] * 20) | {"failed_designs": np.arange(200) % 2.0}
    figure = drawn(figure_promises(RunDirectory(write_run(columns=columns))))
    assert line(figure.axes[3], "failed_designs")[:, 1].sum() == 100


@pytest.mark.parametrize(
    ("pulls", "words", "absent"),
    [
        ([1.0, -1.0] * 10, "in 20 of 20 steps (19 are expected", "promises too"),
        ([-1.2] * 16, "It promises too much: the mean pull is -1.2.", "too small"),
        ([4.0, -4.0] * 10, "Its errors are too small by a factor of about 4.0.", "promises too"),
        ([9.0], "in 0 of 1 step.", "too small"),
    ],
)
def test_promises_in_words(write_run: WriteRun, pulls: list[float], words: str, absent: str) -> None:
    numbers = numbers_promises(RunDirectory(write_run(columns=judged_columns(pulls))))
    assert numbers is not None and len(numbers) == len(pulls)
    assert words in words_of_promises(numbers) and absent not in words_of_promises(numbers)


def test_a_run_without_promises_has_no_such_figure(reported: Path) -> None:
    assert figure_promises(RunDirectory(reported)) is None
    assert "promises of the local model" in (reported / "report.html").read_text(), "named among what is absent"


def test_a_design_parameter_is_not_taken_for_a_diagnostic(write_run: WriteRun) -> None:
    result = {"detector": "x", "status": "running", "design": {"radius": {"initial": 1.0, "unit": "mm"}}}
    numbers = numbers_diagnostics(RunDirectory(write_run(result=result, columns=search_columns())))
    assert numbers is not None and "radius" not in numbers and "failed_designs" in numbers


def test_nothing_is_drawn_where_nothing_was_measured(write_run: WriteRun) -> None:
    result = {"detector": "x", "status": "running"}
    names = ("history.csv", "evaluation.csv", "drawing.json", "surrogate.json")
    run = RunDirectory(write_run(result=result, without=names))
    assert [plot.draw(run) for plot in CATALOGUE] == [None] * len(CATALOGUE)


def test_matplotlib_settings_of_others_stay_as_they_were(write_run: WriteRun) -> None:
    before = dict(matplotlib.rcParams)
    write_report(write_run())
    assert dict(matplotlib.rcParams) == before


def test_the_band_is_the_error_of_one_step(write_run: WriteRun) -> None:
    # Errors that differ from step to step: the root mean square over the window, not the mean.
    error = np.where(np.arange(200) % 2 == 0, 0.004, 0.001)
    path = write_run(columns={"objective_standard_error": error})
    axes, numbers = drawn(figure_objective(RunDirectory(path))).axes[0], csv_of(path, "objective")
    part, half = numbers.where("series", "running mean"), smoothing_window(200) // 2
    middle = part.floats("standard_error")[100]
    assert middle == pytest.approx(np.sqrt(np.mean(error[100 - half : 101 + half] ** 2)))
    band = next(c for c in axes.collections if c.get_label() == "±1 σ of one step")
    edges = np.asarray(band.get_paths()[0].vertices)[:, 1]
    for sign in (-1, 1):
        expected = part.floats("objective") + sign * part.floats("standard_error")
        assert np.isin(expected, edges).all()


def test_array_columns_follow_their_index_not_their_place(write_run: WriteRun) -> None:
    columns = {f"width[{index}]": np.full(200, float(index)) for index in (11, 2, 0, 10, 1)}
    result = {"detector": "x", "status": "running", "design": {"width": {"unit": "mm"}}}
    path = write_run(result=result, columns=columns)
    profile = line(drawn(figure_arrays(RunDirectory(path))).axes[1], "last step")
    assert profile[:, 1].tolist() == [0, 1, 2, 10, 11]
