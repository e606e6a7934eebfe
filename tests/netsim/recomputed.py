"""Energy of devices worked out anew: from transfers, computations, outages, handovers and the powers in a scenario."""

from collections.abc import Sequence
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from worlds import World

from netsim.description import EnergyDescription

Row = dict[str, Any]
Span = tuple[float, float]


def assert_energy(cell: World, energy: EnergyDescription) -> None:
    """The table `energy` is what the other tables make it, for every user and every span of it.

    What a sender radiates may change during a transfer, so joules of transfers and jobs that reach over several rows of
    `energy` are compared in sum; everything else row by row.
    """
    idle_w = energy.idle_power_w.of_users(len(cell.network.users), cell.network.streams, "idle power")
    for user in range(len(cell.network.users)):
        rows = [row for row in cell.rows("energy") if row["user"] == user]
        radio, computing, off = on_air(cell, user), on_processor(cell, user), switched_off(cell, user)
        tails = tails_after(radio, energy.tail.duration_s if energy.tail else 0.0, off)
        idle = outside([*radio, *computing, *tails, *off], 0.0, rows[-1]["end_s"])
        for row in rows:
            window = row["start_s"], row["end_s"]
            tail_j = sum(common_s(span, window) for span in tails) * (energy.tail.power_w if energy.tail else 0.0)
            idle_j = sum(common_s(span, window) for span in idle) * idle_w[user]
            assert row["tail_j"] == pytest.approx(tail_j, rel=1e-9, abs=1e-9)
            assert row["idle_j"] == pytest.approx(idle_j, rel=1e-9, abs=1e-9)
        assert sums(rows) == pytest.approx(charged(cell, user), rel=1e-9, abs=1e-9)


def sums(rows: Sequence[Row]) -> list[float]:
    return [sum(row[column] for row in rows) for column in ("transmit_j", "receive_j", "compute_j")]


def charged(cell: World, user: int) -> list[float]:
    """Joules of what a user sent, received and computed."""
    radio = [row for row in cell.rows("transfers") if row["user"] == user]
    return [
        sum(row["energy_j"] for row in radio if row["direction"] == "up"),
        sum(row["energy_j"] for row in radio if row["direction"] == "down"),
        sum(row["energy_j"] for row in cell.rows("computations") if row["node"] == f"user{user}"),
    ]


def on_air(cell: World, user: int) -> list[Span]:
    """When a user's radio sent or received, cut where it was between two stations."""
    gaps = [
        (row["time_s"], row["time_s"] + row["interruption_s"]) for row in cell.rows("handovers") if row["user"] == user
    ]
    spans = []
    for row in cell.rows("transfers"):
        if row["user"] == user and row["direction"] != "backhaul" and row["airtime_s"] > 0:
            begin_s = begun_s(row, gaps)
            spans += outside([gap for gap in gaps if gap[0] >= begin_s], begin_s, row["end_s"])
    return spans


def begun_s(row: Row, gaps: Sequence[Span]) -> float:
    """When a transfer first was on the air: `wait_s` counts the gaps after that as well."""
    inside = [gap for gap in gaps if row["start_s"] <= gap[0] < row["end_s"]]
    for first in range(len(inside) + 1):
        later_s = sum(common_s(gap, (0.0, row["end_s"])) for gap in inside[first:])
        begin_s: float = row["start_s"] + row["wait_s"] - later_s
        if all(gap[0] >= begin_s - 1e-9 for gap in inside[first:]):
            return begin_s
    raise AssertionError(row)


def on_processor(cell: World, user: int) -> list[Span]:
    jobs = [row for row in cell.rows("computations") if row["node"] == f"user{user}"]
    return [(row["end_s"] - row["service_s"], row["end_s"]) for row in jobs]


def switched_off(cell: World, user: int) -> list[Span]:
    """Dead, or without charge: away for any other cause a device is on."""
    return [
        (row["start_s"], inf if row["end_s"] is None else row["end_s"])
        for row in cell.rows("outages")
        if row["user"] == user and row["cause"] in ("death", "battery")
    ]


def tails_after(radio: Sequence[Span], duration_s: float, off: Sequence[Span]) -> list[Span]:
    """From each end of all transfers until the next begins, the tail is over or the device goes off."""
    busy = merged(radio)
    tails = []
    for (_, end_s), (next_s, _) in pairwise([*busy, (inf, inf)]):
        until_s = min(end_s + duration_s, next_s, *(low for low, high in off if high > end_s))
        if not any(low <= end_s < high for low, high in off):
            tails.append((end_s, until_s))
    return tails


def outside(spans: Sequence[Span], start_s: float, end_s: float) -> list[Span]:
    """What spans leave of the time from one instant to another."""
    left, reached_s = [], start_s
    for low, high in [*merged(spans), (inf, inf)]:
        if min(low, end_s) > reached_s:
            left.append((reached_s, min(low, end_s)))
        reached_s = max(reached_s, high)
    return left


def merged(spans: Sequence[Span]) -> list[Span]:
    """Spans that touch, to within rounding, are one."""
    found: list[Span] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1] + 1e-12:
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return found


def common_s(one: Span, other: Span) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
