"""Matplotlib figures of a sweep for papers: one curve per arm, with mean and range over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, product

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.comparison.arms import Arm, arms
from analysis.comparison.outcomes import Goal, values
from analysis.plots import labelled_axes, round_time
from analysis.run import Run
from analysis.seeds import over_seeds
from analysis.sweep import Sweep

ALONG = {"time_s": ("Simulated time", "s"), "bits": ("Bits sent", "bit"), "energy_j": ("Energy of all users", "J")}
"""Title and unit of each quantity on the x axis."""
LINES = "solid", "dashed", "dotted"
"""Line styles; each is used for all colours before the next one."""
MAX_INSIDE = 5
"""Maximum number of arms for which the legend is inside the axes."""


def of_sweep(sweep: Sweep, metric: str = "accuracy") -> dict[str, Figure]:
    """Draw the figures of a sweep: a metric over simulated time, bits and energy, and the causes of round time.

    Returns:
        Figures by name, such as accuracy_over_time.
    """
    found, _ = arms([sweep])
    pictures = {f"{metric}_over_{along.partition('_')[0]}": curves(found, metric, along) for along in ALONG}
    first = {arm.label: next(iter(arm.runs.values())) for arm in found}
    return {**pictures, "round_time": round_time(first)}


def curves(found: Sequence[Arm], metric: str, along: str) -> Figure:
    """Draw a metric over a quantity, one curve per arm: the mean over seeds, and their range as a band.

    Args:
        found: the arms.
        metric: name of the metric.
        along: the quantity on the x axis, a key of ALONG.
    """
    histories = {arm.label: [history(run, metric) for run in arm.runs.values()] for arm in found}
    drawn = {label: curve for label, seeds in histories.items() if len(curve := over_seeds(seeds, along))}
    largest = max((curve.index[-1] for curve in drawn.values()), default=1.0)
    title, unit = ALONG[along]
    size, symbol = style.scale(largest, unit)
    figure, axes = labelled_axes(largest / size, f"{title} ({symbol})", f"Test {metric}", percent=metric == "accuracy")
    for (label, curve), (line, colour) in zip(drawn.items(), cycle(product(LINES, style.SERIES)), strict=False):
        axes.fill_between(curve.index / size, curve["min"], curve["max"], color=colour, alpha=0.15, linewidth=0)
        axes.plot(curve.index / size, curve["mean"], color=colour, linestyle=line, label=label)
    if len(drawn) > MAX_INSIDE:
        axes.legend(frameon=False, fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.02))
    elif drawn:
        axes.legend(frameon=False, fontsize="small")
    return figure


def history(run: Run, metric: str) -> pd.DataFrame:
    """Return the evaluations of a metric with `time_s`, `value`, and the `bits` and `energy_j` of all rounds so far."""
    evaluated = values(run, Goal(metric))[["round", "time_s", "value"]]
    return evaluated.merge(_cumulative(run.rounds), on="round", how="left")


def _cumulative(rounds: pd.DataFrame) -> pd.DataFrame:
    bits = rounds["uplink_bits"] + rounds["downlink_bits"]
    columns: Mapping[str, pd.Series[float]] = {"bits": bits.cumsum(), "energy_j": rounds["energy_j"].cumsum()}
    return pd.DataFrame({"round": rounds["round"], **columns})
