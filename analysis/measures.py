"""Measures of a run from its tables: costs to a target, latency, critical paths, utilisation, energy and traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pandas.api.typing import DataFrameGroupBy

ENERGY_COMPONENTS = ["transmit_j", "receive_j", "compute_j", "idle_j", "tail_j"]
"""Columns of the table `energy` that sum to a user's energy."""


PASS_PARTS = ["trunk_s", "uplink_s", "queue_s", "expert_s", "downlink_s", "straggle_s"]
"""Columns of the table `forward_passes` that sum to the duration of a pass."""


ANSWERS = "answers"
"""Split of the evaluations of answers to requests."""

OUTCOMES = ["served", "refused", "timed_out", "lost"]
"""Outcomes of requests."""


class NotRecorded(ValueError):
    """A run never evaluated the metric on the split, has no node of the name, or a table has no such column."""


def mean_of_answers(evaluations: pd.DataFrame, metric: str) -> float:
    """Return the mean of a metric over all answers to requests of a run; NaN if none was evaluated."""
    answers = evaluations[(evaluations["split"] == ANSWERS) & (evaluations["metric"] == metric)]
    return float(np.average(answers["value"], weights=answers["samples"])) if len(answers) else np.nan


def of_all_users(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the table `evaluations` that are not about one user; all in tables without such a column."""
    return evaluations[evaluations["user"].isna()] if "user" in evaluations else evaluations


def metric_history(
    evaluations: pd.DataFrame, metric: str, split: str = "test", user: int | None = None
) -> pd.DataFrame:
    """Return the evaluations of one metric in order of simulated time.

    Args:
        evaluations: the table `evaluations`.
        metric: name of the metric, such as accuracy or loss.
        split: data that the model was evaluated on (default: the test set).
        user: number of the user whose evaluations they are (default: those of all users together).

    Raises:
        NotRecorded: the run has none; the message lists the metrics that it has.
    """
    evaluations = of_all_users(evaluations) if user is None else evaluations[evaluations["user"] == user]
    history = evaluations[(evaluations["metric"] == metric) & (evaluations["split"] == split)]
    if history.empty:
        known = sorted({f"{m} on {s}" for m, s in zip(evaluations["metric"], evaluations["split"], strict=True)})
        raise NotRecorded(f"{metric} on {split} was never evaluated; evaluated were: {', '.join(known) or 'none'}")
    return history.sort_values("time_s", kind="stable")


FALLING = (
    *("loss", "perplexity", "mae", "mse", "calibration_error"),
    *("missing", "empty", "symbols", "bandwidth_ratio", "iterations"),
)
"""Metrics that improve by decreasing: losses, errors, what is lost, and what a receiver spends on an image."""


def lower_is_better(metric: str) -> bool:
    """Return whether a metric improves by decreasing, as those of `FALLING` do, and others whose names begin so."""
    return metric.startswith(FALLING)


def time_to(
    evaluations: pd.DataFrame, metric: str, target: float, split: str = "test", user: int | None = None
) -> float | None:
    """Return the simulated time, s, of the first evaluation at which a metric reaches a target.

    Args:
        evaluations: the table `evaluations`.
        metric: name of the metric.
        target: value to reach from below, or from above if `lower_is_better`.
        split: data that the model was evaluated on (default: the test set).
        user: number of the user whose evaluations they are (default: those of all users together).

    Returns:
        The time; None if the target is never reached, as in a dry run, which has no values.

    Raises:
        NotRecorded: the run never evaluated the metric.
    """
    history = metric_history(evaluations, metric, split, user)
    reached = history["value"] <= target if lower_is_better(metric) else history["value"] >= target
    times = history.loc[reached, "time_s"]
    return None if times.empty else float(times.iloc[0])


def with_spending(evaluations: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    """Add to evaluations what all rounds that ended by then have taken: `energy_j`, J, and `bits`, sent up and down.

    Args:
        evaluations: rows of the table `evaluations`.
        rounds: the table `rounds`.
    """
    ended = rounds.sort_values("end_s", kind="stable")
    before = np.searchsorted(ended["end_s"], evaluations["time_s"], side="right")
    spent = {"energy_j": ended["energy_j"], "bits": ended["uplink_bits"] + ended["downlink_bits"]}
    return evaluations.assign(**{name: np.concatenate([[0.0], each.cumsum()])[before] for name, each in spent.items()})


def value_at(
    evaluations: pd.DataFrame, rounds: pd.DataFrame, metric: str, budget: Mapping[str, float], split: str = "test"
) -> float | None:
    """Return the latest value of a metric within a budget.

    Args:
        evaluations: the table `evaluations`.
        rounds: the table `rounds`.
        metric: name of the metric.
        budget: upper limits of `time_s`, `energy_j` and `bits` (see `with_spending`), as many as are wanted.
        split: data that the model was evaluated on (default: the test set).

    Returns:
        The value; None if the budget was exceeded before the first evaluation, or in a dry run.

    Raises:
        NotRecorded: the run never evaluated the metric.
    """
    history = with_spending(metric_history(evaluations, metric, split), rounds)
    for quantity, limit in budget.items():
        history = history[history[quantity] <= limit]
    return None if history.empty or pd.isna(history["value"].iloc[-1]) else float(history["value"].iloc[-1])


def queue_length(activities: pd.DataFrame, node: str) -> pd.Series[int]:
    """Return the number of jobs and transfers that wait at a node, from each instant at which it changes.

    Args:
        activities: the view `activities`.
        node: name of the node: such as server, station0, user3, or the name of a site.

    Returns:
        The numbers by `time_s`, from 0 at time 0; a request that is served at once does not count.

    Raises:
        NotRecorded: the run has no activity at such a node; the message lists the nodes that it has.
    """
    own = activities[activities["node"] == node]
    if own.empty:
        nodes = ", ".join(sorted(map(str, activities["node"].unique()))) or "none"
        raise NotRecorded(f"there is no activity at a node {node!r}; the nodes are: {nodes}")
    waiting = own[own["wait_s"] > 0]
    return _counted(waiting["start_s"], waiting["start_s"] + waiting["wait_s"], "waiting")


def users_at_work(activities: pd.DataFrame) -> pd.Series[int]:
    """Return the number of users with at least one activity, under way or waiting, from each change to the next.

    Args:
        activities: the view `activities`.

    Returns:
        The numbers by `time_s`, from 0 at time 0. Under an asynchronous policy this is the concurrency, but for the
        instants between two activities of a local round.
    """
    own = activities.dropna(subset="user").sort_values(["user", "start_s"], kind="stable")
    ends = own.groupby("user")["end_s"].cummax()
    covered = own["start_s"] <= ends.groupby(own["user"]).shift()
    spell = (~covered).cumsum()
    begun, over = own["start_s"].groupby(spell).min(), own["end_s"].groupby(spell).max()
    return _counted(begun, over, "users")


def _counted(begun: pd.Series[float], over: pd.Series[float], name: str) -> pd.Series[int]:
    """Number of intervals that cover each instant, by `time_s`, from 0 at time 0 and from each change to the next."""
    times_s = np.concatenate([[0.0], begun, over])
    changes = np.concatenate([[0], np.ones(len(begun), dtype=np.int64), -np.ones(len(over), dtype=np.int64)])
    at_once = pd.Series(changes, index=pd.Index(times_s, name="time_s"), name=name).groupby(level=0).sum()
    return at_once.cumsum()


def has_values(evaluations: pd.DataFrame) -> bool:
    """Return whether the run computed values. In a dry run all are missing; otherwise a missing value is a NaN."""
    return bool(evaluations["value"].notna().any())


def diverged_from(evaluations: pd.DataFrame, split: str = "test") -> int | None:
    """Return the round of the first evaluation from which on the loss is infinite or NaN.

    Args:
        evaluations: the table `evaluations`.
        split: data that the model was evaluated on (default: the test set).

    Returns:
        The round; None if the last loss is finite, or if no values were computed.
    """
    evaluations = of_all_users(evaluations)
    losses = evaluations[(evaluations["metric"] == "loss") & (evaluations["split"] == split)]
    losses = losses.sort_values("time_s", kind="stable")
    finite = np.flatnonzero(np.isfinite(losses["value"]))
    first = finite[-1] + 1 if len(finite) else 0
    return int(losses["round"].iloc[first]) if has_values(evaluations) and first < len(losses) else None


def late_mean(values: pd.Series[float]) -> float:
    """Return the mean over the last third of a run's evaluations (at least one), which varies less than the last value.

    NaN if one of them is NaN.
    """
    return float(values.tail(ceil(len(values) / 3)).mean(skipna=False))


def totals_until(rounds: pd.DataFrame, time_s: float) -> pd.Series[float]:
    """Return the sums of energy_j, uplink_bits and downlink_bits over all rounds that ended by `time_s`."""
    return rounds.loc[rounds["end_s"] <= time_s, ["energy_j", "uplink_bits", "downlink_bits"]].sum()


def round_latency(rounds: pd.DataFrame) -> pd.Series[float]:
    """Return mean_s, median_s, p95_s (95th percentile) and max_s of the round latency, from the table `rounds`."""
    latency = rounds["latency_s"]
    return pd.Series(
        {
            "mean_s": latency.mean(),
            "median_s": latency.median(),
            "p95_s": latency.quantile(0.95),
            "max_s": latency.max(),
        }
    )


def grouped(table: pd.DataFrame, columns: Sequence[str]) -> DataFrameGroupBy[Any, Any]:
    """Group rows by columns; rows in which one is missing are a group too, and values that never occur are none.

    Raises:
        NotRecorded: the table has no such column; the message lists its columns.
    """
    for column in columns:
        if column not in table:
            raise NotRecorded(
                f"there is no column {column!r} to group by; the columns are: {', '.join(map(str, table))}"
            )
    return table.groupby(list(dict.fromkeys(columns)), dropna=False, observed=True)


def time_by(critical_path: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return time on the critical paths (`duration_s`) and its `share`, grouped by columns, largest first.

    A round's critical path is the chain of activities that determined when the round ended; the durations of its
    segments sum to the round's latency. Node, kind and user are missing for segments without activity.

    Args:
        critical_path: the table `critical_path`.
        columns: names of the columns to group by, such as cause or kind.
    """
    seconds = grouped(critical_path, columns)["duration_s"].sum().sort_values(ascending=False)
    return pd.DataFrame({"duration_s": seconds, "share": seconds / seconds.sum()})


def deciding_user(critical_path: pd.DataFrame) -> pd.Series[int]:
    """Return the user with the most time on each round's critical path, by round; of equals the smallest number.

    Rounds without a user on the path are missing.
    """
    seconds = critical_path.dropna(subset="user").groupby(["round", "user"])["duration_s"].sum().reset_index()
    seconds = seconds.sort_values(["round", "duration_s", "user"], ascending=[True, False, True])
    users: pd.Series[int] = seconds.drop_duplicates("round").set_index("round")["user"]
    return users


def time_by_user(critical_path: pd.DataFrame) -> pd.DataFrame:
    """Return `duration_s` and `share` of the critical paths and `rounds_decided` (see `deciding_user`), by user.

    Segments that belong to no user, such as an aggregation or a deadline, are in a row whose user is missing.
    """
    table = time_by(critical_path, ["user"])
    decided = deciding_user(critical_path).value_counts()
    return table.assign(rounds_decided=decided.reindex(table.index, fill_value=0))


def utilisation(computations: pd.DataFrame, duration_s: float, slots: Mapping[str, int]) -> pd.DataFrame:
    """Return `busy_s`, `jobs`, mean `wait_s` and `utilisation` of each processor, by node_kind and node.

    The utilisation is busy_s / (duration_s * slots).

    Args:
        computations: the table `computations`.
        duration_s: simulated time of the run.
        slots: number of jobs that a node can run at a time, by name (default for nodes not listed: 1).
    """
    nodes = computations.groupby(["node_kind", "node"], dropna=False, observed=True)
    table = nodes.agg(busy_s=("service_s", "sum"), jobs=("service_s", "size"), wait_s=("wait_s", "mean"))
    counts = np.array([slots.get(node, 1) for node in table.index.get_level_values("node")])
    return table.assign(utilisation=table["busy_s"] / (duration_s * counts))


def requests_by(requests: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return numbers of requests by outcome, and latencies of the served ones, grouped by columns.

    Args:
        requests: the table `requests`.
        columns: names of the columns to group by, such as stream or user.

    Returns:
        One row per group with the columns requested (all of them), served, refused, timed_out and lost, and mean_s,
        median_s, p95_s and p99_s of the latency, which are missing if no request was served.
    """
    each = {outcome: requests["outcome"] == outcome for outcome in OUTCOMES}
    groups = grouped(requests.assign(**each, served_s=requests["latency_s"].where(each["served"])), columns)
    counts, latency = groups[OUTCOMES].sum(), groups["served_s"]
    counts.insert(0, "requested", counts.sum(axis="columns"))
    percentiles = {"median_s": latency.median(), "p95_s": latency.quantile(0.95), "p99_s": latency.quantile(0.99)}
    return counts.assign(mean_s=latency.mean(), **percentiles)


def with_phase(forward_passes: pd.DataFrame) -> pd.DataFrame:
    """Add the column `phase` to the table `forward_passes`.

    It is prefill for the first pass of a request, which ends with the first output token or the class of a sample, and
    decode for the others, each of which ends with one more output token.
    """
    return forward_passes.assign(phase=np.where(forward_passes["position"] == 0, "prefill", "decode"))


def pass_time_by(forward_passes: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the mean time of forward passes and of its parts, grouped by columns.

    Args:
        forward_passes: the table `forward_passes`.
        columns: names of the columns to group by, such as stream, user or `phase` (see `with_phase`).

    Returns:
        One row per group with the numbers of `passes` and `tokens`, mean_s and p95_s of the duration of a pass, and the
        means of its parts PASS_PARTS, whose sum is mean_s.
    """
    timed = forward_passes.assign(duration_s=forward_passes[PASS_PARTS].sum(axis="columns"))
    groups = grouped(timed, columns)
    duration = groups["duration_s"]
    return pd.DataFrame(
        {
            "passes": groups.size(),
            "tokens": groups["tokens"].sum(),
            "mean_s": duration.mean(),
            "p95_s": duration.quantile(0.95),
        }
    ).join(groups[PASS_PARTS].mean())


def energy_by_user(energy: pd.DataFrame) -> pd.DataFrame:
    """Return the energy of each user in J by component, in the columns ENERGY_COMPONENTS and total_j."""
    table = energy.groupby("user")[ENERGY_COMPONENTS].sum()
    return table.assign(total_j=table.sum(axis="columns"))


def bits_by(transfers: pd.DataFrame, columns: list[str]) -> pd.Series[float]:
    """Return delivered bits, grouped by columns of the table `transfers`; a broadcast counts for each receiver."""
    delivered = transfers["bits"] - transfers["lost"]
    return delivered.groupby([transfers[column] for column in columns], observed=True).sum()


def participation(rounds: pd.DataFrame) -> pd.Series[float]:
    """Return mean `participants` of a round, total `dropped`, and `dropped_share` of participants and dropped users."""
    dropped, begun = rounds["dropped"].sum(), (rounds["participants"] + rounds["dropped"]).sum()
    return pd.Series(
        {"participants": rounds["participants"].mean(), "dropped": dropped, "dropped_share": dropped / max(begun, 1)}
    )
