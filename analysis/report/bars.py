"""Stacked bar charts."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from analysis import style

MAX_TICKS, MAX_APART = 20, 60
"""Maximum numbers of vertical bars for which each has a tick, and for which there are gaps between them."""


def stacked(
    table: pd.DataFrame, names: Mapping[str, tuple[str, str]], unit: str, *, horizontal: bool = False
) -> tuple[go.Figure, str]:
    """Draw a stacked bar chart.

    Args:
        table: one bar per row, one segment per column.
        names: label and colour of each column that is drawn, in the order of the segments.
        unit: unit of the values.
        horizontal: whether bars are horizontal.

    Returns:
        The figure, and the symbol of the multiple of `unit` in which values are drawn.
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
    if not horizontal and len(shown) <= MAX_TICKS:
        figure.update_xaxes(dtick=1)  # numbers of rounds and users are integers
    bargap = 0.2 if horizontal else _gap(len(shown))
    return figure.update_layout(barmode="stack", bargap=bargap, showlegend=True), symbol


def plain(colour: str) -> dict[str, object]:
    """Return the style of a bar without an outline."""
    return {"color": colour, "line": {"width": 0}}


def _gap(bars: int) -> float:
    """Gap between bars relative to their distance: large for few bars, and 0 for many, where it would be subpixel."""
    return max(0.15, 1 - 0.08 * bars) if bars <= MAX_APART else 0.0
