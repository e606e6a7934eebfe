"""Panels of the time of rounds: critical paths by cause, by kind of work, and by user."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis import measures, style
from analysis.report.bars import plain, stacked
from analysis.report.panel import Panel

MAX_ROUNDS = 240
"""Maximum number of bars; in a longer run, bars are means of consecutive rounds."""
MAX_USERS = 30
"""Maximum number of users in a figure."""


def by_round(critical_path: pd.DataFrame) -> Panel:
    """Draw the time of each round by cause."""
    seconds = critical_path.groupby(["round", "cause"], observed=True)["duration_s"].sum().unstack("cause").fillna(0.0)
    shown, each = _means(seconds)
    figure, symbol = stacked(shown, style.CAUSES, "s")
    figure.update_layout(height=360, xaxis={"title": "Round"}, yaxis={"title": f"Time ({symbol})"})
    note = f"Each bar is the mean of {each} consecutive rounds." if each > 1 else ""
    return Panel("Time of each round", "Critical path of each round, by cause.", {"": figure}, note)


def _means(of_rounds: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    each = -(-len(of_rounds) // MAX_ROUNDS)
    means = of_rounds.groupby(np.arange(len(of_rounds)) // each).mean()
    return means.set_axis(of_rounds.index[::each]), each


def by_kind(critical_path: pd.DataFrame) -> Panel:
    """Draw the time of all rounds together by kind of work and cause."""
    kinds = critical_path.assign(kind=critical_path["kind"].astype(object).fillna("nothing"))
    seconds = measures.time_by(kinds, ["kind", "cause"])["duration_s"].unstack("cause").fillna(0.0)
    seconds = seconds.loc[seconds.sum(axis="columns").sort_values().index].rename(index=style.words)
    figure, symbol = stacked(seconds, style.CAUSES, "s", horizontal=True)
    figure.update_layout(height=150 + 30 * len(seconds), xaxis={"title": f"Time ({symbol})"})
    shares = measures.time_by(critical_path, ["cause"])["share"]
    causes = ", ".join(f"{style.CAUSES[str(cause)][0].lower()} {share:.1%}" for cause, share in shares.items())
    caption = f"Critical paths of all rounds together, by kind of work and by cause: {causes}."
    return Panel("Time of all rounds", caption, {"": figure})


def by_user(critical_path: pd.DataFrame) -> Panel:
    """Draw the number of rounds that each user decided, and its time on the critical paths."""
    table = measures.time_by_user(critical_path).reset_index().dropna(subset="user")
    shown = table.sort_values(["rounds_decided", "duration_s"], ascending=False).head(MAX_USERS)
    note = f"The first {MAX_USERS} of {len(table)} users are shown." if len(table) > MAX_USERS else ""
    if shown.empty:
        return Panel("Stragglers", "No user's work was on a critical path.")
    caption = (
        "A round is decided by the user with the most time on its critical path. "
        "Left, the number of rounds that each user decided; right, its time on all critical paths."
    )
    return Panel("Stragglers", caption, {"": _stragglers(shown)}, note)


def _stragglers(shown: pd.DataFrame) -> go.Figure:
    size, symbol = style.scale(shown["duration_s"].max(), "s")
    labels = [f"User {user}" for user in shown["user"]]
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.05)
    for column, (values, title) in enumerate(
        [(shown["rounds_decided"], "Rounds decided"), (shown["duration_s"] / size, f"Time ({symbol})")], start=1
    ):
        bars = go.Bar(x=values.to_numpy(), y=labels, orientation="h", marker=plain(style.VERMILLION))
        figure.add_trace(bars, row=1, col=column)
        figure.update_xaxes(title=title, row=1, col=column)
    figure.update_traces(hovertemplate="%{y}: %{x:.4g}<extra></extra>")
    figure.update_yaxes(autorange="reversed")
    return figure.update_layout(height=110 + 24 * len(shown), showlegend=False)
