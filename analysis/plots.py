"""Matplotlib figures of runs for papers and notebooks.

Each function draws on the axes `ax`, or on those of a new figure one column wide, which a notebook shows and
`savefig("figure.pdf")` saves. Runs are given by label for the legend; a single run has the label of its scenario.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from analysis import measures, style, timeline
from analysis.axes import bar_axes, figure_of, labelled_axes, legend
from analysis.run import Run
from analysis.style import NothingToDraw

POINTS = 1000
"""Maximum number of points of a distribution function."""

Runs = Run | Mapping[str, Run]
"""Runs by label, or one run."""


def learning_curves(runs: Runs, metric: str = "accuracy", split: str = "test", ax: Axes | None = None) -> Figure:
    """Draw a metric over simulated time, one line per run.

    Args:
        runs: the runs.
        metric: name of the metric.
        split: data that the model was evaluated on (default: the test set).
        ax: axes to draw on (default: those of a new figure).

    Raises:
        NotRecorded: a run never evaluated the metric.
    """
    evaluations = {label: run.evaluations for label, run in _by_label(runs).items()}
    histories = {label: measures.metric_history(each, metric, split) for label, each in evaluations.items()}
    last_s = max(history["time_s"].max() for history in histories.values())
    size, symbol = style.scale(last_s, "s")
    titles = f"Simulated time ({symbol})", f"{style.words(split)} {metric}"
    axes = labelled_axes(last_s / size, *titles, percent=metric == "accuracy", ax=ax)
    for (label, history), colour in zip(histories.items(), cycle(style.SERIES), strict=False):
        axes.plot(history["time_s"] / size, history["value"], color=colour, label=label)
    if len(histories) > 1:
        axes.legend(frameon=False)
    return figure_of(axes)


def round_time(runs: Runs, ax: Axes | None = None) -> Figure:
    """Draw the time of a mean round by cause on its critical path, one stacked bar per run."""
    mean_s = {
        label: run.time_by_cause()["duration_s"].reindex(list(style.CAUSES), fill_value=0.0) / len(run.rounds)
        for label, run in _by_label(runs).items()
    }
    return _stacked(mean_s, style.CAUSES, "Mean time of a round", ax)


def pass_time(runs: Runs, phase: str = "decode", ax: Axes | None = None) -> Figure:
    """Draw where the time of a mean forward pass goes, one stacked bar per run.

    Args:
        runs: the runs, each with passes of this phase.
        phase: prefill or decode.
        ax: axes to draw on (default: those of a new figure).
    """
    passes = {label: run.pass_time_by("phase") for label, run in _by_label(runs).items()}
    mean_s = {label: table[measures.PASS_PARTS].T[phase] for label, table in passes.items()}
    return _stacked(mean_s, style.PASS_PARTS, f"Mean time of a {phase} pass", ax)


def latency(runs: Runs, ax: Axes | None = None) -> Figure:
    """Draw the distribution function of the latency of served requests or, without requests, of rounds.

    Raises:
        NothingToDraw: there are neither requests nor rounds.
    """
    found = _by_label(runs)
    seconds = {label: _of_served(run) for label, run in found.items()}
    of = "requests"
    if not any(map(len, seconds.values())):
        seconds, of = {label: run.rounds["latency_s"].to_numpy() for label, run in found.items()}, "rounds"
    return _distributions(seconds, "s", f"Latency of {of}", f"Share of {of}", ax)


def goodput(runs: Runs, direction: str = "up", ax: Axes | None = None) -> Figure:
    """Draw the distribution function of the goodput of transfers, which counts their waiting.

    Args:
        runs: the runs.
        direction: up, down or backhaul.
        ax: axes to draw on (default: those of a new figure).

    Raises:
        NothingToDraw: there are no transfers in this direction.
    """
    rates = {label: _rates(run, direction) for label, run in _by_label(runs).items()}
    title = style.DIRECTIONS[direction][0]
    return _distributions(rates, "bit/s", f"{title} goodput", "Share of transfers", ax)


def staleness(runs: Runs, ax: Axes | None = None) -> Figure:
    """Draw a histogram of the staleness of the updates that the server used, by the means of its own updates.

    Raises:
        NothingToDraw: no round has ended.
    """
    means = {label: run.rounds["staleness_mean"].to_numpy() for label, run in _by_label(runs).items()}
    if not any(map(len, means.values())):
        raise NothingToDraw("there is no staleness to draw: no round has ended")
    last = max(float(each.max()) for each in means.values() if len(each))
    axes = labelled_axes(last + 0.5, "Staleness (updates of the server's model)", "Share of updates", ax=ax)
    axes.set_xlim(left=-0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    edges = np.arange(-0.5, np.rint(last) + 1)
    for (label, each), colour in zip(means.items(), cycle(style.SERIES), strict=False):
        counts, _ = np.histogram(each, edges)
        axes.stairs(counts / max(len(each), 1), edges, color=colour, label=label, fill=len(means) == 1)
    if len(means) > 1:
        axes.legend(frameon=False)
    return figure_of(axes)


def gantt(run: Run, round: int | None = None, ax: Axes | None = None) -> Figure:
    """Draw the timeline of a round: one row per user, one bar per interval of work or waiting, and the critical path.

    Hatched bars were interrupted; a thin red line below them marks the critical path.

    Args:
        run: the run.
        round: number of the round, from 0 (default: the first of the slowest ones).
        ax: axes to draw on (default: those of a new figure).

    Raises:
        NothingToDraw: the run has no such round.
    """
    rounds, numbers = run.rounds, run.rounds["round"].tolist()
    if not numbers or (round is not None and round not in numbers):
        found = f"the rounds are {min(numbers)} to {max(numbers)}" if numbers else "no round has ended"
        raise NothingToDraw(f"there is no such round to draw: {found}")
    number = numbers[int(rounds["latency_s"].to_numpy().argmax())] if round is None else round
    start_s, latency_s = rounds.loc[rounds["round"] == number, ["start_s", "latency_s"]].to_numpy()[0]
    bars, path = timeline.of_round(run, number)
    bars, notes = timeline.thinned(bars)
    rows = {row: place for place, row in enumerate(sorted(bars["row"].unique()))}
    size, symbol = style.scale(latency_s, "s")
    axes = bar_axes(len(rows), f"Time since the start of round {number} ({symbol})", ax)
    for activity, colour in timeline.ACTIVITIES.items():
        some = bars[bars["activity"] == activity]
        left, width = (some["start_s"] - start_s) / size, (some["end_s"] - some["start_s"]) / size
        patterns = np.where(some["lost"], "////", "").tolist()
        if len(some):
            axes.barh(some["row"].map(rows), width, 0.72, left, color=colour, hatch=patterns, label=activity)
    path = path[path["row"].isin(rows)]
    begun, ended = ((path[end].to_numpy() - start_s) / size for end in ("start_s", "end_s"))
    axes.hlines(
        path["row"].map(rows) + 0.42, begun, ended, color=style.VERMILLION, linewidth=1.5, label="Critical path"
    )
    axes.set_yticks(list(rows.values()), [timeline.row_name(row) for row in rows])
    axes.set_xlim(left=0)
    if notes:
        axes.set_title(" ".join(notes), fontsize="small")
    legend(axes, above=ax is None)
    return figure_of(axes)


def _by_label(runs: Runs) -> Mapping[str, Run]:
    return {runs.name: runs} if isinstance(runs, Run) else runs


def _of_served(run: Run) -> NDArray[np.float64]:
    if "requests" not in run.tables:
        return np.zeros(0)
    return run.requests.loc[run.requests["outcome"] == "served", "latency_s"].to_numpy()


def _rates(run: Run, direction: str) -> NDArray[np.float64]:
    rates = run.goodput.loc[run.goodput["direction"] == direction, "goodput_bps"]
    return rates.dropna().to_numpy()


def _stacked(
    seconds_of: Mapping[str, pd.Series[float]], names: Mapping[str, tuple[str, str]], title: str, ax: Axes | None
) -> Figure:
    """Draw one bar for each label; `names` has label and colour of each part, in the order of the parts."""
    size, symbol = style.scale(max(parts.sum() for parts in seconds_of.values()), "s")
    axes = bar_axes(len(seconds_of), f"{title} ({symbol})", ax)
    left = np.zeros(len(seconds_of))
    for part, (label, colour) in names.items():
        seconds = np.array([parts[part] / size for parts in seconds_of.values()])
        if seconds.any():
            axes.barh(list(seconds_of), seconds, left=left, height=0.62, color=colour, label=label)
        left += seconds
    legend(axes, above=ax is None)
    return figure_of(axes)


def _distributions(
    values: Mapping[str, NDArray[np.float64]], unit: str, title: str, share: str, ax: Axes | None
) -> Figure:
    """Draw an empirical distribution function for each label that has values."""
    ordered = {label: np.sort(each) for label, each in values.items() if len(each)}
    if not ordered:
        raise NothingToDraw(f"there is nothing to draw: the runs have no values of {title.lower()}")
    last = max(float(each[-1]) for each in ordered.values())
    size, symbol = style.scale(last, unit)
    axes = labelled_axes(last / size, f"{title} ({symbol})", share, percent=True, ax=ax)
    for (label, each), colour in zip(ordered.items(), cycle(style.SERIES), strict=False):
        kept = np.unique(np.linspace(0, len(each) - 1, min(len(each), POINTS)).astype(int))
        x, shares = each[kept] / size, (kept + 1) / len(each)
        axes.step([x[0], *x], [0.0, *shares], where="post", color=colour, label=label)
    axes.set_ylim(0, 1.01)
    if len(ordered) > 1:
        axes.legend(frameon=False)
    return figure_of(axes)
