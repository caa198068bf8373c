"""The look of all figures, set on each figure so that nobody else's matplotlib settings change.

Colours are those of Okabe and Ito, "Color universal design" (2008), which colour-blind readers can tell
apart (the last two series, of Paul Tol); a marker or a line style goes with each, so that no figure depends on colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.5  # inches; at 900 px this makes 10 pt letters 17 px high
INK, GREY, THIN, BAND = "#222222", "#777777", "#8C8C8C", "#D5D5D5"


@dataclass(frozen=True)
class Look:
    """Colour, marker and line of a series."""

    colour: str
    marker: str
    line: str
    filled: bool = True

    def points(self, size: float = 6.0) -> dict[str, Any]:
        """Keyword arguments of ``errorbar`` for points with error bars."""
        face = self.colour if self.filled else "white"
        return {
            "color": self.colour,
            "marker": self.marker,
            "markersize": size,
            "markerfacecolor": face,
            "markeredgewidth": 1.4,
            "capsize": 2.5,
            "elinewidth": 1.2,
        }


INITIAL = Look("#D55E00", "o", (0, (4, 2)), filled=False)  # type: ignore[arg-type]
FINAL = Look("#0072B2", "s", "-")
VALIDATION = Look("#009E73", "D", "-", filled=False)
DESIGNS = {"initial": INITIAL, "final": FINAL}
SERIES = (
    Look("#0072B2", "s", "-"),
    Look("#D55E00", "o", "--"),
    Look("#009E73", "D", "-."),
    Look("#CC79A7", "^", ":"),
    Look("#E69F00", "v", "-"),
    Look("#56B4E9", "P", "--"),
    Look("#222222", "X", "-."),
    Look("#882255", "<", "--"),
    Look("#999933", ">", ":"),
)
MATERIALS = (  # dark and light in turn, so that neighbours also differ in grey
    ("#3E6A96", "////"),
    ("#F3E3B3", ""),
    ("#B5553C", "xxxx"),
    ("#BFE3D0", "...."),
    ("#6B4C8A", "\\\\\\\\"),
    ("#E2E2E2", "----"),
    ("#2F6B57", "++++"),
    ("#F7C9D4", "||||"),
)


def plain(text: str, width: int = 60) -> str:
    """Text that matplotlib shows as it is: no mathematics between dollars, and not endless."""
    short = text if len(text) <= width else text[: width - 1] + "…"
    return short.replace("$", r"\$")


def axis_label(name: str, unit: str = "") -> str:
    """``gap_thickness``, ``mm`` becomes ``gap thickness [mm]``."""
    return plain(name.replace("_", " ")) + (f" [{plain(unit)}]" if unit and unit != "1" else "")


def new_figure(height: float = 4.2, width: float = WIDTH) -> Figure:
    """An empty figure that belongs to no window and no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, horizontal: str | None = None, vertical: str | None = None) -> None:
    """Labels, and ticks on all sides as usual in particle physics."""
    axes.minorticks_on()
    axes.tick_params(which="both", direction="in", top=True, right=True, labelsize=9.5)
    axes.tick_params(which="major", length=5)
    axes.tick_params(which="minor", length=2.5)
    if horizontal is not None:
        axes.set_xlabel(horizontal, fontsize=10.5)
    if vertical is not None:
        axes.set_ylabel(vertical, fontsize=10.5)


def legend_above(figure: Figure, columns: int = 4) -> None:
    """The legend of all panels, each entry once, above them, where it hides no data."""
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        handles, labels = list(entries.values()), list(entries)
        figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False, fontsize=9.5)


def percent(axes: Axes) -> None:
    """Vertical ticks in percent; the axis label has to say so."""
    from matplotlib.ticker import FuncFormatter

    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}".replace("-", "\N{MINUS SIGN}")))
