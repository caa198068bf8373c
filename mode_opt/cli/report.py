"""``mode-opt report RUN_DIR``: figures and one HTML page."""

from pathlib import Path

from mode_opt.errors import ConfigurationError
from mode_opt.report import write_report


def main(arguments: list[str]) -> int:
    """Write the report of a run directory, finished or not."""
    if len(arguments) != 1:
        raise ConfigurationError("report", " ".join(arguments), "one run directory")
    print(write_report(Path(arguments[0])))
    return 0
