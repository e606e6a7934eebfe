"""Panel of servers and sites: jobs that wait over simulated time, and how busy each is."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis import style
from analysis.report.panel import Panel
from analysis.run import Run

POINTS = 1000
"""Maximum number of instants at which a queue is drawn."""
MAX_QUEUES = 6
"""Maximum number of queues that are drawn: those of the servers with the longest mean wait."""


def panel(run: Run) -> Panel:
    """Draw the queue of each server over simulated time, above a table of their jobs, waits and utilisation."""
    busy = run.utilisation().reset_index()
    servers = busy[busy["node_kind"] == "server"].sort_values("wait_s", ascending=False, kind="stable")
    if servers.empty:
        return Panel("Servers", "No server computed anything.")
    queues = {str(node): run.queue_length(str(node)) for node in servers["node"].head(MAX_QUEUES)}
    note = f"The {MAX_QUEUES} servers with the longest mean wait are drawn." if len(servers) > MAX_QUEUES else ""
    caption = "Jobs that wait at each server over simulated time, and the share of the time in which it is busy."
    return Panel("Servers", caption, {"": _figure(queues)}, note, _table(servers))


def _figure(queues: dict[str, pd.Series[int]]) -> go.Figure:
    size, symbol = style.scale(max(float(each.index[-1]) for each in queues.values()), "s")
    figure = go.Figure()
    for (node, queue), colour in zip(queues.items(), cycle(style.SERIES), strict=False):
        drawn = queue.iloc[np.unique(np.linspace(0, len(queue) - 1, min(len(queue), POINTS)).astype(int))]
        line = {"color": colour, "width": 1.5, "shape": "hv"}
        figure.add_scatter(x=drawn.index.to_numpy() / size, y=drawn.to_numpy(), name=node, mode="lines", line=line)
    figure.update_xaxes(title=f"Simulated time ({symbol})", rangemode="tozero")
    figure.update_yaxes(title="Jobs that wait", rangemode="tozero")
    return figure.update_layout(height=320, showlegend=True)


def _table(servers: pd.DataFrame) -> pd.DataFrame:
    """Numbers as text."""
    return pd.DataFrame(
        {
            "Server": servers["node"].astype(str),
            "Jobs": servers["jobs"].map("{:,}".format),
            "Mean wait": [style.quantity(each, "s") for each in servers["wait_s"]],
            "Busy": [style.quantity(each, "s") for each in servers["busy_s"]],
            "Utilisation": servers["utilisation"].map("{:.1%}".format),
        }
    )
