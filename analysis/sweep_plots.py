"""Matplotlib figures of a sweep for papers: one curve per arm, with mean and range over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, product
from statistics import mean

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import measures, style
from analysis.axes import bar_axes, figure_of, labelled_axes, legend
from analysis.comparison.arms import Arm, arms
from analysis.comparison.outcomes import Goal, values
from analysis.plots import round_time
from analysis.run import Run
from analysis.seeds import over_seeds
from analysis.style import NothingToDraw
from analysis.sweep import Sweep

ALONG = {"time_s": ("Simulated time", "s"), "bits": ("Bits sent", "bit"), "energy_j": ("Energy of all users", "J")}
"""Title and unit of each quantity on the x axis."""
METRICS = {"psnr_db": "PSNR (dB)"}
"""Names of metrics that are not words in small letters."""
LINES = "solid", "dashed", "dotted"
"""Line styles; each is used for all colours before the next one."""
MAX_INSIDE = 5
"""Maximum number of arms for which the legend is inside the axes."""
SNR_SPLIT = r"^test_(-?\d+(?:\.\d+)?)_db$"
"""Splits of the test set behind a channel of a given SNR in dB."""


def of_sweep(sweep: Sweep, metric: str = "accuracy", split: str = "test") -> dict[str, Figure]:
    """Draw the figures of a sweep: a metric over simulated time, bits and energy, and the causes of round time.

    Where a model with experts answers requests, the figure is the time of its tokens instead.

    Returns:
        Figures by name, such as accuracy_over_time.
    """
    found, _ = arms([sweep])
    if any(len(decoded(run)) for arm in found for run in arm.runs.values()):
        return {"token_time": token_time(found)}
    pictures = {f"{metric}_over_{along.partition('_')[0]}": curves(found, metric, along, split) for along in ALONG}
    first = {arm.label: next(iter(arm.runs.values())) for arm in found}
    return {**pictures, "round_time": round_time(first)}


def decoded(run: Run) -> pd.DataFrame:
    """Return the passes of a run that decode one token; none if no model with experts answers requests."""
    if "forward_passes" not in run.tables:
        return pd.DataFrame()
    return run.forward_passes[run.forward_passes["position"] > 0]


def token_time(found: Sequence[Arm], ax: Axes | None = None) -> Figure:
    """Draw the mean time of a decoded token by part, one stacked bar per arm, with a mark at its 95th percentile.

    Both are means over seeds. Arms without such tokens are left out.

    Args:
        found: the arms.
        ax: axes to draw on (default: those of a new figure).
    """
    passes = {arm.label: [each for run in arm.runs.values() if len(each := decoded(run))] for arm in found}
    drawn = {label: seeds for label, seeds in passes.items() if seeds}
    labels = list(drawn)
    p95_s = [
        mean(float((each["end_s"] - each["start_s"]).quantile(0.95)) for each in seeds) for seeds in drawn.values()
    ]
    size, symbol = style.scale(max(p95_s), "s")
    axes = bar_axes(len(drawn), f"Time of a decoded token ({symbol})", ax)
    left = [0.0] * len(drawn)
    for part, (name, colour) in style.PASS_PARTS.items():
        widths = [mean(float(each[part].mean()) for each in seeds) / size for seeds in drawn.values()]
        axes.barh(labels, widths, left=left, height=0.62, color=colour, label=name)
        left = [sum(pair) for pair in zip(left, widths, strict=True)]
    axes.plot([each / size for each in p95_s], labels, "k|", markersize=9, label="95th percentile")
    legend(axes, above=ax is None)
    return figure_of(axes)


def curves(found: Sequence[Arm], metric: str, along: str, split: str = "test", ax: Axes | None = None) -> Figure:
    """Draw a metric over a quantity, one curve per arm: the mean over seeds, and their range as a band.

    Args:
        found: the arms.
        metric: name of the metric.
        along: the quantity on the x axis, a key of ALONG.
        split: data that the model was evaluated on.
        ax: axes to draw on (default: those of a new figure).
    """
    histories = {arm.label: [history(run, metric, split) for run in arm.runs.values()] for arm in found}
    drawn = {label: curve for label, seeds in histories.items() if len(curve := over_seeds(seeds, along))}
    largest = max((curve.index[-1] for curve in drawn.values()), default=1.0)
    title, unit = ALONG[along]
    size, symbol = style.scale(largest, unit)
    titles = f"{title} ({symbol})", f"{style.words(split)} {metric}"
    axes = labelled_axes(largest / size, *titles, percent=metric == "accuracy", ax=ax)
    _draw_bands(axes, {label: curve.set_axis(curve.index / size) for label, curve in drawn.items()})
    return figure_of(axes)


def _draw_bands(axes: Axes, curves: Mapping[str, pd.DataFrame], marker: str = "") -> None:
    """Draw the columns mean, min and max over the index, a line with a band for each label, and a legend."""
    for (label, curve), (line, colour) in zip(curves.items(), cycle(product(LINES, style.SERIES)), strict=False):
        axes.fill_between(curve.index, curve["min"], curve["max"], color=colour, alpha=0.15, linewidth=0)
        axes.plot(curve.index, curve["mean"], color=colour, linestyle=line, marker=marker, label=label)
    if len(curves) > MAX_INSIDE:
        axes.legend(frameon=False, fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.02))
    elif curves:
        axes.legend(frameon=False, fontsize="small")


def over_snr(found: Sequence[Arm], metric: str, ax: Axes | None = None) -> Figure:
    """Draw the last value of a metric over the SNR of the test channel, one line per arm, with the range over seeds.

    Args:
        found: the arms, whose models were evaluated at several ratios (the splits `test_-6_db`, `test_0_db` and so on).
        metric: name of the metric.
        ax: axes to draw on (default: those of a new figure).

    Raises:
        NothingToDraw: no model was evaluated at given ratios.
    """
    tables = {arm.label: [last_by_snr(run, metric) for run in arm.runs.values()] for arm in found}
    drawn = {
        label: pd.concat(seeds, axis=1).agg(["mean", "min", "max"], axis=1)
        for label, seeds in tables.items()
        if any(map(len, seeds))
    }
    if not drawn:
        raise NothingToDraw(f"there is no {metric} at given ratios to draw: no scheme had `test_snr_db`")
    axes = labelled_axes(1.0, "SNR of the test channel (dB)", f"Last {metric}", percent=metric == "accuracy", ax=ax)
    _draw_bands(axes, drawn, marker=".")
    axes.set_xlim(auto=True)
    axes.autoscale(axis="x")
    return figure_of(axes)


def finals(found: Sequence[Arm], metric: str, split: str = "test", ax: Axes | None = None) -> Figure:
    """Draw the last value of a metric, one dot per arm: the mean over seeds, and their range as a line.

    Of answers to requests, few of which may fall into the last period, it is the mean over all of the run.

    Args:
        found: the arms.
        metric: name of the metric.
        split: data that the model was evaluated on.
        ax: axes to draw on (default: those of a new figure).

    Raises:
        NothingToDraw: no run has such values.
    """
    last = {arm.label: [_last(run, metric, split) for run in arm.runs.values()] for arm in found}
    drawn = {label: pd.Series(seeds).dropna() for label, seeds in last.items()}
    drawn = {label: seeds for label, seeds in drawn.items() if len(seeds)}
    if not drawn:
        raise NothingToDraw(f"there is no {metric} to draw: no run has values of it for the split {split}")
    name = METRICS.get(metric, metric.replace("_", " "))
    title = f"{'Mean' if split == measures.ANSWERS else 'Last'} {name}, {split.replace('_', ' ')}"
    axes = bar_axes(len(drawn), title, ax, bar_in=0.22)
    for label, seeds in drawn.items():
        axes.plot([seeds.min(), seeds.max()], [label, label], color=style.SERIES[0], alpha=0.4, linewidth=3)
        axes.plot(seeds.mean(), label, "o", color=style.SERIES[0], markersize=4)
    axes.grid(axis="x", alpha=0.3, linewidth=0.6)
    return figure_of(axes)


def _last(run: Run, metric: str, split: str) -> float:
    if split == measures.ANSWERS:
        return measures.mean_of_answers(run.evaluations, metric)
    rows = run.evaluations[(run.evaluations["metric"] == metric) & (run.evaluations["split"] == split)]
    rows = rows[rows["user"].isna()].dropna(subset="value")
    return float(rows.sort_values("time_s")["value"].iloc[-1]) if len(rows) else float("nan")


def last_by_snr(run: Run, metric: str) -> pd.Series[float]:
    """Return the last value of a metric at each SNR of the test channel in dB, in ascending order."""
    rows = run.evaluations[run.evaluations["metric"] == metric]
    at = rows["split"].astype(str).str.extract(SNR_SPLIT, expand=False).astype(float)
    rows = rows.assign(snr_db=at).dropna(subset="snr_db")
    return rows.sort_values(["snr_db", "round"]).groupby("snr_db")["value"].last()


def pareto(found: Sequence[Arm], goal: Goal, ax: Axes | None = None) -> Figure:
    """Draw time and energy to a target, one dot per arm, and the front of the arms that no other one beats in both.

    Dots are means over seeds. Arms of which a run never reaches the target are left out.

    Args:
        found: the arms.
        goal: metric, target and split.
        ax: axes to draw on (default: those of a new figure).

    Raises:
        NothingToDraw: no arm reaches the target in all runs.
        NotRecorded: a run never evaluated the metric.
    """
    dots = {arm.label: spent for arm in found if (spent := _cost(arm, goal))}
    if not dots:
        raise NothingToDraw(f"there is nothing to draw: no setting reaches {goal} with all of its seeds")
    (x_size, x_symbol), (y_size, y_symbol) = (
        style.scale(max(spent[place] for spent in dots.values()), unit) for place, unit in enumerate(("s", "J"))
    )
    titles = f"Time to {goal} ({x_symbol})", f"Energy of all users ({y_symbol})"
    axes = labelled_axes(max(time_s for time_s, _ in dots.values()) / x_size, *titles, ax=ax)
    for (label, (time_s, energy_j)), colour in zip(dots.items(), cycle(style.SERIES), strict=False):
        axes.plot(time_s / x_size, energy_j / y_size, "o", color=colour, label=label)
    x, y = zip(*front(list(dots.values())), strict=True)
    axes.step([each / x_size for each in x], [each / y_size for each in y], "--", where="post", color=style.GREY)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")
    return figure_of(axes)


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points than which no other one is smaller in both coordinates, in the order of the first one."""
    best: list[tuple[float, float]] = []
    for point in sorted(points):
        if not best or point[1] < best[-1][1]:
            best.append(point)
    return best


def _cost(arm: Arm, goal: Goal) -> tuple[float, float] | None:
    """Mean time in s and energy in J to the target; None unless all runs reach it."""
    reached = [
        (run.time_to(goal.metric, goal.target, goal.split), run.energy_to(goal.metric, goal.target, goal.split))
        for run in arm.runs.values()
    ]
    times_s, energies_j = ([each for each in column if each is not None] for column in zip(*reached, strict=True))
    return (mean(times_s), mean(energies_j)) if len(times_s) == len(reached) else None


def history(run: Run, metric: str, split: str = "test") -> pd.DataFrame:
    """Return the evaluations of a metric with `time_s`, `value`, and the `bits` and `energy_j` of all rounds so far."""
    return measures.with_spending(values(run, Goal(metric, split=split))[["round", "time_s", "value"]], run.rounds)
