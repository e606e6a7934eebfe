"""Stacked bars, as several panels use them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from analysis import style

FEW, MANY = 20, 60
"""Bars up to which each has a tick, and from which on they touch."""


def stacked(
    table: pd.DataFrame, names: Mapping[str, tuple[str, str]], unit: str, *, horizontal: bool = False
) -> tuple[go.Figure, str]:
    """One bar for each row of `table`, one segment for each of its columns in `names` (label and colour by column).

    Returns the figure and the multiple of `unit` that it is drawn in.
    """
    shown = table[[name for name in names if name in table]]
    size, symbol = style.scale(shown.sum(axis="columns").max(), unit)
    figure = go.Figure()
    for name in map(str, shown):
        label, colour = names[name]
        along, across = shown[name].to_numpy() / size, shown.index
        x, y, orientation = (along, across, "h") if horizontal else (across, along, "v")
        figure.add_bar(name=label, x=x, y=y, orientation=orientation, marker=plain(colour))
    figure.update_traces(hovertemplate=f"%{{{'x' if horizontal else 'y'}:.3g}} {symbol}")
    if not horizontal and len(shown) <= FEW:
        figure.update_xaxes(dtick=1)  # rounds and users have no halves
    bargap = 0.2 if horizontal else _gap(len(shown))
    return figure.update_layout(barmode="stack", bargap=bargap, showlegend=True), symbol


def plain(colour: str) -> dict[str, object]:
    """A bar without an outline."""
    return {"color": colour, "line": {"width": 0}}


def _gap(bars: int) -> float:
    """Few bars stay slim, many touch: a gap between several hundred would be narrower than a pixel."""
    return max(0.15, 1 - 0.08 * bars) if bars <= MANY else 0.0
