"""``python -m mode_opt.detectors.event_selection RUN_DIR``: the hard cuts of a run as an expression for uproot."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mode_opt.errors import DataError, ModeOptError, NonFiniteError

from .detector import configured, event_selection
from .figures import Selection, figures
from .measure import hard, objective_of, resampled, significance
from .training import trained
from .uproot_cut import UprootCut, uproot_cut


def main(arguments: list[str]) -> int:
    """Print the cut of the final design of a run, aliases written out, and what it is worth to standard error.

    The cuts are those of the configuration of the run (``.hydra/config.yaml``), or the default ones if there is none.
    With a network, one is trained for the final design.
    """
    if len(arguments) != 1:
        sys.stderr.write(f"{(__doc__ or '').strip()}\n")
        return 2
    folder = Path(arguments[0])
    try:
        changes, chosen = _configuration(folder)
        values, cuts = _final(folder / "result.json"), configured(**changes)["cuts"]
        if missing := [name for name in cuts if not isinstance(values.get(name), float)]:
            raise DataError(f"{folder / 'result.json'}: no final design of the cuts {', '.join(missing)}")
        cut = uproot_cut({name: values[name] for name in cuts}, **changes)
        sys.stderr.write(_worth(cut, changes, values, chosen))
        sys.stdout.write(f"{cut}\n")
    except ModeOptError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _configuration(folder: Path) -> tuple[dict[str, Any], bool]:
    """Entries of the detector's configuration with which the run was made, and whether it had another objective."""
    path = folder / ".hydra" / "config.yaml"
    if not path.is_file():
        return {}, False
    from omegaconf import OmegaConf

    node: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    found = dict(node.get("detector", {}))
    if found.pop("_target_", "").rpartition(".")[2] != event_selection.__name__:
        raise DataError(f"{path}: not a run of event_selection")
    if node.get("reconstruction_goal") is not None:
        found["reconstruction_goal"] = node["reconstruction_goal"]
    return found, node.get("objective") is not None


def _final(path: Path) -> dict[str, Any]:
    """Values of the final design."""
    try:
        design = json.loads(path.read_text())["design"]
        return {name: _numbers(entry["final"]) for name, entry in design.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no final design ({error!r})") from error


def _numbers(value: Any) -> float | list[float]:
    return [float(one) for one in value] if isinstance(value, list) else float(value)


def _worth(cut: UprootCut, changes: Mapping[str, Any], values: Mapping[str, Any], chosen: bool) -> str:
    """Significance of the hard cuts on both halves, with bootstrap errors, and figures of the likelihood.

    These are left out if the run was for the significance, ``chosen`` is False and the detector's figure is its count.
    """
    lines, settings = [], configured(**changes)
    for sample in ("training", "held_out"):
        counted = {"figure": "significance", "network": None, "accepted": None, "sample": sample}
        detector = event_selection(**{**changes, **counted})
        events, objective = hard(detector, cut.thresholds), objective_of(detector)
        error = float(resampled(objective, events).std())
        lines.append(f"Z of the hard cuts, {sample} showers: {significance(objective, events):.2f} ± {error:.2f}\n")
    if chosen or settings["figure"] != "significance":
        lines += _likelihood(changes, {**values, **cut.thresholds}, settings["network"] is not None)
    return "".join(lines)


def _likelihood(changes: Mapping[str, Any], values: Mapping[str, Any], with_network: bool) -> list[str]:
    """The figures of the likelihood, with a network that is trained for the design if there is one."""
    plain = {name: value for name, value in changes.items() if name != "sample"}
    selection = Selection(plain, values)
    if with_network:
        detector = event_selection(**plain)
        detector.design.assign(values)
        network = trained(detector, detector.reconstruction_goal).network
        selection = Selection(plain, values, network)
    words = {"discovery": "Z with uncertainties", "limit": "expected limit", "strength": "uncertainty of the strength"}
    lines = []
    for sample in ("training", "held_out"):
        try:
            found = {name: replicas.estimate() for name, replicas in figures(selection, sample).items()}
        except NonFiniteError as error:  # a cut that no photon passes
            lines.append(f"no likelihood, {sample} showers: {error}\n")
            continue
        for name, word in words.items():
            value = abs(found[name].value)  # −Z is what is minimised
            lines.append(f"{word}, {sample} showers: {value:.3g} ± {found[name].standard_error:.2g}\n")
    return lines


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
