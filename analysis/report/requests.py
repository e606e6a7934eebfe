"""Panel of requests: distributions of latency, and a table of outcomes and percentiles."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis import measures, style
from analysis.report.panel import Panel

POINTS = 200
"""Maximum number of points of a distribution function."""


def panel(requests: pd.DataFrame) -> Panel:
    """Draw the distribution of latency of served requests by stream, above a table of the outcomes of all requests."""
    served = requests[requests["outcome"] == "served"]
    latencies = {str(stream): of_stream["latency_s"].to_numpy() for stream, of_stream in served.groupby("stream")}
    caption = "Distribution function of the latency of served requests, from the request to the end of the response."
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
    figure.update_yaxes(title="Share of requests", tickformat=".0%", range=[0, 1.01])
    return figure.update_layout(height=340, showlegend=True)


def _table(by_stream: pd.DataFrame) -> pd.DataFrame:
    """Counts and latencies as text."""
    names = [str(name) for name in by_stream]
    counts = {style.words(name): by_stream[name].map("{:,}".format) for name in names if not name.endswith("_s")}
    latencies = {style.words(name[:-2]): by_stream[name].map(_latency) for name in names if name.endswith("_s")}
    return pd.DataFrame({"Stream": by_stream.index, **counts, **latencies})


def _latency(seconds: float) -> str:
    return "" if np.isnan(seconds) else style.quantity(seconds, "s")
