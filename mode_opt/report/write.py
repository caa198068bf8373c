"""From a run directory to figures, their numbers and one HTML page."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from mode_opt.errors import ConfigurationError
from mode_opt.report.catalogue import CATALOGUE, Plot
from mode_opt.report.page import Illustration, render
from mode_opt.report.run_directory import RunDirectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIXELS_PER_INCH = 170


def write_report(run_directory: Path) -> Path:
    """Draw everything that the run has data for and write the page.

    Writes ``figures/NAME.png``, ``figures/NAME.pdf`` and ``figures/NAME.csv`` (the plotted numbers) and
    ``report.html``, which needs none of them. Files of figures that the run has no data for are removed.

    Args:
        run_directory: what ``mode-opt optimise`` left; the run need not have finished.

    Returns:
        Path of ``report.html``.

    Raises:
        DataError: a file is missing, truncated or corrupt.
        ConfigurationError: the directory cannot be written.
    """
    run = RunDirectory(Path(run_directory))
    folder, page = run.path / "figures", run.path / "report.html"
    try:
        folder.mkdir(exist_ok=True)
        drawn = {plot: _illustrate(plot, run, folder) for plot in CATALOGUE}
        figures = [illustration for illustration in drawn.values() if illustration is not None]
        absent = [plot.title.lower() for plot, illustration in drawn.items() if illustration is None]
        draft = page.with_suffix(".html.part")
        draft.write_text(render(run, figures, absent), encoding="utf-8")
        draft.replace(page)
    except OSError as error:
        reason = f"a directory that can be written ({error.strerror})"
        raise ConfigurationError("run directory", str(run.path), reason) from error
    return page


def write_figure(run_directory: Path, name: str) -> Path | None:
    """Draw one figure of the catalogue into ``figures/``.

    Args:
        run_directory: what ``mode-opt optimise`` left.
        name: of the figure.

    Returns:
        Path of the PNG; None if the run has no data for it.

    Raises:
        DataError: a file is missing, truncated or corrupt.
        ConfigurationError: there is no such figure.
    """
    plot = next((plot for plot in CATALOGUE if plot.name == name), None)
    if plot is None:
        raise ConfigurationError("figure", name, f"one of {', '.join(p.name for p in CATALOGUE)}")
    run = RunDirectory(Path(run_directory))
    folder = run.path / "figures"
    folder.mkdir(exist_ok=True)
    return folder / f"{name}.png" if _illustrate(plot, run, folder) else None


def _illustrate(plot: Plot, run: RunDirectory, folder: Path) -> Illustration | None:
    numbers, figure = plot.numbers(run), plot.draw(run)
    if numbers is None or figure is None:
        for suffix in ("png", "pdf", "csv"):
            (folder / f"{plot.name}.{suffix}").unlink(missing_ok=True)
        return None
    picture = folder / f"{plot.name}.png"
    _save(figure, picture)
    numbers.write(folder / f"{plot.name}.csv")
    image = base64.b64encode(picture.read_bytes()).decode("ascii")
    return Illustration(plot.name, plot.title, plot.caption(run, numbers, figure), image)


def _save(figure: Figure, picture: Path) -> None:
    # Without dates and versions the same run gives the same bytes.
    figure.savefig(picture, dpi=PIXELS_PER_INCH, metadata={"Software": None})
    figure.set_layout_engine("none")  # it is laid out
    figure.savefig(picture.with_suffix(".pdf"), dpi=PIXELS_PER_INCH, metadata={"CreationDate": None})
