"""Who did what when: every stretch of work and waiting in a round, as rows of a table."""

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
"""Activities in the legend's order, and their colours. "Waiting" is for the medium or for the own processor."""


def intervals(transfers: pd.DataFrame, computations: pd.DataFrame) -> pd.DataFrame:
    """Every stretch of work or waiting: user, activity, kind, start_s, end_s, lost, amount.

    A job that waited gives two stretches, the waiting first. The user is missing where the server worked for itself,
    `lost` marks what was interrupted or not delivered, `amount` tells bits or FLOPs for reading.
    """
    stretches = pd.concat([_of_transfers(transfers), _of_computations(computations)], ignore_index=True)
    return stretches[stretches["end_s"] > stretches["start_s"]].sort_values("start_s", ignore_index=True)


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
    return _waiting_apart(jobs, transfers["wait_s"], "Waiting")


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
    return _waiting_apart(jobs, computations["wait_s"], np.where(on_device, "Waiting", "Server queue"))


def _waiting_apart(jobs: pd.DataFrame, wait_s: pd.Series[float], waiting: str | np.ndarray) -> pd.DataFrame:
    served_from = jobs["start_s"] + wait_s
    return pd.concat(
        [jobs.assign(activity=waiting, end_s=served_from, lost=False, amount=""), jobs.assign(start_s=served_from)]
    )
