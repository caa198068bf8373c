"""The report page from a run directory and its drawn figures."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mode_opt.report import formatting, statements
from mode_opt.report.configuration import redact
from mode_opt.report.result import Estimate, ParameterResult, Result, Value
from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.template import PAGE, STYLE
from mode_opt.report.tolerance_tables import tolerance_tables

COMMAND_KEYS = ("command_line", "command", "argv")


@dataclass(frozen=True)
class Illustration:
    """A figure as it stands on the page; ``image`` is a PNG in base64."""

    name: str
    title: str
    caption: str
    image: str


def render(run: RunDirectory, figures: Sequence[Illustration], absent: Sequence[str]) -> str:
    """The page; every word and number that comes from the run is escaped.

    Args:
        run: the run directory.
        figures: what was drawn, in order.
        absent: titles of the figures for which the run has no data.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    result = run.result
    return environment.from_string(PAGE).render(
        style=Markup(STYLE),
        result=result,
        facts=_facts(run),
        verdict=statements.verdict(result),
        headline=statements.headline(result),
        warnings=statements.warnings(result, run.steps),
        objective=_objective(result),
        objective_note=_objective_note(result),
        design=[_parameter(name, entry) for name, entry in result.design.items()],
        constraints=_constraints(result),
        tolerance=tolerance_tables(run),
        figures=figures,
        command=command_line(run),
        directory=shlex.quote(str(run.path)),
        provenance=_provenance(run),
        configuration=None if run.configuration is None else run.configuration.text,
        absent=absent,
    )


def _facts(run: RunDirectory) -> list[str]:
    result = run.result
    facts = [f"status: {result.status}"]
    if result.gradient:
        facts.append(f"gradient: {result.gradient}")
    if result.gradient_reason:
        facts.append(f"chosen because {result.gradient_reason}")
    if result.seed is not None:
        facts.append(f"seed {result.seed}")
    if run.steps:
        facts.append(f"{run.steps} design steps")
    if result.simulator_calls is not None:
        facts.append(f"{formatting.count(result.simulator_calls)} simulator calls")
    if result.wall_seconds is not None:
        facts.append(f"wall time {formatting.duration(result.wall_seconds)}")
    return facts


_PART_ROWS = {"initial": "start design", "final": "final design", "improvement": "improvement"}


def _objective(result: Result) -> list[dict[str, Any]]:
    named = (
        ("start design", result.initial),
        ("final design", result.final),
        ("improvement (paired difference, start − final)", result.improvement),
    )
    rows = [_estimate(label, estimate) for label, estimate in named if estimate is not None]
    for name, part in result.parts.items():
        rows += [_estimate(f"{name}, {label}", part[key]) for key, label in _PART_ROWS.items() if key in part]
    return rows


def _estimate(label: str, estimate: Estimate) -> dict[str, Any]:
    shown, _, shown_error = formatting.estimate(estimate).partition(" ± ")
    if not shown_error or ")" in shown_error:  # no error, or a common power of ten
        shown, shown_error = formatting.number(estimate.value), formatting.number(estimate.standard_error, 2)
    error = estimate.standard_error
    return {
        "label": label,
        "value": repr(estimate.value),
        "shown": shown,
        "error": None if error is None else repr(error),
        "shown_error": shown_error,
    }


def _objective_note(result: Result) -> str:
    note = "Measured on events that took no part in the optimisation"
    both = result.initial is not None and result.final is not None
    note += ", with the same primaries and the same reconstruction effort for both designs." if both else "."
    judged = statements.verdict(result)
    if judged.low is None or judged.high is None:
        return f"{note} No paired difference with a standard error was measured."
    bounds = formatting.interval(judged.low, judged.high)
    return (
        f"{note} The improvement is their paired difference; its 95 % confidence interval, {bounds}, "
        "is ± 1.96 standard errors (normal approximation)."
    )


def _parameter(name: str, entry: ParameterResult) -> dict[str, Any]:
    return {
        "name": name,
        "unit": entry.unit,
        "initial": _exact(entry.initial),
        "final": _exact(entry.final),
        "shown_initial": formatting.value(entry.initial),
        "shown_final": formatting.value(entry.final),
        "change": formatting.change(entry.initial, entry.final),
        "elements": _elements(entry),
    }


def _elements(entry: ParameterResult) -> list[tuple[int, str, str]]:
    first = entry.initial if isinstance(entry.initial, list) else []
    last = entry.final if isinstance(entry.final, list) else []
    length = max(len(first), len(last))
    if length <= 4:
        return []
    show = [[formatting.value(v) for v in column] + ["—"] * (length - len(column)) for column in (first, last)]
    return list(zip(range(length), *show, strict=True))


def _exact(value: Value | None) -> str:
    if isinstance(value, list):
        return " ".join(_exact(item) for item in value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value if isinstance(value, str) else repr(value)


def _constraints(result: Result) -> list[dict[str, str]]:
    satisfied = {True: "yes", False: "no", None: formatting.ABSENT}
    return [
        {
            "name": name,
            "value": _exact(entry.value),
            "shown_value": formatting.number(entry.value, 6),
            "limit": _exact(entry.limit),
            "shown_limit": formatting.number(entry.limit, 6),
            "unit": entry.unit,
            "satisfied": satisfied[entry.satisfied],
        }
        for name, entry in result.constraints.items()
    ]


def command_line(run: RunDirectory) -> str | None:
    """The command that was given, from the provenance or else from Hydra's overrides; None if unknown."""
    for key in COMMAND_KEYS:
        command = (run.provenance or {}).get(key)
        if isinstance(command, list) and command:
            return redact(shlex.join(str(word) for word in command))
        if isinstance(command, str) and command:
            return redact(command)
    if run.configuration is not None and run.configuration.overrides:
        return shlex.join(["mode-opt", "optimise", *run.configuration.overrides])
    return None


def _provenance(run: RunDirectory) -> list[tuple[str, str]]:
    tree = run.provenance or {}
    rows = [] if "versions" in tree else [(f"versions / {k}", text) for k, text in run.result.versions.items()]
    for key, text in _flat(tree):
        if key.partition(" / ")[0] not in COMMAND_KEYS:
            shown = redact(f"{key}: {text}").removeprefix(f"{key}: ")
            rows.append((key, shown))
    return rows


def _flat(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        pairs = [(str(key), value) for key, value in node.items()]
    elif isinstance(node, list) and any(isinstance(item, Mapping | list) for item in node):
        pairs = [(str(index + 1), value) for index, value in enumerate(node)]
    else:
        words = ", ".join(map(str, node)) if isinstance(node, list) else "" if node is None else str(node)
        yield path, words
        return
    for key, value in pairs:
        yield from _flat(value, f"{path} / {key}" if path else key)
