"""Axes of figures for papers, and figures that a notebook shows."""

from __future__ import annotations

from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

WIDTH_IN, HEIGHT_IN = 5.0, 3.1
"""Size of a figure in inches."""
MARGIN = 1.03
"""End of an axis relative to the last value on it."""
NOTEBOOK_DPI = 110
"""Dots per inch of a figure in a notebook."""


class Picture(Figure):
    """A figure that a notebook shows if it is the last value of a cell, even where pyplot has not been imported."""

    def _repr_png_(self) -> bytes:
        image = BytesIO()
        self.savefig(image, format="png", dpi=NOTEBOOK_DPI)
        return image.getvalue()


def figure_of(axes: Axes) -> Figure:
    """Return the whole figure that axes are part of."""
    return axes.figure if isinstance(axes.figure, Figure) else axes.figure.figure


def bar_axes(bars: int, x_title: str, ax: Axes | None = None, *, bar_in: float = 0.4) -> Axes:
    """Return axes for horizontal bars, the first one at the top.

    Args:
        bars: number of bars.
        x_title: title of the x axis.
        ax: axes to use (default: those of a new figure).
        bar_in: height of a bar with the space below it, in inches.
    """
    axes = ax or _new(1.1 + bar_in * bars)
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
    axes.set_xlabel(x_title, loc="right")  # beside long labels the axes may be narrower than it
    return axes


def labelled_axes(last: float, x_title: str, y_title: str, *, percent: bool = False, ax: Axes | None = None) -> Axes:
    """Return axes with a grid.

    Args:
        last: largest value on the x axis, which begins at 0.
        x_title: title of the x axis.
        y_title: title of the y axis.
        percent: whether values on the y axis are shares to be shown in percent.
        ax: axes to use (default: those of a new figure).
    """
    axes = ax or _new(HEIGHT_IN)
    axes.set_xlabel(x_title)
    axes.set_ylabel(y_title)
    axes.set_xlim(0, last * MARGIN if last > 0 else 1)
    axes.grid(alpha=0.3, linewidth=0.6)
    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return axes


def legend(axes: Axes, *, above: bool) -> None:
    """Add a legend: in the axes, or in three columns above a figure of its own, where it may be wider than the axes."""
    if above and isinstance(axes.figure, Picture):
        tight = {"columnspacing": 1.0, "handlelength": 1.2}  # so that three columns fit into one of a journal
        axes.figure.legend(frameon=False, ncols=3, loc="outside upper center", fontsize="small", **tight)
    else:
        axes.legend(frameon=False, fontsize="small")


def _new(height_in: float) -> Axes:
    figure = Picture(figsize=(WIDTH_IN, height_in), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return axes
