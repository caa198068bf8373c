"""Likelihoods in the JSON format of pyhf."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError, DataError
from mode_opt.objectives.statistics.building import Channel, Sample, Settings, build
from mode_opt.objectives.statistics.model import Model, Observation
from mode_opt.objectives.statistics.modifiers import (
    HistoSys,
    Lumi,
    Modifier,
    NormFactor,
    NormSys,
    ShapeFactor,
    ShapeSys,
    StatError,
)

_PLAIN = {"normfactor": NormFactor, "lumi": Lumi, "shapefactor": ShapeFactor}
_BINNED = {"shapesys": ShapeSys, "staterror": StatError}


def read_workspace(source: str | Path | Mapping[str, Any], measurement: str | None = None) -> tuple[Model, Observation]:
    """Model and observed data of a measurement of a pyhf workspace, with the interpolations that pyhf uses.

    The bins of the data are in the order of the channels in the file.

    Args:
        source: file, or its content.
        measurement: its name; None: the first.

    Raises:
        DataError: if the file or the workspace cannot be read; the message names what is wrong.
        ConfigurationError: for a measurement that is not there, or a setting that is not supported.

    Source: L. Heinrich et al., "pyhf", J. Open Source Softw. 6 (2021) 2823; schema 1.0.0.
    """
    content = source if isinstance(source, Mapping) else _loaded(Path(source))
    try:
        found = {entry["name"]: entry["config"] for entry in content["measurements"]}
        chosen = next(iter(found)) if measurement is None else measurement
        if chosen not in found:
            raise ConfigurationError("measurement", measurement, f"one of {', '.join(found)}")
        channels = [_channel(entry) for entry in content["channels"]]
        settings = {entry["name"]: _settings(entry) for entry in found[chosen].get("parameters", [])}
        counts = {entry["name"]: entry["data"] for entry in content["observations"]}
        observed = torch.cat([_numbers(counts[channel.name]) for channel in channels])
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise DataError(f"not a pyhf workspace: {type(error).__name__} {error}") from error
    model = build(channels, found[chosen]["poi"], settings)
    return model, model.observation(observed)


def _loaded(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error
    if not isinstance(content, Mapping):
        raise DataError(f"{path}: not a pyhf workspace: a JSON object is expected")
    return content


def _channel(entry: Mapping[str, Any]) -> Channel:
    samples = [
        Sample(sample["name"], _numbers(sample["data"]), [_modifier(one) for one in sample["modifiers"]])
        for sample in entry["samples"]
    ]
    return Channel(entry["name"], samples)


def _modifier(entry: Mapping[str, Any]) -> Modifier:
    name, kind, data = entry["name"], entry["type"], entry.get("data")
    if kind in _PLAIN:
        return _PLAIN[kind](name)
    if data is None:
        raise DataError(f"modifier {name} of type {kind} has no data")
    if kind in _BINNED:
        return _BINNED[kind](name, _numbers(data))
    if kind == "normsys":
        return NormSys(name, float(data["lo"]), float(data["hi"]))
    if kind == "histosys":
        return HistoSys(name, _numbers(data["lo_data"]), _numbers(data["hi_data"]))
    raise DataError(f"modifier {name} has type {kind}, expected one of the HistFactory types")


def _settings(entry: Mapping[str, Any]) -> Settings:
    unknown = set(entry) - {"name", "inits", "bounds", "fixed", "auxdata", "sigmas"}
    if unknown:
        raise ConfigurationError(
            f"parameters.{entry['name']}", sorted(unknown), "inits, bounds, fixed, auxdata, sigmas"
        )
    limits = {tuple(map(float, pair)) for pair in entry.get("bounds", [])}
    if len(limits) > 1:
        raise ConfigurationError(f"parameters.{entry['name']}.bounds", entry["bounds"], "the same bounds for all bins")
    return Settings(
        initial=entry.get("inits"),
        bounds=next(((pair[0], pair[1]) for pair in limits), None),
        fixed=entry.get("fixed"),
        center=_single(entry, "auxdata"),
        width=_single(entry, "sigmas"),
    )


def _single(entry: Mapping[str, Any], key: str) -> float | None:
    values = entry.get(key)
    if values is not None and len(values) != 1:
        raise ConfigurationError(f"parameters.{entry['name']}.{key}", values, "one number")
    return None if values is None else float(values[0])


def _numbers(values: Any) -> Tensor:
    return torch.tensor([float(value) for value in values], dtype=torch.float64)
