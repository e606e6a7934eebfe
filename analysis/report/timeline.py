"""Intervals of work and waiting of all users in a round, for timelines."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis import style

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


def _of_transfers(transfers: pd.DataFrame) -> pd.DataFrame:
    directions = transfers["direction"].map({name: label for name, (label, _) in style.DIRECTIONS.items()})
    jobs = pd.DataFrame(
        {
            "user": transfers["user"],
            "activity": directions.mask(transfers["kind"] == "model", "Model exchange"),
            "kind": transfers["kind"].map(style.words) + " " + transfers["direction"],
            "start_s": transfers["start_s"],
            "end_s": transfers["end_s"],
            "lost": transfers["lost"] > 0,
            "amount": [style.quantity(bits, "bit") for bits in transfers["bits"]],
        }
    )
    return _with_waiting(jobs, transfers["wait_s"], "Waiting")


def _of_computations(computations: pd.DataFrame) -> pd.DataFrame:
    on_device, kind = computations["node_kind"] == "user", computations["kind"]
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
