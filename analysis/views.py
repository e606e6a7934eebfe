"""Views: tables that are made of the recorded ones, for questions that these answer only together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.parquet import UNITS

ACTIVITY = ["round", "user", "node", "kind", "cause", "start_s", "end_s", "wait_s", "service_s"]
"""First columns of `activities`; then straggle_s, energy_j, direction and interrupted."""

VERSION_DIGITS = 13
"""Hexadecimal digits of a version's name, which has 52 bits."""


def activities(transfers: pd.DataFrame, computations: pd.DataFrame) -> pd.DataFrame:
    """Return transfers and computations with one set of columns, in the order of their beginning.

    Args:
        transfers: the table `transfers`.
        computations: the table `computations`.

    Returns:
        One row for each transfer and job: round; user (missing for work that serves no single user); node (a
        transfer's station, or its destination on the backhaul; a job's processor); kind (of payload or of
        computation); cause (of the time in service: airtime or compute); start_s, when it was requested; end_s;
        wait_s, time in a queue; service_s, time on the air or on the processor; straggle_s, part of service_s by which
        it exceeds that at nominal speed; energy_j (missing without an energy model of the node); direction (up, down or
        backhaul; missing for jobs); and interrupted (lost bits, or was abandoned).
    """
    slowed = computations["service_s"] - computations["service_s"] / computations["slowdown"].clip(lower=1.0)
    sent = transfers.assign(
        cause="airtime", service_s=transfers["airtime_s"], straggle_s=0.0, interrupted=transfers["lost"] > 0
    )
    done = computations.assign(cause="compute", straggle_s=slowed, direction=None)
    columns = [*ACTIVITY, "straggle_s", "energy_j", "direction", "interrupted"]
    texts = dict.fromkeys(("node", "kind", "cause", "direction"), object)  # categories of both tables differ
    frames = [each[columns].astype({"user": "Int64", "energy_j": "float64", **texts}) for each in (sent, done)]
    every = pd.concat(frames).sort_values("start_s", kind="stable", ignore_index=True)
    every = every.astype(dict.fromkeys(texts, "category"))
    seconds = dict.fromkeys(("start_s", "end_s", "wait_s", "service_s", "straggle_s"), "s")
    return with_units(every, {**seconds, "energy_j": "J"})


def goodput(transfers: pd.DataFrame) -> pd.DataFrame:
    """Return the table `transfers` with `delivered_bits` and `goodput_bps`, the rate at which they were delivered.

    The goodput counts the time from request to end, with all waiting; `mean_rate_bps` is the same over the airtime
    alone. It is missing for transfers that took no time. Bits of analogue messages and of symbol streams are symbols.

    Args:
        transfers: the table `transfers`.
    """
    delivered, duration_s = transfers["bits"] - transfers["lost"], transfers["end_s"] - transfers["start_s"]
    rate = delivered / duration_s.where(duration_s > 0)
    units = {**transfers.attrs.get(UNITS, {}), "delivered_bits": "bit", "goodput_bps": "bit/s"}
    return with_units(transfers.assign(delivered_bits=delivered, goodput_bps=rate), units)


def model_versions(decisions: pd.DataFrame) -> pd.DataFrame:
    """Return the versions of the server's model that users downloaded and used under an asynchronous policy.

    Args:
        decisions: the table `decisions`, in which the name of a version, a hash of its history, is a number.

    Returns:
        One row for each download and first use of a version in a local round: round, user, event (downloaded or used)
        and version, its name as text of VERSION_DIGITS hexadecimal digits. Empty under a synchronous policy.
    """
    prefix = "weights_"
    about = decisions[decisions["name"].isin([f"{prefix}downloaded", f"{prefix}used"])]
    names = [f"{int(value):0{VERSION_DIGITS}x}" for value in about["value"]]
    return pd.DataFrame(
        {
            "round": about["round"].to_numpy(),
            "user": about["user"].to_numpy(),
            "event": about["name"].str.removeprefix(prefix).to_numpy(),
            "version": np.array(names, dtype=object),
        }
    )


def with_units(frame: pd.DataFrame, units: dict[str, str]) -> pd.DataFrame:
    """Return a table with the unit of each column in `attrs["units"]`; columns that are not listed have none."""
    frame.attrs = {UNITS: {column: units.get(str(column), "") for column in frame}}
    return frame


VIEWS: dict[str, tuple[Callable[..., pd.DataFrame], tuple[str, ...]]] = {
    "activities": (activities, ("transfers", "computations")),
    "goodput": (goodput, ("transfers",)),
    "model_versions": (model_versions, ("decisions",)),
}
"""Name of each view -> function that makes it, and the tables that the function takes."""
