"""The other pictures of a report: learning curves, where the rounds' time went, and who spent what."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis import measures, style
from analysis.panel import Panel

MOST_ROUNDS = 240
"""Bars side by side in a picture of rounds; longer runs show means of consecutive rounds."""
MOST_DECIDERS = 30
"""Users in the picture of who decided the rounds."""


def learning_curves(evaluations: pd.DataFrame, rounds: pd.DataFrame) -> Panel:
    """Each test metric over simulated time and over the energy spent so far; metrics are selected by name."""
    caption = (
        "On the test set, over simulated time and over the energy that all users had spent. "
        "A shaded band spans the users' own models."
    )
    valued = evaluations.dropna(subset="value")
    metrics = [metric for metric in valued["metric"].unique() if not metric.endswith(("_min", "_max"))]
    if not metrics:
        return Panel("Learning", "This run recorded no values: it was dry, or ended before its first evaluation.")
    spent = _energy_at(valued, rounds)
    return Panel("Learning", caption, {style.words(metric): _curve(spent, metric) for metric in metrics})


def _energy_at(evaluations: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    ended = rounds.sort_values("end_s")
    total = np.concatenate([[0.0], ended["energy_j"].cumsum()])
    return evaluations.assign(energy_j=total[np.searchsorted(ended["end_s"], evaluations["time_s"], side="right")])


def _curve(evaluations: pd.DataFrame, metric: str) -> go.Figure:
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.05)
    for column, (x, title, unit) in enumerate(
        [("time_s", "Simulated time", "s"), ("energy_j", "Energy spent", "J")], start=1
    ):
        size, symbol = style.scale(evaluations[x].max(), unit)
        for trace in _lines(evaluations.assign(x=evaluations[x] / size), metric):
            figure.add_trace(trace, row=1, col=column)
        figure.update_xaxes(title=f"{title} ({symbol})", rangemode="tozero", row=1, col=column)
    figure.update_yaxes(title=style.words(metric), row=1, col=1)
    if metric == "accuracy":
        figure.update_yaxes(tickformat=".0%", autorangeoptions={"clipmin": 0, "clipmax": 1.01})
    return figure.update_layout(height=360, showlegend=False)


def _lines(evaluations: pd.DataFrame, metric: str) -> list[go.Scatter]:
    history, least, greatest = (
        evaluations[evaluations["metric"] == name] for name in (metric, f"{metric}_min", f"{metric}_max")
    )
    band = go.Scatter(
        x=[*least["x"], *reversed([*greatest["x"]])],
        y=[*least["value"], *reversed([*greatest["value"]])],
        fill="toself",
        line={"width": 0},
        fillcolor="rgba(0, 114, 178, 0.2)",
        hoverinfo="skip",
    )
    line = go.Scatter(
        x=history["x"].to_numpy(),
        y=history["value"].to_numpy(),
        mode="lines+markers" if len(history) <= 60 else "lines",
        line={"color": style.BLUE, "width": 2},
        marker={"size": 5},
        customdata=history["round"].to_numpy(),
        hovertemplate="%{y:.4g} after round %{customdata}<extra></extra>",
    )
    return [band, line] if len(least) else [line]


def time_by_round(critical_path: pd.DataFrame) -> Panel:
    """Stacked bars: the seconds of each round by cause."""
    seconds = critical_path.pivot_table(index="round", columns="cause", values="duration_s", aggfunc="sum").fillna(0.0)
    shown, each = _means(seconds)
    size, symbol = style.scale(shown.sum(axis="columns").max(), "s")
    figure = go.Figure()
    for cause, (label, colour) in style.CAUSES.items():
        if cause in shown:
            figure.add_bar(name=label, x=shown.index, y=shown[cause].to_numpy() / size, marker=_plain(colour))
    figure.update_layout(barmode="stack", bargap=_gap(len(shown)), height=360)
    figure.update_layout(xaxis={"title": "Round"}, yaxis={"title": f"Time ({symbol})"})
    figure.update_traces(hovertemplate=f"%{{y:.3g}} {symbol}")
    note = f"Each bar is the mean of {each} consecutive rounds." if each > 1 else ""
    return Panel("Where each round's time went", "The critical path of each round, by cause.", {"": figure}, note)


def _means(by_round: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    each = -(-len(by_round) // MOST_ROUNDS)
    first = by_round.index[::each]
    means = by_round.groupby(np.arange(len(by_round)) // each).mean()
    return means.set_axis(first), each


def time_by_kind(critical_path: pd.DataFrame) -> Panel:
    """Stacked bars: the seconds of all rounds together by kind of work, coloured by cause."""
    seconds = measures.time_by(critical_path, ["kind", "cause"])["duration_s"].unstack("cause").fillna(0.0)
    seconds = seconds.loc[seconds.sum(axis="columns").sort_values().index]
    size, symbol = style.scale(seconds.sum(axis="columns").max(), "s")
    total = seconds.to_numpy().sum()
    figure = go.Figure()
    for cause, (label, colour) in style.CAUSES.items():
        if cause in seconds:
            share = seconds[cause].to_numpy() / total
            figure.add_bar(
                name=label,
                orientation="h",
                y=[style.words(kind) for kind in seconds.index],
                x=seconds[cause].to_numpy() / size,
                customdata=share,
                marker=_plain(colour),
            )
    figure.update_traces(hovertemplate=f"%{{x:.3g}} {symbol}, %{{customdata:.1%}} of all rounds' time")
    figure.update_layout(barmode="stack", height=150 + 30 * len(seconds), xaxis={"title": f"Time ({symbol})"})
    return Panel(
        "Where all rounds' time went", "The critical paths of all rounds together, by kind of work.", {"": figure}
    )


def deciders(critical_path: pd.DataFrame) -> Panel:
    """Bars: how many rounds each user decided, and its seconds on the critical path."""
    table = measures.time_by_user(critical_path).reset_index().dropna(subset="user")
    table = table.sort_values(["rounds_decided", "duration_s"], ascending=False)
    shown = table.head(MOST_DECIDERS)
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.05)
    labels = [f"User {user}" for user in shown["user"]]
    size, symbol = style.scale(shown["duration_s"].max(), "s")
    for column, (values, title) in enumerate(
        [
            (shown["rounds_decided"], "Rounds decided"),
            (shown["duration_s"] / size, f"Time ({symbol})"),
        ],
        start=1,
    ):
        bars = go.Bar(x=values.to_numpy(), y=labels, orientation="h", marker=_plain(style.VERMILLION))
        figure.add_trace(bars, row=1, col=column)
        figure.update_xaxes(title=title, row=1, col=column)
    figure.update_traces(hovertemplate="%{y}: %{x:.4g}<extra></extra>")
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(height=110 + 24 * len(shown), showlegend=False)
    note = f"The first {MOST_DECIDERS} of {len(table)} users are shown." if len(table) > MOST_DECIDERS else ""
    caption = (
        "A round is decided by the user with the most time on its critical path. "
        "Left, how often that was; right, the user's time on all critical paths."
    )
    return Panel("Which users the rounds waited for", caption, {"": figure}, note)


def energy_by_user(energy: pd.DataFrame) -> Panel:
    """Stacked bars: each user's joules by component."""
    table = measures.energy_by_user(energy)
    return Panel(
        "Energy",
        "What each user spent over the whole run, by component.",
        {"": _by_user(table, style.ENERGY, "Energy", "J")},
    )


