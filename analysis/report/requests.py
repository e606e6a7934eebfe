"""How requests fared: latencies as distributions, outcomes and percentiles as a table."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis import measures, style
from analysis.report.panel import Panel

POINTS = 200
"""Points of a distribution at most."""


def panel(requests: pd.DataFrame) -> Panel:
    """The latency of served requests by stream, and how all of them ended."""
    served = requests[requests["outcome"] == "served"]
    latencies = {str(stream): of_stream["latency_s"].to_numpy() for stream, of_stream in served.groupby("stream")}
    caption = "The part of the served requests of each stream that took no longer, from asking to the whole answer."
    figures = {"": _figure(latencies)} if latencies else {}
    return Panel("Requests", caption, figures, table=_table(measures.requests_by(requests, ["stream"])))


def _figure(latencies: Mapping[str, np.ndarray]) -> go.Figure:
    size, symbol = style.scale(max(float(each.max()) for each in latencies.values()), "s")
    figure = go.Figure()
    for (stream, latency), colour in zip(latencies.items(), cycle(style.SERIES), strict=False):
        parts = np.linspace(0, 1, min(len(latency), POINTS))
        figure.add_scatter(
            x=np.quantile(latency, parts) / size, y=parts, name=stream, mode="lines", line={"color": colour, "width": 2}
        )
    figure.update_xaxes(title=f"Latency ({symbol})", rangemode="tozero")
    figure.update_yaxes(title="Part of the requests", tickformat=".0%", range=[0, 1.01])
    return figure.update_layout(height=340, showlegend=True)


def _table(fared: pd.DataFrame) -> pd.DataFrame:
    """For reading."""
    names = [str(name) for name in fared]
    counts = {style.words(name): fared[name].map("{:,}".format) for name in names if not name.endswith("_s")}
    shown = {style.words(name[:-2]): fared[name].map(_latency) for name in names if name.endswith("_s")}
    return pd.DataFrame({"Stream": fared.index, **counts, **shown})


def _latency(seconds: float) -> str:
    return "" if np.isnan(seconds) else style.quantity(seconds, "s")
