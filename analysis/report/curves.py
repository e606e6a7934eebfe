"""Panel of the learning curves of arms: mean and range over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from analysis import style
from analysis.comparison.arms import Arm
from analysis.report.learning import values_on_test
from analysis.report.panel import Panel
from analysis.seeds import over_seeds

LABEL_WIDTH = 42
"""Maximum number of letters in a line of the label of an arm, so that it fits on a phone."""


def panel(arms: Sequence[Arm], colours: Mapping[str, str]) -> Panel:
    """Draw each metric over simulated time, one curve per arm; the reader selects the metric."""
    values = {arm.label: [values_on_test(run) for run in arm.runs.values()] for arm in arms}
    metrics = dict.fromkeys(metric for seeds in values.values() for seed in seeds for metric in seed["metric"])
    shown = [metric for metric in metrics if not metric.endswith(("_min", "_max"))]
    if not shown:
        return Panel("Learning", "These runs have no values.")
    caption = (
        "On the test set, over simulated time: mean and range over seeds, interpolated between evaluations. A curve "
        "ends with the shortest run of its arm."
    )
    return Panel("Learning", caption, {style.words(metric): _figure(values, metric, colours) for metric in shown})


def _figure(values: Mapping[str, Sequence[pd.DataFrame]], metric: str, colours: Mapping[str, str]) -> go.Figure:
    drawn = {arm: over_seeds([seed[seed["metric"] == metric] for seed in seeds]) for arm, seeds in values.items()}
    curves = {arm: curve for arm, curve in drawn.items() if not curve.empty}
    size, symbol = style.scale(max((float(curve.index[-1]) for curve in curves.values()), default=1.0), "s")
    figure = go.Figure()
    for arm, curve in curves.items():
        for trace in _traces(arm, curve.set_axis(curve.index / size), colours[arm]):
            figure.add_trace(trace)
    figure.update_xaxes(title=f"Simulated time ({symbol})", rangemode="tozero")
    figure.update_yaxes(title=style.words(metric))
    if metric == "accuracy":
        figure.update_yaxes(tickformat=".0%", autorangeoptions={"clipmin": 0, "clipmax": 1.01})
    return figure.update_layout(height=360, showlegend=True)


def _traces(arm: str, curve: pd.DataFrame, colour: str) -> list[go.Scatter]:
    outline = pd.concat([curve["min"], curve["max"][::-1]])
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
        name=style.lines(arm, LABEL_WIDTH),
        legendgroup=arm,
        hovertemplate="%{y:.4g}",
    )
    return [band, line]