def bits_by_user(transfers: pd.DataFrame) -> Panel:
    """Stacked bars: bits delivered to and from each user, by direction or by kind of payload."""
    by_direction = measures.bits_by(transfers, ["user", "direction"]).unstack("direction").fillna(0.0)
    by_kind = measures.bits_by(transfers, ["user", "kind"]).unstack("kind").fillna(0.0)
    kinds = {
        kind: (style.words(kind), colour) for kind, colour in zip(map(str, by_kind), cycle(style.SERIES), strict=False)
    }
    return Panel(
        "Traffic",
        "Bits delivered from and to each user; a broadcast counts for each of its receivers.",
        {
            "By direction": _by_user(by_direction, style.DIRECTIONS, "Bits delivered", "bit"),
            "By kind of payload": _by_user(by_kind, kinds, "Bits delivered", "bit"),
        },
    )


def _by_user(table: pd.DataFrame, names: dict[str, tuple[str, str]], what: str, unit: str) -> go.Figure:
    shown = table[[name for name in names if name in table]]
    size, symbol = style.scale(shown.sum(axis="columns").max(), unit)
    figure = go.Figure()
    for name in map(str, shown):
        label, colour = names[name]
        figure.add_bar(name=label, x=shown.index, y=shown[name].to_numpy() / size, marker=_plain(colour))
    figure.update_traces(hovertemplate=f"User %{{x}}: %{{y:.3g}} {symbol}")
    figure.update_layout(
        barmode="stack",
        bargap=_gap(len(shown)),
        height=340,
        xaxis={"title": "User"},
        yaxis={"title": f"{what} ({symbol})"},
    )
    return figure


def _gap(bars: int) -> float:
    """Few bars stay slim, many touch: a gap between several hundred would be narrower than a pixel."""
    return max(0.15, 1 - 0.08 * bars) if bars <= 60 else 0.0


def _plain(colour: str) -> dict[str, object]:
    return {"color": colour, "line": {"width": 0}}
