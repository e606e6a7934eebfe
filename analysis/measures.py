"""What a run's tables say: time, energy and bits to a target, who and what decided the rounds, who spent what."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np
import pandas as pd

ENERGY_COMPONENTS = ["transmit_j", "receive_j", "compute_j", "idle_j", "tail_j"]


class NotRecorded(ValueError):
    """A metric or split that a run never evaluated."""


def metric_history(evaluations: pd.DataFrame, metric: str, split: str = "test") -> pd.DataFrame:
    """The evaluations of one metric in the order of simulated time.

    Raises NotRecorded when there are none, naming the metrics that there are.
    """
    history = evaluations[(evaluations["metric"] == metric) & (evaluations["split"] == split)]
    if history.empty:
        known = sorted({f"{m} on {s}" for m, s in zip(evaluations["metric"], evaluations["split"], strict=True)})
        raise NotRecorded(f"{metric} on {split} was never evaluated; evaluated were: {', '.join(known) or 'none'}")
    return history.sort_values("time_s", kind="stable")


def falls(metric: str) -> bool:
    """Whether less is better: of losses and perplexities, and of nothing else."""
    return metric.startswith(("loss", "perplexity"))


def time_to(evaluations: pd.DataFrame, metric: str, target: float, split: str = "test") -> float | None:
    """Simulated seconds until the first evaluation at which `metric` is at least `target`, or at most where it `falls`.

    None when it never is; where nothing was computed (dry runs), the values are missing and reach no target.
    """
    history = metric_history(evaluations, metric, split)
    reached = history["value"] <= target if falls(metric) else history["value"] >= target
    times = history.loc[reached, "time_s"]
    return None if times.empty else float(times.iloc[0])


def has_values(evaluations: pd.DataFrame) -> bool:
    """Whether values were computed; in a dry run all are missing. Where some are there, a missing one is a NaN."""
    return bool(evaluations["value"].notna().any())


def diverged_from(evaluations: pd.DataFrame, split: str = "test") -> int | None:
    """Round of the first evaluation since which the loss has been infinite or NaN.

    None where the last loss is finite, and where none was computed.
    """
    losses = evaluations[(evaluations["metric"] == "loss") & (evaluations["split"] == split)]
    losses = losses.sort_values("time_s", kind="stable")
    finite = np.flatnonzero(np.isfinite(losses["value"]))
    first = finite[-1] + 1 if len(finite) else 0
    return int(losses["round"].iloc[first]) if has_values(evaluations) and first < len(losses) else None


def late(values: pd.Series[float]) -> float:
    """Mean of the last third of a run's evaluations, at least one: less a matter of luck than the last alone.

    NaN where one of them is.
    """
    return float(values.tail(ceil(len(values) / 3)).mean(skipna=False))


def spent_until(rounds: pd.DataFrame, time_s: float) -> pd.Series[float]:
    """energy_j, uplink_bits and downlink_bits of all rounds that were over at `time_s`."""
    return rounds.loc[rounds["end_s"] <= time_s, ["energy_j", "uplink_bits", "downlink_bits"]].sum()


def round_latency(rounds: pd.DataFrame) -> pd.Series[float]:
    """mean_s, median_s, p95_s and max_s of the round latency."""
    latency = rounds["latency_s"]
    return pd.Series(
        {
            "mean_s": latency.mean(),
            "median_s": latency.median(),
            "p95_s": latency.quantile(0.95),
            "max_s": latency.max(),
        }
    )


def time_by(critical_path: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Seconds on the critical paths (`duration_s`) and their `share`, by one or several columns; most first.

    A round's critical path is the chain of activities that decided when the round ended; its segments sum to the
    round's latency. Node, kind and user are missing while nothing was going on.
    """
    seconds = critical_path.groupby(columns, dropna=False)["duration_s"].sum().sort_values(ascending=False)
    return pd.DataFrame({"duration_s": seconds, "share": seconds / seconds.sum()})


def deciding_user(critical_path: pd.DataFrame) -> pd.Series[int]:
    """By round, the user with the most seconds on its critical path (of equals the smallest number).

    Rounds with no user on the path are missing.
    """
    seconds = critical_path.dropna(subset="user").groupby(["round", "user"])["duration_s"].sum().reset_index()
    seconds = seconds.sort_values(["round", "duration_s", "user"], ascending=[True, False, True])
    users: pd.Series[int] = seconds.drop_duplicates("round").set_index("round")["user"]
    return users


def time_by_user(critical_path: pd.DataFrame) -> pd.DataFrame:
    """By user: `duration_s` and `share` of the critical paths, and `rounds_decided` (see `deciding_user`).

    The missing user stands for segments that belong to none, such as an aggregation or a deadline.
    """
    table = time_by(critical_path, ["user"])
    decided = deciding_user(critical_path).value_counts()
    return table.assign(rounds_decided=decided.reindex(table.index, fill_value=0))


def utilisation(computations: pd.DataFrame, duration_s: float, slots: Mapping[str, int]) -> pd.DataFrame:
    """By processor (node_kind, node): `busy_s`, `jobs`, mean `wait_s`, and `utilisation` = busy_s / (duration_s slots).

    `slots` has the number of slots of nodes by name; every other node has one, as users' devices have.
    """
    nodes = computations.groupby(["node_kind", "node"], dropna=False)
    table = nodes.agg(busy_s=("service_s", "sum"), jobs=("service_s", "size"), wait_s=("wait_s", "mean"))
    counts = np.array([slots.get(node, 1) for node in table.index.get_level_values("node")])
    return table.assign(utilisation=table["busy_s"] / (duration_s * counts))


def requests_by(requests: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Requests by one or several columns: how many were asked and ended how, and the latency of those served.

    Columns asked, served, refused, timed_out, lost; mean_s, median_s, p95_s, p99_s, which are missing where none was
    served.
    """
    counts = requests.groupby([*columns, "outcome"]).size().unstack("outcome", fill_value=0)
    counts = counts.reindex(columns=["served", "refused", "timed_out", "lost"], fill_value=0)
    latency = requests[requests["outcome"] == "served"].groupby(columns)["latency_s"]
    percentiles = {"median_s": latency.median(), "p95_s": latency.quantile(0.95), "p99_s": latency.quantile(0.99)}
    counts.insert(0, "asked", counts.sum(axis="columns"))
    return counts.rename_axis(columns=None).assign(mean_s=latency.mean(), **percentiles)


def energy_by_user(energy: pd.DataFrame) -> pd.DataFrame:
    """Joules by user: transmit_j, receive_j, compute_j, idle_j, tail_j, total_j."""
    table = energy.groupby("user")[ENERGY_COMPONENTS].sum()
    return table.assign(total_j=table.sum(axis="columns"))


def bits_by(transfers: pd.DataFrame, columns: list[str]) -> pd.Series[float]:
    """Bits delivered, by one or several columns; a broadcast counts for each receiver."""
    delivered = transfers["bits"] - transfers["lost"]
    return delivered.groupby([transfers[column] for column in columns]).sum()


def participation(rounds: pd.DataFrame) -> pd.Series[float]:
    """Mean `participants` of a round, total `dropped`, and `dropped_share` of all participations asked for."""
    dropped, asked = rounds["dropped"].sum(), (rounds["participants"] + rounds["dropped"]).sum()
    return pd.Series(
        {"participants": rounds["participants"].mean(), "dropped": dropped, "dropped_share": dropped / max(asked, 1)}
    )
