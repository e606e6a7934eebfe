"""Panel of an asynchronous run: staleness of the updates of the server's model, and users at work."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis import measures, style
from analysis.report.bars import plain
from analysis.report.panel import Panel
from analysis.run import Run

POINTS = 2000
"""Maximum number of instants at which the users at work are drawn."""


def panel(run: Run) -> Panel:
    """Draw the staleness of updates as a histogram, and the number of users at work over simulated time."""
    staleness, versions = run.rounds["staleness_mean"], run.model_versions
    used = versions.loc[versions["event"] == "downloaded", "version"].nunique()
    caption = (
        f"Users took {used:,} versions of the server's model. An update is on average {staleness.mean():.2f} updates "
        f"of it old when it is used, and at most {staleness.max():.3g}; where several are merged at a time, these are "
        "means over them."
    )
    pictures = {"Staleness": _histogram(staleness), "Users at work": _at_work(measures.users_at_work(run.activities))}
    return Panel("Asynchronous updates", caption, pictures)


def _histogram(staleness: pd.Series[float]) -> go.Figure:
    counts = np.bincount(np.rint(staleness).astype(int))
    figure = go.Figure(go.Bar(x=np.arange(len(counts)), y=counts / counts.sum(), marker=plain(style.BLUE)))
    figure.update_traces(hovertemplate="%{x}: %{y:.1%}<extra></extra>")
    figure.update_xaxes(title="Staleness (updates)")
    figure.update_yaxes(title="Share of updates", tickformat=".0%")
    return figure.update_layout(height=340, showlegend=False)


def _at_work(users: pd.Series[int]) -> go.Figure:
    drawn = users.iloc[np.unique(np.linspace(0, len(users) - 1, min(len(users), POINTS)).astype(int))]
    size, symbol = style.scale(float(users.index[-1]), "s")
    line = {"color": style.BLUE, "width": 1.5, "shape": "hv"}
    figure = go.Figure(go.Scatter(x=drawn.index.to_numpy() / size, y=drawn.to_numpy(), mode="lines", line=line))
    figure.update_xaxes(title=f"Simulated time ({symbol})", rangemode="tozero")
    figure.update_yaxes(title="Users", rangemode="tozero")
    return figure.update_layout(height=340, showlegend=False)
