"""``python -m mode_opt.detectors.event_selection RUN_DIR``: the hard cuts of a run as an expression for uproot."""

import json
import sys
from pathlib import Path

from mode_opt.errors import DataError, ModeOptError

from .detector import event_selection
from .measure import hard, objective_of, resampled, significance
from .uproot_cut import UprootCut, uproot_cut


def main(arguments: list[str]) -> int:
    """Print the cut of the final design of a run, aliases written out, and what it is worth to standard error.

    The run must have the cuts of the configuration file; for others call `uproot_cut` with the same changes.
    """
    if len(arguments) != 1:
        sys.stderr.write(f"{(__doc__ or '').strip()}\n")
        return 2
    path = Path(arguments[0]) / "result.json"
    try:
        try:
            design = json.loads(path.read_text())["design"]
            thresholds = {name: float(entry["final"]) for name, entry in design.items()}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: no final design ({error!r})") from error
        cut = uproot_cut(thresholds)
        sys.stderr.write(_worth(cut))
        sys.stdout.write(f"{cut}\n")
    except ModeOptError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _worth(cut: UprootCut) -> str:
    """Significance of the hard cuts on both halves, with bootstrap errors."""
    lines = []
    for sample in ("training", "held_out"):
        detector = event_selection(sample=sample)
        events, objective = hard(detector, cut.thresholds), objective_of(detector)
        error = float(resampled(objective, events).std())
        lines.append(f"Z of the hard cuts, {sample} showers: {significance(objective, events):.2f} ± {error:.2f}\n")
    return "".join(lines)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
