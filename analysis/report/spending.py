"""Panels of the energy and the traffic of each user."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import pandas as pd
import plotly.graph_objects as go

from analysis import measures, style
from analysis.report.bars import stacked
from analysis.report.panel import Panel


def energy(rows: pd.DataFrame) -> Panel:
    """Draw the energy of each user by component, from the table `energy`."""
    picture = _by_user(measures.energy_by_user(rows), style.ENERGY, "Energy", "J")
    return Panel("Energy", "Energy of each user over the whole run, by component.", {"": picture})


def traffic(transfers: pd.DataFrame) -> Panel:
    """Draw the bits delivered from and to each user, by direction or by kind of payload."""
    if transfers.empty:
        return Panel("Traffic", "Nothing was sent.")
    caption = "Bits delivered from and to each user; a broadcast counts for each of its receivers."
    by_direction = measures.bits_by(transfers, ["user", "direction"]).unstack("direction").fillna(0.0)
    by_kind = measures.bits_by(transfers, ["user", "kind"]).unstack("kind").fillna(0.0)
    kinds = dict(zip(map(str, by_kind), cycle(style.SERIES), strict=False))
    labelled = {kind: (style.words(kind), colour) for kind, colour in kinds.items()}
    return Panel(
        "Traffic",
        caption,
        {
            "By direction": _by_user(by_direction, style.DIRECTIONS, "Bits delivered", "bit"),
            "By kind of payload": _by_user(by_kind, labelled, "Bits delivered", "bit"),
        },
    )


def _by_user(table: pd.DataFrame, names: Mapping[str, tuple[str, str]], what: str, unit: str) -> go.Figure:
    figure, symbol = stacked(table, names, unit)
    return figure.update_layout(height=340, xaxis={"title": "User"}, yaxis={"title": f"{what} ({symbol})"})
