"""Figures for papers: drawn with matplotlib, sized for one column, ready for `savefig("figure.pdf")`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from analysis import measures, style
from analysis.run import Run

WIDTH_IN, HEIGHT_IN = 5.0, 3.1
"""Size of a figure in inches."""
PAST = 1.03
"""How far an axis goes, in units of the last value on it."""


def learning_curves(runs: Mapping[str, Run], metric: str = "accuracy", split: str = "test") -> Figure:
    """One metric over simulated time, one line for each run, by its label.

    Raises NotRecorded when a run never evaluated the metric.
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
    """Where the time of a mean round went, by cause: one stacked bar for each run, by its label."""
    mean_s = {
        label: run.time_by_cause()["duration_s"].reindex(list(style.CAUSES), fill_value=0.0) / len(run.rounds)
        for label, run in runs.items()
    }
    size, symbol = style.scale(max(causes.sum() for causes in mean_s.values()), "s")
    figure, axes = _figure(1.1 + 0.4 * len(runs))
    left = np.zeros(len(runs))
    for cause, (label, colour) in style.CAUSES.items():
        seconds = np.array([causes[cause] / size for causes in mean_s.values()])
        if seconds.any():
            axes.barh(list(mean_s), seconds, left=left, height=0.62, color=colour, label=label)
        left += seconds
    axes.invert_yaxis()
    axes.set_xlabel(f"Mean time of a round ({symbol})")
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), fontsize="small")
    return figure


def labelled_axes(until: float, along: str, upwards: str, *, percent: bool) -> tuple[Figure, Axes]:
    """An empty figure with titled axes, the first from zero to a little past `until`; `percent` writes shares so."""
    figure, axes = _figure(HEIGHT_IN)
    axes.set_xlabel(along)
    axes.set_ylabel(upwards)
    axes.set_xlim(0, until * PAST if until > 0 else 1)
    axes.grid(alpha=0.3, linewidth=0.6)
    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return figure, axes


def _figure(height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
