"""Learning curves of arms: the mean over seeds, and the range that the seeds span."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis import style
from analysis.comparison.arms import Arm
from analysis.report.learning import values_on_test
from analysis.report.panel import Panel

POINTS = 120
"""Instants at which a curve is drawn."""


def panel(arms: Sequence[Arm], colours: Mapping[str, str]) -> Panel:
    """Each metric over simulated time, one curve for each arm; metrics are selected by name."""
    values = {arm.label: [values_on_test(run) for run in arm.runs.values()] for arm in arms}
    metrics = dict.fromkeys(metric for seeds in values.values() for seed in seeds for metric in seed["metric"])
    shown = [metric for metric in metrics if not metric.endswith(("_min", "_max"))]
    if not shown:
        return Panel("Learning", "These runs recorded no values.")
    caption = (
        "On the test set, over simulated time: the mean over seeds, interpolated between evaluations, and the range "
        "that the seeds span. A curve lasts as long as all of its seeds do."
    )
    return Panel("Learning", caption, {style.words(metric): _figure(values, metric, colours) for metric in shown})


def _figure(values: Mapping[str, Sequence[pd.DataFrame]], metric: str, colours: Mapping[str, str]) -> go.Figure:
    curves = {arm: curve for arm, seeds in values.items() if not (curve := over_seeds(seeds, metric)).empty}
    size, symbol = style.scale(max((float(curve.index[-1]) for curve in curves.values()), default=1.0), "s")
    figure = go.Figure()
    for arm, curve in curves.items():
        for trace in _traces(arm, curve.set_axis(curve.index / size), colours[arm]):
            figure.add_trace(trace)
    figure.update_xaxes(title=f"Simulated time ({symbol})", rangemode="tozero")
    figure.update_yaxes(title=style.words(metric))
    if metric == "accuracy":
        figure.update_yaxes(tickformat=".0%", autorangeoptions={"clipmin": 0, "clipmax": 1.01})
    return figure.update_layout(height=360 + 12 * len(curves), showlegend=True)


def over_seeds(seeds: Sequence[pd.DataFrame], metric: str) -> pd.DataFrame:
    """`mean`, `least` and `greatest` of a metric over the evaluations of several seeds, by simulated seconds.

    From the last first evaluation to the first last one, so that every seed has a value; empty where there is no such
    span.
    """
    histories = [history for seed in seeds if len(history := seed[seed["metric"] == metric].sort_values("time_s"))]
    start_s = max((history["time_s"].iloc[0] for history in histories), default=0.0)
    end_s = min((history["time_s"].iloc[-1] for history in histories), default=-1.0)
    if end_s < start_s:
        return pd.DataFrame(columns=["mean", "least", "greatest"])
    time_s = np.linspace(start_s, end_s, POINTS)
    each = np.array([np.interp(time_s, history["time_s"], history["value"]) for history in histories])
    spanned = {"mean": each.mean(axis=0), "least": each.min(axis=0), "greatest": each.max(axis=0)}
    return pd.DataFrame(spanned, index=time_s)


def _traces(arm: str, curve: pd.DataFrame, colour: str) -> list[go.Scatter]:
    outline = pd.concat([curve["least"], curve["greatest"][::-1]])
    band = go.Scatter(
        x=outline.index,
        y=outline.to_numpy(),
        fill="toself",
        mode="none",
        fillcolor=colour,
        opacity=0.15,
        hoverinfo="skip",
        legendgroup=arm,
        showlegend=False,
    )
    line = go.Scatter(
        x=curve.index,
        y=curve["mean"].to_numpy(),
        mode="lines",
        line={"color": colour, "width": 2},
        name=arm,
        legendgroup=arm,
        hovertemplate="%{y:.4g}",
    )
    return [band, line]
