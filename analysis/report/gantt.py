"""Panel of round timelines: one row per user, one bar per interval of work or waiting, and the critical path."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis import style
from analysis.report.panel import Panel
from analysis.run import Run
from analysis.timeline import ACTIVITIES, of_round, row_name, thinned

MAX_ROUNDS = 6
"""Maximum number of rounds that the reader can select."""


def panel(run: Run) -> Panel:
    """Draw the timelines of `representative` rounds; the reader selects one."""
    chosen = representative(run.rounds)
    pictures = {label: _round_picture(run, number) for label, number in chosen.items()}
    notes = [f"{len(chosen)} of {len(run.rounds)} rounds can be selected."] if len(chosen) < len(run.rounds) else []
    notes += [note for _, left_out in pictures.values() for note in left_out]
    return Panel(
        "Round timeline",
        "Activities of each user, and of the server on its behalf. The thin red line marks the critical path, the "
        "chain of activities that determined when the round ended. Hatched bars were interrupted.",
        {label: figure for label, (figure, _) in pictures.items()},
        " ".join(dict.fromkeys(notes)),
    )


def representative(rounds: pd.DataFrame) -> dict[str, int]:
    """Choose at most MAX_ROUNDS rounds: all of a short run, else the first, the last and some by latency.

    Args:
        rounds: the table `rounds`.

    Returns:
        Numbers of rounds by label; in a long run, the slowest comes first.
    """
    ranked = rounds.sort_values(["latency_s", "round"], ascending=[False, True])["round"].tolist()
    if len(ranked) <= MAX_ROUNDS:
        return {f"Round {number}": number for number in sorted(ranked)}
    labels: dict[int, str] = {}
    labels.setdefault(ranked[0], "slowest")
    labels.setdefault(ranked[round(0.05 * (len(ranked) - 1))], "95th percentile of latency")
    labels.setdefault(ranked[len(ranked) // 2], "median latency")
    labels.setdefault(ranked[-1], "fastest")
    labels.setdefault(rounds["round"].min(), "first")
    labels.setdefault(rounds["round"].max(), "last")
    return {f"Round {number} ({label})": number for number, label in labels.items()}


def _round_picture(run: Run, number: int) -> tuple[go.Figure, list[str]]:
    start_s, latency_s = run.rounds.loc[run.rounds["round"] == number, ["start_s", "latency_s"]].to_numpy()[0]
    bars, path = of_round(run, number)
    bars, left_out = thinned(bars)
    return _draw(bars, path, start_s, latency_s), left_out


def _draw(bars: pd.DataFrame, path: pd.DataFrame, start_s: float, latency_s: float) -> go.Figure:
    rows = sorted(bars["row"].unique())
    place = {row: place for place, row in enumerate(rows)}
    size, symbol = style.scale(latency_s, "s")
    figure = go.Figure()
    for activity, colour in ACTIVITIES.items():
        some = bars[bars["activity"] == activity]
        if len(some):
            figure.add_trace(_trace(some, activity, colour, place, start_s, size, symbol))
    figure.add_trace(_critical(path[path["row"].isin(rows)], place, start_s, size))
    figure.add_vline(x=latency_s / size, line={"color": style.VERMILLION, "width": 1, "dash": "dot"})
    figure.update_layout(
        barmode="overlay",
        height=150 + 24 * len(rows),
        xaxis={"title": f"Time in the round ({symbol})", "rangemode": "tozero"},
        yaxis={
            "tickvals": list(place.values()),
            "ticktext": [row_name(row) for row in rows],
            "range": [len(rows) - 0.4, -0.6],
            "showgrid": False,
        },
    )
    return figure


def _trace(
    bars: pd.DataFrame, activity: str, colour: str, place: dict[int, int], start_s: float, size: float, symbol: str
) -> go.Bar:
    duration = (bars["end_s"] - bars["start_s"]) / size
    return go.Bar(
        name=activity,
        orientation="h",
        y=bars["row"].map(place).to_numpy(),
        base=((bars["start_s"] - start_s) / size).to_numpy(),
        x=duration.to_numpy(),
        width=0.72,
        marker={
            "color": colour,
            "line": {"width": 0},
            "pattern": {"shape": np.where(bars["lost"], "/", "").tolist(), "solidity": 0.4},
        },
        customdata=np.stack([bars["kind"], bars["amount"], (bars["end_s"] - start_s) / size], axis=-1),
        hovertemplate=f"%{{customdata[0]}} %{{customdata[1]}}<br>%{{base:.4g}} to %{{customdata[2]:.4g}} {symbol}",
    )


def _critical(path: pd.DataFrame, place: dict[int, int], start_s: float, size: float) -> go.Bar:
    return go.Bar(
        name="Critical path",
        orientation="h",
        y=path["row"].map(place).to_numpy() + 0.4,
        base=((path["start_s"] - start_s) / size).to_numpy(),
        x=(path["duration_s"] / size).to_numpy(),
        width=0.1,
        marker={"color": style.VERMILLION, "line": {"width": 0}},
        customdata=[
            f"{'Nothing' if pd.isna(kind) else style.words(kind)}, {cause}"
            for kind, cause in zip(path["kind"], path["cause"], strict=True)
        ],
        hovertemplate="%{customdata}",
    )
