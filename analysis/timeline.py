"""Intervals of work and waiting of all users in a round, for timelines."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis import style
from analysis.run import Run

ACTIVITIES = {
    "Device forward": style.SKY,
    "Device backward": style.BLUE,
    "Device training": style.STEEL,
    "Other device work": style.YELLOW,
    "Uplink": style.ORANGE,
    "Downlink": style.PURPLE,
    "Model exchange": style.BROWN,
    "Server compute": style.GREEN,
    "Server queue": style.DARK_GREY,
    "Waiting": style.GREY,
}
"""Colour of each activity, in the order of the legend. "Waiting" is for the medium or for the own processor."""

MAX_USERS = 40
"""Maximum number of rows of a timeline."""
MAX_BARS = 3000
"""Maximum number of bars of a timeline."""

SERVER = -1
"""Row of the server's work that belongs to no user."""


def of_round(run: Run, number: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the `intervals` of a round and the rows of its critical path, both with the column `row` of a timeline.

    Args:
        run: the run.
        number: number of the round, from 0.
    """
    this_round = [("round", "==", number)]
    bars = intervals(run.table("transfers", where=this_round), run.table("computations", where=this_round))
    return _with_row(bars), _with_row(run.table("critical_path", where=this_round))


def row_name(row: int) -> str:
    """Return the name of a row."""
    return "Server" if row == SERVER else f"User {row}"


def intervals(transfers: pd.DataFrame, computations: pd.DataFrame) -> pd.DataFrame:
    """Return all intervals of work or waiting, in the order of their beginning.

    A transfer or job that waited gives two intervals, waiting and work.

    Args:
        transfers: rows of the table `transfers`.
        computations: rows of the table `computations`.

    Returns:
        One row per interval: user (missing for work of the server that belongs to no user), activity (one of
        ACTIVITIES), kind, start_s, end_s, lost (interrupted or not delivered) and amount (bits or FLOPs, as text).
    """
    every = pd.concat([_of_transfers(transfers), _of_computations(computations)], ignore_index=True)
    return every[every["end_s"] > every["start_s"]].sort_values("start_s", ignore_index=True)


def thinned(bars: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Limit a timeline to the MAX_USERS rows that ended last and the MAX_BARS longest bars.

    Args:
        bars: intervals with the columns row, start_s and end_s.

    Returns:
        The intervals that are kept, and a sentence for each limit that was exceeded.
    """
    notes = []
    latest = bars.groupby("row")["end_s"].max().sort_values(ascending=False, kind="stable")
    if len(latest) > MAX_USERS:
        notes.append(f"Only the {MAX_USERS} users that finished last are drawn.")
        bars = bars[bars["row"].isin(latest.index[:MAX_USERS])]
    if len(bars) > MAX_BARS:
        notes.append(f"Only the {MAX_BARS} longest intervals of a round are drawn.")
        bars = bars.loc[(bars["end_s"] - bars["start_s"]).nlargest(MAX_BARS).index].sort_index()
    return bars, notes


def _with_row(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(row=frame["user"].astype("Int64").fillna(SERVER).astype("int64"))


def _of_transfers(transfers: pd.DataFrame) -> pd.DataFrame:
    directions = (
        transfers["direction"].astype(object).map({name: label for name, (label, _) in style.DIRECTIONS.items()})
    )
    jobs = pd.DataFrame(
        {
            "user": transfers["user"],
            "activity": directions.mask(transfers["kind"] == "model", "Model exchange"),
            "kind": transfers["kind"].astype(object).map(style.words) + " " + transfers["direction"].astype(object),
            "start_s": transfers["start_s"],
            "end_s": transfers["end_s"],
            "lost": transfers["lost"] > 0,
            "amount": [style.quantity(bits, "bit") for bits in transfers["bits"]],
        }
    )
    return _with_waiting(jobs, transfers["wait_s"], "Waiting")


def _of_computations(computations: pd.DataFrame) -> pd.DataFrame:
    on_device, kind = computations["node_kind"] == "user", computations["kind"].astype(object)
    jobs = pd.DataFrame(
        {
            "user": computations["user"],
            "activity": np.select(
                [~on_device, *(kind.str.contains(word) for word in ("forward", "backward", "training"))],
                ["Server compute", "Device forward", "Device backward", "Device training"],
                "Other device work",
            ),
            "kind": kind.map(style.words),
            "start_s": computations["start_s"],
            "end_s": computations["end_s"],
            "lost": computations["interrupted"],
            "amount": [style.quantity(flops, "FLOP") for flops in computations["flops"]],
        }
    )
    return _with_waiting(jobs, computations["wait_s"], np.where(on_device, "Waiting", "Server queue"))


def _with_waiting(jobs: pd.DataFrame, wait_s: pd.Series[float], waiting: str | np.ndarray) -> pd.DataFrame:
    served_from = jobs["start_s"] + wait_s
    return pd.concat(
        [jobs.assign(activity=waiting, end_s=served_from, lost=False, amount=""), jobs.assign(start_s=served_from)]
    )
