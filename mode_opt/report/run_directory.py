"""A run directory, read and checked."""

from pathlib import Path

import numpy as np

from mode_opt.errors import DataError
from mode_opt.report.configuration import read_configuration
from mode_opt.report.drawing import read_drawing, read_surrogate
from mode_opt.report.result import read_json, read_result
from mode_opt.report.table import Table, read_table
from mode_opt.report.tolerance import read_tolerance

HISTORY = ("step", "objective", "simulator_calls")
EVALUATION = ("design", "quantity", "unit", "low", "high", "mean", "resolution", "resolution_standard_error")
_NOT_PARAMETERS = frozenset(
    (
        "step",
        "objective",
        "objective_standard_error",
        "validation",
        "validation_standard_error",
        "reconstruction_loss",
        "gradient_norm",
        "simulator_calls",
        "seconds",
        "learning_rate",
    )
)


class RunDirectory:
    """The files of a run.

    ``result.json`` must be there, and ``history.csv`` if the run finished; a table without a single byte has
    no rows yet. Everything else is None when absent. A run that did not finish may have been stopped within a
    line: the incomplete last line of a table is left out.

    Attributes:
        path: the directory.
        result: ``result.json``.
        history: one row a design step, each step once, ascending (`Table`).
        evaluation: resolution and bias in bins of the truth.
        drawing: boxes of the detector.
        provenance: nested mapping.
        surrogate: validation of a surrogate.
        tolerance: what ``mode-opt tolerance`` found.
        configuration: ``.hydra/config.yaml``.

    Raises:
        DataError: directory or a needed file missing; a file truncated or corrupt. The message names the file
            and what is missing in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise DataError(f"{self.path}: no such directory, expected a run directory")
        self.result = read_result(self.path / "result.json")
        self.history = self._history()
        self.evaluation = self._evaluation()
        names = ("drawing", "surrogate", "provenance", "tolerance")
        drawing, surrogate, provenance, tolerance = (self.path / f"{name}.json" for name in names)
        self.drawing = read_drawing(drawing) if drawing.exists() else None
        self.surrogate = read_surrogate(surrogate) if surrogate.exists() else None
        self.tolerance = read_tolerance(tolerance) if tolerance.exists() else None
        self.provenance = read_json(provenance) if provenance.exists() else None
        self.configuration = read_configuration(self.path / ".hydra")

    def _table(self, name: str, required: tuple[str, ...], words: tuple[str, ...] = ()) -> Table | None:
        path = self.path / name
        if not path.exists() or path.stat().st_size == 0:
            return None
        return read_table(path, required, words, partial=not self.result.finished)

    def _history(self) -> Table | None:
        history = self._table("history.csv", HISTORY)
        if history is None:
            path = self.path / "history.csv"
            if self.result.finished and not path.exists():
                raise DataError(f"{path}: the file is missing, but the run finished")
            return None
        # A resumed run may have written some steps twice: the later row is the one that counts.
        last = {step: row for row, step in enumerate(history.floats("step").tolist()) if np.isfinite(step)}
        return history.rows(np.array([last[step] for step in sorted(last)], dtype=np.intp))

    def _evaluation(self) -> Table | None:
        evaluation = self._table("evaluation.csv", EVALUATION, ("design", "quantity", "unit", "residual"))
        unknown = (
            [] if evaluation is None else [d for d in evaluation.unique("design") if d not in ("initial", "final")]
        )
        if unknown:
            path = self.path / "evaluation.csv"
            raise DataError(f"{path}: column design holds {unknown[0]!r}, expected initial or final")
        return evaluation

    @property
    def steps(self) -> int:
        """Number of design steps that were taken."""
        return 0 if self.history is None else len(self.history)

    def scalars(self) -> list[str]:
        """Columns of the history that are scalar design parameters."""
        return [name for name in self._columns() if "[" not in name and "=" not in name and self._known(name)]

    def arrays(self) -> dict[str, list[str]]:
        """Array parameters and their columns ``name[index]`` of the history, in the order of the index."""
        groups: dict[str, list[tuple[int, str]]] = {}
        for column in self._columns():
            name, bracket, index = column.partition("[")
            if bracket and index.endswith("]") and index[:-1].isdigit() and self._known(name):
                groups.setdefault(name, []).append((int(index[:-1]), column))
        return {name: [column for _, column in sorted(columns)] for name, columns in groups.items()}

    def categories(self) -> dict[str, dict[str, str]]:
        """Categorical parameters, their options and the columns ``name=option`` of the history."""
        groups: dict[str, dict[str, str]] = {}
        for column in self._columns():
            name, equals, option = column.partition("=")
            if equals and self._known(name):
                groups.setdefault(name, {})[option] = column
        return groups

    def constraints(self) -> list[str]:
        """Names of the constraints in the history."""
        columns = () if self.history is None else self.history.columns
        return [name.partition("/")[2] for name in columns if name.startswith("constraint/")]

    def _columns(self) -> list[str]:
        columns = () if self.history is None else self.history.columns
        return [name for name in columns if name not in _NOT_PARAMETERS and "/" not in name]

    def _known(self, name: str) -> bool:
        return not self.result.design or name in self.result.design
