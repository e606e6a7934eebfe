"""Figures of a sweep for papers: its arms side by side, as a mean over seeds and the range that they span."""

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
"""What a metric is drawn over: title and unit."""
LINES = "solid", "dashed", "dotted"
"""The next one where there are more arms than colours."""
FEW = 5
"""Arms whose names find room among their curves; more are named beside them."""


def of_sweep(sweep: Sweep, metric: str = "accuracy") -> dict[str, Figure]:
    """By name: the metric over simulated time, bits and energy; and where the time of a mean round went."""
    found, _ = arms([sweep])
    pictures = {f"{metric}_over_{along.partition('_')[0]}": curves(found, metric, along) for along in ALONG}
    first = {arm.label: next(iter(arm.runs.values())) for arm in found}
    return {**pictures, "round_time": round_time(first)}


def curves(found: Sequence[Arm], metric: str, along: str) -> Figure:
    """One curve for each arm, over one of ALONG."""
    histories = {arm.label: [history(run, metric) for run in arm.runs.values()] for arm in found}
    drawn = {label: curve for label, seeds in histories.items() if len(curve := over_seeds(seeds, along))}
    largest = max((curve.index[-1] for curve in drawn.values()), default=1.0)
    title, unit = ALONG[along]
    size, symbol = style.scale(largest, unit)
    figure, axes = labelled_axes(largest / size, f"{title} ({symbol})", f"Test {metric}", percent=metric == "accuracy")
    for (label, curve), (line, colour) in zip(drawn.items(), cycle(product(LINES, style.SERIES)), strict=False):
        axes.fill_between(curve.index / size, curve["least"], curve["greatest"], color=colour, alpha=0.15, linewidth=0)
        axes.plot(curve.index / size, curve["mean"], color=colour, linestyle=line, label=label)
    if len(drawn) > FEW:
        axes.legend(frameon=False, fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.02))
    elif drawn:
        axes.legend(frameon=False, fontsize="small")
    return figure


def history(run: Run, metric: str) -> pd.DataFrame:
    """The evaluations of a metric: `value`, and by then `time_s`, `bits` and `energy_j`."""
    evaluated = values(run, Goal(metric))[["round", "time_s", "value"]]
    spent = _spent(run.rounds)
    return evaluated.merge(spent, on="round", how="left")


def _spent(rounds: pd.DataFrame) -> pd.DataFrame:
    bits = rounds["uplink_bits"] + rounds["downlink_bits"]
    columns: Mapping[str, pd.Series[float]] = {"bits": bits.cumsum(), "energy_j": rounds["energy_j"].cumsum()}
    return pd.DataFrame({"round": rounds["round"], **columns})
