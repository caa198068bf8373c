"""``mode-opt pareto``: the front of two or three goals, and what each costs in terms of the others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from mode_opt.cli.build import detector_of
from mode_opt.cli.compose import overridden, saved
from mode_opt.cli.optimise import quiet_lightning
from mode_opt.cli.pareto.goals import goals_of, levels_of
from mode_opt.cli.pareto.hypervolume import search
from mode_opt.cli.pareto.levels import Point
from mode_opt.cli.pareto.rates import exchange_rates
from mode_opt.cli.pareto.runs import Settings, Sweep, check, measured, single
from mode_opt.cli.pareto.table import Record, show, write
from mode_opt.cli.series import Series, begun, only_quiet
from mode_opt.design import Design
from mode_opt.errors import ConfigurationError, DataError, ModeOptError
from mode_opt.objectives import Estimate
from mode_opt.report.front_figure import write_front

METHODS = ("sweep", "hypervolume")
COUNTS = {2: 8, 3: 4}
"""Levels of each limit, by number of goals."""
MET = 0.01
"""How far beyond a limit a goal may be, in its range, beside two standard errors."""


def series(directory: Path) -> Series:
    """The runs in a directory."""
    return Series(directory, "pareto", "front")


def main(arguments: list[str]) -> int:
    """Make or resume a front (``resume=DIR``): runs that are finished are not repeated."""
    return begun(arguments, series, _task, _resume)


def _task(configuration: DictConfig) -> None:
    directory = Path(HydraConfig.get().runtime.output_dir)
    series(directory).refuse_second()
    settings = settings_of(configuration, directory)
    series(directory).write({"settings": settings.as_dict()})
    carry_out(directory, settings, configuration, [])


def _resume(directory: Path, overrides: list[str]) -> int:
    content = series(directory).read()
    try:
        settings = Settings.of(content["settings"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{series(directory).plan}: no front to resume ({error!r})") from error
    configuration = overridden(saved(directory), only_quiet(overrides))
    configuration.run_directory = str(directory.resolve())
    carry_out(directory, settings, configuration, overrides)
    return 0


def settings_of(configuration: DictConfig, directory: Path) -> Settings:
    """How the front is made, checked before any run.

    Raises:
        ConfigurationError: for a setting with which no run could be made.
    """
    configuration.run_directory = str(directory.resolve())
    with quiet_lightning():
        goals = goals_of(configuration, detector_of(configuration).design)
    method, count, rho = configuration.method, configuration.points, configuration.rho
    if method not in METHODS:
        raise ConfigurationError("method", method, " or ".join(METHODS))
    count = COUNTS[len(goals)] if count is None else count
    if isinstance(count, bool) or not isinstance(count, int) or count < 2:
        raise ConfigurationError("points", count, "a whole number of at least 2: of one point there is no front")
    if rho is not None and not (isinstance(rho, int | float) and rho > 0):
        raise ConfigurationError("rho", rho, "a positive number, or null")
    levels, reference = levels_of(configuration, goals), _reference(configuration, [goal.name for goal in goals])
    settings = Settings(tuple(goals), method, count, levels, None if rho is None else float(rho), reference)
    check(single(configuration, directory), settings)
    return settings


def _reference(configuration: DictConfig, names: list[str]) -> dict[str, float] | None:
    value = configuration.reference
    if value is None:
        return None
    good = isinstance(value, Mapping) and set(value) == set(names)
    if not good or any(isinstance(n, bool) or not isinstance(n, int | float) for n in value.values()):
        raise ConfigurationError("reference", str(value), f"a number for each of {', '.join(names)}")
    return {str(name): float(number) for name, number in value.items()}


def carry_out(directory: Path, settings: Settings, configuration: DictConfig, overrides: list[str]) -> None:
    """Make the runs that are not finished, then write the table, the figure and the ROOT file, and print the table.

    Raises:
        Interrupted: on request; what was reached is written, and can be resumed.
    """
    one, made = single(configuration, directory), series(directory)
    if settings.method == "hypervolume":
        records = search(made, settings, one, overrides)
        _write(directory, records, settings, detector_of(one).design)
    else:
        sweep = Sweep(made, settings, one)
        try:
            sweep.carry_out(overrides)
        finally:
            records = records_of(sweep)
            _write(directory, records, settings, sweep.design)
    show(records, settings)
    Console(highlight=False, soft_wrap=True).print(f"written to {directory.resolve()}")


def _write(directory: Path, records: list[Record], settings: Settings, design: Design) -> None:
    write(directory, records, settings, design)
    write_front(directory)


def records_of(sweep: Sweep) -> list[Record]:
    """The start design and every run of a sweep."""
    records = [_record(sweep, point) for point in sweep.points]
    scales = _scales(sweep)
    for record in records:
        _judge_limits(record, sweep.settings, scales)
    exchange_rates(records, sweep.settings, sweep.made, scales)
    return [*_start(sweep), *records]


def _scales(sweep: Sweep) -> dict[str, float]:
    try:
        return sweep.ranges()
    except ModeOptError:  # an anchor is missing, which has been said
        return {}


def _start(sweep: Sweep) -> list[Record]:
    first = sweep.points[0]
    if sweep.made.result(first.directory).get("status") != "finished":
        return []
    values = _estimates(sweep, first, "initial")
    return [Record("start", "measured", values=values, design=_design(sweep, first, "initial"))]


def _record(sweep: Sweep, point: Point) -> Record:
    content = sweep.made.result(point.directory)
    record = Record("anchor" if point.anchor else "level", "not begun", point.directory)
    record.minimised, record.limits = point.minimised, point.limits
    for status, messages in (("failed", sweep.failures), ("infeasible", sweep.infeasible)):
        if point.directory in messages:
            record.status, record.message = status, messages[point.directory]
            return record
    record.status, record.message = str(content.get("status", record.status)), str(content.get("message", ""))
    if record.status == "finished":
        record.values, record.design = _estimates(sweep, point, "final"), _design(sweep, point, "final")
        record.calls = float(content.get("simulator_calls", "nan"))
    return record


def _estimates(sweep: Sweep, point: Point, which: str) -> dict[str, Estimate]:
    found = measured(sweep.made, sweep.settings, point, sweep.design, which)
    return {name: Estimate(*numbers) for name, numbers in found.items()}


def _design(sweep: Sweep, point: Point, which: str) -> dict[str, dict[str, Any]]:
    entries = sweep.made.result(point.directory)["design"]
    return {name: {"value": entry[which], "unit": entry["unit"] or ""} for name, entry in entries.items()}


def _judge_limits(record: Record, settings: Settings, scales: Mapping[str, float]) -> None:
    """Say where a limit on an objective does not hold."""
    for name, limit in record.limits.items():
        value = record.values.get(name)
        if limit is None or value is None or settings.goal(name).quantity is not None:
            continue
        if value.value - limit > 2 * value.standard_error + MET * scales.get(name, abs(limit)):
            record.met = False
            record.message = f"{name} is {value.value:.5g} ± {value.standard_error:.2g}, beyond its limit {limit:.5g}"
