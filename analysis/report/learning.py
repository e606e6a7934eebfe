"""Panel of learning curves on the test set, over simulated time and over energy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis import measures, style
from analysis.report.panel import Panel
from analysis.run import Run

MAX_MARKERS = 60
"""Maximum number of evaluations for which each has a marker."""


OWN = "own"
"""Split of the users' own parts of the test set."""


def values_on_test(run: Run, split: str = "test") -> pd.DataFrame:
    """Return the evaluations on the test set, or another split, with finite values; a dry run has none."""
    if "evaluations" not in run.tables:
        return pd.DataFrame(columns=["metric", "value"])
    evaluations = measures.of_all_users(run.evaluations)
    finite: pd.DataFrame = evaluations[(evaluations["split"] == split) & np.isfinite(evaluations["value"])]
    return finite


def panel(run: Run) -> Panel:
    """Draw each metric over simulated time and over the energy of all users; the reader selects the metric."""
    values = values_on_test(run)
    if values.empty:
        return Panel("Learning", "This run has no values: it was dry, or ended before its first evaluation.")
    caption = "On the test set, over simulated time and over the energy of all users."
    if values["metric"].str.endswith("_min").any():
        caption += " The shaded band is the range over the users' own models."
    if (since := run.diverged_from()) is not None:
        caption += f" The training diverged: the loss is not finite from round {since} on, and has no points there."
    curves = _curves(run, values)
    if len(own := values_on_test(run, OWN)):
        caption += f" {spread_over_users(own)}"
        curves |= {f"{metric} on users' own samples": curve for metric, curve in _curves(run, own).items()}
    return Panel("Learning", caption, curves)


def beside_requests(run: Run) -> list[Panel]:
    """Return the panels of a run whose rounds are reporting periods: of answers to requests, and of training.

    Each is left out where the run has no values of it.
    """
    answers = values_on_test(run, measures.ANSWERS)
    caption = "How good the answers to requests are in each reporting period, over time and the energy of all users."
    return [
        *([Panel("Answers", caption, _curves(run, answers))] if len(answers) else []),
        *([panel(run)] if len(values_on_test(run)) else []),
    ]


def spread_over_users(own: pd.DataFrame) -> str:
    """The spread of the latest accuracy over users in words; of the first metric where numbers are predicted."""
    last = own[own["round"] == own["round"].max()].set_index("metric")["value"]
    name = "accuracy" if "accuracy" in last else str(last.index[0])
    mean, low, high = (last.get(each, last[name]) for each in (name, f"{name}_min", f"{name}_max"))
    if name == "accuracy":
        return f"On their own parts of it, users end with {mean:.1%} on average, from {low:.1%} to {high:.1%}."
    return f"On their own parts of it, users end with a {name} of {mean:.3g} on average, from {low:.3g} to {high:.3g}."


def _curves(run: Run, values: pd.DataFrame) -> dict[str, go.Figure]:
    """A figure of each metric, over simulated time and over the energy of all users."""
    spent = measures.with_spending(values, run.rounds)
    metrics = [metric for metric in values["metric"].unique() if not metric.endswith(("_min", "_max"))]
    return {style.words(metric): _curve(spent, metric) for metric in metrics}


def _curve(evaluations: pd.DataFrame, metric: str) -> go.Figure:
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.05)
    for column, (x, title, unit) in enumerate([("time_s", "Time", "s"), ("energy_j", "Energy", "J")], start=1):
        size, symbol = style.scale(evaluations[x].max(), unit)
        for trace in _traces(evaluations.assign(x=evaluations[x] / size), metric):
            figure.add_trace(trace, row=1, col=column)
        figure.update_xaxes(title=f"{title} ({symbol})", rangemode="tozero", row=1, col=column)
    figure.update_yaxes(title=style.words(metric), row=1, col=1)
    if metric == "accuracy":
        figure.update_yaxes(tickformat=".0%", autorangeoptions={"clipmin": 0, "clipmax": 1.01})
    return figure.update_layout(height=360, showlegend=False)


def _traces(evaluations: pd.DataFrame, metric: str) -> list[go.Scatter]:
    history, low, high = (
        evaluations[evaluations["metric"] == name] for name in (metric, f"{metric}_min", f"{metric}_max")
    )
    return [*([_band(low, high)] if len(low) else []), _line(history)]


def _line(history: pd.DataFrame) -> go.Scatter:
    return go.Scatter(
        x=history["x"].to_numpy(),
        y=history["value"].to_numpy(),
        mode="lines+markers" if len(history) <= MAX_MARKERS else "lines",
        line={"color": style.BLUE, "width": 2},
        marker={"size": 5},
        customdata=history["round"].to_numpy(),
        hovertemplate="%{y:.4g} after round %{customdata}<extra></extra>",
    )


def _band(low: pd.DataFrame, high: pd.DataFrame) -> go.Scatter:
    outline = pd.concat([low, high[::-1]])
    return go.Scatter(
        x=outline["x"].to_numpy(),
        y=outline["value"].to_numpy(),
        fill="toself",
        mode="none",
        fillcolor="rgba(0, 114, 178, 0.2)",
        hoverinfo="skip",
    )
