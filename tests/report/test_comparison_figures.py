"""Figures of ``mode-opt gradients`` and ``mode-opt compare``: they show the numbers of their tables."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.container import BarContainer, ErrorbarContainer

from mode_opt.errors import DataError
from mode_opt.report.comparison_figure import figure_comparison, numbers_comparison, write_comparison
from mode_opt.report.gradient_figure import NEEDED, WORDS, figure_gradients, write_gradients
from mode_opt.report.table import Table, read_table

WriteRun = Callable[..., Path]


def finding(estimator: str, parameter: str, gradient: float, **changes: Any) -> dict[str, Any]:
    """A row of ``gradients.csv``."""
    row = {"estimator": estimator, "verdict": "agrees", "parameter": parameter, "unit": "mm", "gradient": gradient}
    row |= {"standard_error": 0.02, "reference": 1.0, "reference_standard_error": 0.01, "pull": 0.5, "scale": 1.0}
    row |= {"heavy_tails": "no", "efficiency": 0.3, "efficiency_calls": 0.2, "words": "agrees"}
    return row | changes


def table_of(path: Path, rows: list[dict[str, Any]]) -> Table:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return read_table(path, NEEDED, WORDS)


def two(names: list[str]) -> list[dict[str, Any]]:
    rows = [finding("pathwise", name, 1.01, efficiency=1.0, efficiency_calls=1.0) for name in names]
    rows += [finding("half", name, 0.5, verdict="biased", efficiency="", efficiency_calls="") for name in names]
    empty = dict.fromkeys(("gradient", "standard_error", "reference", "pull", "efficiency", "efficiency_calls"), "")
    return [*rows, finding("unfit", "", 0.0) | empty | {"verdict": "refused", "words": "refused: no"}]


def test_gradients_a_panel_for_each_parameter(tmp_path: Path) -> None:
    rows = two(["gap_thickness", "x"])
    rows[1]["gradient"], rows[0]["heavy_tails"] = 0.9, "yes"
    figure = figure_gradients(table_of(tmp_path / "gradients.csv", rows))
    assert figure is not None
    first, second, efficiency = figure.axes[:3]
    points = [c for c in second.containers if isinstance(c, ErrorbarContainer)]
    assert [float(p.lines[0].get_xdata()[0]) for p in points] == [0.9, 0.5]
    half = [np.ptp(p.lines[2][0].get_segments()[0][:, 0]) / 2 for p in points]
    np.testing.assert_allclose(half, 0.02)
    band = next(patch for patch in first.patches if patch.get_gid() == "band")
    np.testing.assert_allclose((band.get_x(), band.get_x() + band.get_width()), (0.99, 1.01))
    assert first.get_xlabel() == "dJ/d(gap thickness) [per mm]"
    assert [label.get_text() for label in first.get_yticklabels()] == ["pathwise (heavy tails)", "half (biased)"]
    bars = [patch.get_width() for c in efficiency.containers if isinstance(c, BarContainer) for patch in c]
    assert bars == [1.0]  # a biased estimator has none


def test_of_many_parameters_each_estimator_has_a_panel_on_the_same_scale(tmp_path: Path) -> None:
    rows = two([f"gap[{k}]" for k in range(40)])
    rows[3]["gradient"], rows[7]["gradient"] = 1.3, 4.0
    figure = figure_gradients(table_of(tmp_path / "gradients.csv", rows))
    assert figure is not None
    first, second, efficiency = figure.axes
    assert (first.get_title(loc="left"), second.get_title(loc="left")) == ("pathwise", "half (biased)")
    points = next(c for c in first.containers if isinstance(c, ErrorbarContainer)).lines[0].get_xydata()
    assert points.shape == (40, 2) and points[3].tolist() == [3.0, 1.3]
    beyond = next(line for line in first.lines if line.get_gid() == "beyond").get_xydata()
    assert beyond.tolist() == [[7.0, first.get_ylim()[1]]] and first.get_ylim() == second.get_ylim()
    bands = [patch for patch in first.patches if patch.get_gid() == "band"]
    np.testing.assert_allclose([(bar.get_y(), bar.get_height()) for bar in bands], [(0.99, 0.02)] * 40)
    assert len(efficiency.patches) == 1


def test_parameters_of_different_units_are_drawn_relative_to_their_size(tmp_path: Path) -> None:
    rows = two([f"gap[{k}]" for k in range(6)])
    rows[2] |= {"unit": "MeV", "scale": 4.0}
    figure = figure_gradients(table_of(tmp_path / "gradients.csv", rows))
    assert figure is not None
    points = next(c for c in figure.axes[0].containers if isinstance(c, ErrorbarContainer)).lines[0].get_xydata()
    np.testing.assert_allclose(points[:3, 1], [1.01, 1.01, 1.01 / 4])


def test_gradients_are_written_unless_nothing_was_measured(tmp_path: Path) -> None:
    table_of(tmp_path / "gradients.csv", two(["x"]))
    assert [path.name for path in write_gradients(tmp_path)] == ["gradients.png", "gradients.pdf"]
    assert (tmp_path / "figures" / "gradients.png").stat().st_size > 5000
    table_of(tmp_path / "gradients.csv", two(["x"])[-1:])
    assert write_gradients(tmp_path) == []
    with pytest.raises(DataError, match="missing"):
        write_gradients(tmp_path / "figures")


def comparison(write_run: WriteRun) -> tuple[Path, Table]:
    """Two seeds of one estimator, the second 0.2 above the first and shorter; one run that never began."""
    for seed, steps in ((0, 200), (1, 100)):
        step = np.arange(steps, dtype=float)
        validation = np.where(step % 10 == 5 * seed, 1.0 + 0.2 * seed - step / 400, np.nan)
        directory = write_run(f"seed_{seed}", steps=steps, columns={"validation": validation})
    columns = ("gradient", "seed", "status", "directory", "message", "simulator_calls", "seconds")
    rows = [("pathwise", k, "finished", f"seed_{k}", "", 1e5, 80.0, 0.5 + k, 0.01) for k in range(2)]
    rows.append(("broken", 0, "failed", "nowhere", "nan", "", "", "", ""))
    with (directory.parent / "compare.csv").open("w", newline="") as file:
        csv.writer(file).writerows([(*columns, "final", "final_standard_error"), *rows])
    return directory.parent, read_table(
        directory.parent / "compare.csv", columns, ("gradient", "status", "directory", "message")
    )


def test_comparison_median_and_band(write_run: WriteRun) -> None:
    directory, runs = comparison(write_run)
    numbers = numbers_comparison(directory, runs)
    assert numbers is not None and numbers.unique("gradient") == ["pathwise"]
    part = numbers.where("against", "simulator_calls")
    position = part.floats("position")
    assert (position[0], position[-1]) == (
        6 * 2048.0,
        191 * 2048.0,
    )  # validations of the second begin at 5, of the first end at 190
    step = position / 2048 - 1
    np.testing.assert_allclose(part.floats("lowest"), 1.0 - step / 400)
    second = 1.2 - np.minimum(step, 95) / 400  # keeps its last value
    np.testing.assert_allclose(part.floats("highest"), second)
    np.testing.assert_allclose(part.floats("median"), (1.0 - step / 400 + second) / 2)
    seconds = numbers.where("against", "seconds").floats("position")
    assert seconds[-1] == pytest.approx(0.8 * 191)
    figure = figure_comparison(numbers, runs)
    line = next(found for found in figure.axes[0].lines if found.get_gid() == "pathwise")
    np.testing.assert_array_equal(line.get_ydata(), part.floats("median"))
    finals = next(c for c in figure.axes[1].containers if isinstance(c, ErrorbarContainer))
    assert np.asarray(finals.lines[0].get_ydata()).tolist() == [0.5, 1.5]


def test_comparison_files(write_run: WriteRun, tmp_path: Path) -> None:
    directory, _ = comparison(write_run)
    picture = write_comparison(directory)
    assert picture is not None and picture.stat().st_size > 5000
    assert len(read_table(picture.with_suffix(".csv"), ("median",), ("gradient", "against", "quantity"))) == 400
    (directory / "compare.csv").write_text((directory / "compare.csv").read_text().replace("seed_", "lost_"))
    assert write_comparison(directory) is None


def test_few_validations_give_way_to_the_objective_of_each_step(write_run: WriteRun) -> None:
    directory, runs = comparison(write_run)
    sparse = np.full(200, np.nan)
    sparse[5] = 9.0
    objective = np.linspace(1, 0, 200)
    write_run("seed_2", steps=200, columns={"validation": sparse, "objective": objective})
    alone = runs.rows(np.array([0]))
    alone.columns["directory"][0] = "seed_2"
    numbers = numbers_comparison(directory, alone)
    assert numbers is not None and numbers.floats("median")[0] == 1.0


def test_of_a_search_the_answer_is_shown_and_not_its_candidates(write_run: WriteRun) -> None:
    """Few validations are its curve all the same; without any, the verified final design stands alone."""
    directory, runs = comparison(write_run)
    sparse, never, wild = np.full(100, np.nan), np.full(100, np.nan), np.linspace(9, 5, 100)
    sparse[[20, 80]] = 0.7, 0.3
    for name, validation in (("some", sparse), ("none", never)):
        write_run(name, steps=100, columns={"validation": validation, "objective": wild, "gradient_norm": never})
    for index, (name, folder) in enumerate((("bayesian", "some"), ("cma_es", "none"))):
        runs.columns["gradient"][index], runs.columns["directory"][index] = name, folder
    numbers = numbers_comparison(directory, runs)
    assert numbers is not None and numbers.unique("gradient") == ["bayesian"]
    part = numbers.where("against", "simulator_calls").floats("median")
    assert (part[0], part[-1]) == (0.7, 0.3)
    axes = figure_comparison(numbers, runs).axes[0]
    finals = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
    assert [np.asarray(c.lines[0].get_ydata()).tolist() for c in finals] == [[0.5], [1.5]]
    assert axes.get_legend_handles_labels()[1] == ["bayesian (1 seed)", "cma es"]
    alone = numbers_comparison(directory, runs.rows(np.array([1])))
    assert alone is not None and len(alone) == 0 and figure_comparison(alone, runs.rows(np.array([1]))).axes


def test_a_search_that_is_rarely_validated_shows_its_own_estimate(write_run: WriteRun) -> None:
    """A local model that of the design it stands at, others that of their best, and the legend says so."""
    directory, runs = comparison(write_run)
    never, falling = np.full(60, np.nan), np.linspace(2, 1, 60)
    common = {"validation": never, "gradient_norm": never}
    write_run("local", steps=60, columns={**common, "objective": falling, "predicted_gain": falling})
    write_run("best", steps=60, columns={**common, "objective": 9 * falling, "best_value": falling - 1})
    for index, (name, folder) in enumerate((("local_surrogate", "local"), ("cma_es", "best"))):
        runs.columns["gradient"][index], runs.columns["directory"][index] = name, folder
    numbers = numbers_comparison(directory, runs)
    assert numbers is not None and numbers.unique("quantity") == ["own estimate"]
    for name, last in (("local_surrogate", 1.0), ("cma_es", 0.0)):
        assert numbers.where("gradient", name).floats("median")[-1] == pytest.approx(last)
    figure = figure_comparison(numbers, runs)
    assert "local surrogate (1 seed)*" in figure.axes[0].get_legend_handles_labels()[1]
    assert "own estimate of the search" in figure.legends[0].get_title().get_text()
