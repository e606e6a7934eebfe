"""Matplotlib figures of runs for papers, one column wide, ready for `savefig("figure.pdf")`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from analysis import measures, style
from analysis.run import Run

WIDTH_IN, HEIGHT_IN = 5.0, 3.1
"""Size of a figure in inches."""
MARGIN = 1.03
"""End of an axis relative to the last value on it."""


def learning_curves(runs: Mapping[str, Run], metric: str = "accuracy", split: str = "test") -> Figure:
    """Draw a metric over simulated time, one line per run.

    Args:
        runs: runs by label for the legend.
        metric: name of the metric.
        split: data that the model was evaluated on (default: the test set).

    Raises:
        NotRecorded: a run never evaluated the metric.
    """
    histories = {label: measures.metric_history(run.evaluations, metric, split) for label, run in runs.items()}
    last_s = max(history["time_s"].max() for history in histories.values())
    size, symbol = style.scale(last_s, "s")
    titles = f"Simulated time ({symbol})", f"{style.words(split)} {metric}"
    figure, axes = labelled_axes(last_s / size, *titles, percent=metric == "accuracy")
    for (label, history), colour in zip(histories.items(), cycle(style.SERIES), strict=False):
        axes.plot(history["time_s"] / size, history["value"], color=colour, label=label)
    if len(runs) > 1:
        axes.legend(frameon=False)
    return figure


def round_time(runs: Mapping[str, Run]) -> Figure:
    """Draw the time of a mean round by cause on its critical path, one stacked bar per run.

    Args:
        runs: runs by label for the axis.
    """
    mean_s = {
        label: run.time_by_cause()["duration_s"].reindex(list(style.CAUSES), fill_value=0.0) / len(run.rounds)
        for label, run in runs.items()
    }
    return _stacked(mean_s, style.CAUSES, "Mean time of a round")


def pass_time(runs: Mapping[str, Run], phase: str = "decode") -> Figure:
    """Draw where the time of a mean forward pass goes, one stacked bar per run.

    Args:
        runs: runs by label for the axis, each with passes of this phase.
        phase: prefill or decode.
    """
    mean_s = {label: run.pass_time_by("phase")[measures.PASS_PARTS].T[phase] for label, run in runs.items()}
    return _stacked(mean_s, style.PASS_PARTS, f"Mean time of a {phase} pass")


def _stacked(seconds_of: Mapping[str, pd.Series[float]], names: Mapping[str, tuple[str, str]], title: str) -> Figure:
    """Draw one bar for each label; `names` has label and colour of each part, in the order of the parts."""
    size, symbol = style.scale(max(parts.sum() for parts in seconds_of.values()), "s")
    figure, axes = bar_axes(len(seconds_of), f"{title} ({symbol})")
    left = np.zeros(len(seconds_of))
    for part, (label, colour) in names.items():
        seconds = np.array([parts[part] / size for parts in seconds_of.values()])
        if seconds.any():
            axes.barh(list(seconds_of), seconds, left=left, height=0.62, color=colour, label=label)
        left += seconds
    figure.legend(frameon=False, ncols=3, loc="outside upper center", fontsize="small")  # may be wider than the axes
    return figure


def bar_axes(bars: int, x_title: str) -> tuple[Figure, Axes]:
    """Return an empty figure for horizontal bars, the first one at the top, and its axes.

    Args:
        bars: number of bars.
        x_title: title of the x axis.
    """
    figure, axes = _figure(1.1 + 0.4 * bars)
    axes.invert_yaxis()
    axes.set_xlabel(x_title)
    return figure, axes


def labelled_axes(last: float, x_title: str, y_title: str, *, percent: bool) -> tuple[Figure, Axes]:
    """Return an empty figure and its axes.

    Args:
        last: largest value on the x axis, which begins at 0.
        x_title: title of the x axis.
        y_title: title of the y axis.
        percent: whether values on the y axis are shares to be shown in percent.
    """
    figure, axes = _figure(HEIGHT_IN)
    axes.set_xlabel(x_title)
    axes.set_ylabel(y_title)
    axes.set_xlim(0, last * MARGIN if last > 0 else 1)
    axes.grid(alpha=0.3, linewidth=0.6)
    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return figure, axes


def _figure(height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
