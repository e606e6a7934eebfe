"""Warnings about valid scenarios whose values are probably not intended; they are printed beside the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from netsim.budget import LinkBudget, LinkDirection
from netsim.lazy import AT_ONCE
from netsim.radio.link import out_of_range
from netsim.recordings import Timed
from netsim.streams import Streams
from scenarios.errors import Path, dotted
from scenarios.progress import RunningTotals
from scenarios.schema import Scenario


class Span(NamedTuple):
    """Time span of a recording, in simulated time of the run."""

    path: Path
    """Path of the recording's field in the scenario."""
    file: str
    """The recording's file, as the scenario names it."""
    first_s: float
    """Time of its first row, s; negative before the beginning of the run."""
    last_s: float
    """Time of its last row, s."""


def spans(scenario: Scenario) -> list[Span]:
    """Return the time spans of all recordings that have times.

    Raises:
        ValueError: a recording cannot be read.
    """
    return [Span(path, part.file, *part.span_s()) for path, part in _parts(scenario, ()) if isinstance(part, Timed)]


def warnings(recorded: Sequence[Span], end_s: float) -> list[str]:
    """Return one sentence for each recording that has no effect on a run.

    Args:
        recorded: time spans of the recordings.
        end_s: simulated time at the end of the run.
    """
    out = []
    for path, file, first_s, last_s in recorded:
        if first_s >= end_s > 0:
            out.append(
                f"{dotted(path)}: the recording {file} begins at {first_s:.10g} s, and the run ends at {end_s:.6g} s; "
                "time_origin says which recorded time is the beginning of the run, such as first_row"
            )
        if last_s < 0:
            out.append(f"{dotted(path)}: the recording {file} is over {-last_s:.10g} s before its time_origin")
    return out


MIN_J_PER_FLOP, MAX_J_PER_FLOP = 1e-13, 1e-6
"""Bounds of the energy per FLOP of real devices. NVIDIA H100 SXM data sheet: 700 W over 1,979 TFLOP/s of 8 bit are
3.5e-13 J. At the other end an 8-bit microcontroller without floating point (Microchip ATmega328P data sheet: 10 mA at
5 V and 16 MHz) with a hundred cycles per operation: 3e-7 J."""


def implausible(scenario: Scenario) -> list[str]:
    """Return one sentence for each energy that does not fit the speed of the device: per FLOP, and when idle.

    Only the first AT_ONCE users are looked at.

    Raises:
        ValueError: speeds or energies are lists whose length is not the number of users.
    """
    users, streams = scenario.network.users.count, Streams(scenario.seed_of("network"))
    speed_of = scenario.compute.devices.flops_per_s.of_users(users, streams, "device speed")
    idle_w = scenario.energy.idle_power_w.of_users(users, streams, "idle power")
    count = min(users, AT_ONCE)
    speeds = [speed_of[user] for user in range(count)]
    costs_j = [scenario.energy.compute.of_user(user).energy_j(1.0, speed) for user, speed in enumerate(speeds)]
    odd = [user for user in range(count) if not MIN_J_PER_FLOP <= costs_j[user] <= MAX_J_PER_FLOP]
    cool = [user for user in range(count) if costs_j[user] * speeds[user] < idle_w[user] / 10]
    out = []
    if odd:
        user, of_them = odd[0], f"{len(odd)} of {count} users"
        out.append(
            f"energy.compute: user {user} spends {costs_j[user]:.2g} J per FLOP at {speeds[user]:.3g} FLOP/s "
            f"({of_them} are like that); real devices spend {MIN_J_PER_FLOP:g} to {MAX_J_PER_FLOP:g}, and a profile "
            "has speed and energy of one device (netsim list profiles)"
        )
    if cool:
        user, of_them = cool[0], f"{len(cool)} of {count} users"
        out.append(
            f"energy.idle_power_w: user {user} draws {costs_j[user] * speeds[user]:.2g} W while it computes, and "
            f"{idle_w[user]:.2g} W while it does nothing ({of_them} are like that)"
        )
    return out


def unasked(scenario: Scenario) -> list[str]:
    """Return one sentence if a scheme whose model answers requests is never asked."""
    streams = scenario.traffic.streams.values() if scenario.traffic else ()
    asked = any(stream.answered_by == "model" for stream in streams)
    if scenario.learning is None or not scenario.learning.scheme.serves or asked:
        return []
    return ["learning.scheme: the model answers requests, and no stream of traffic.streams has answered_by: model"]


def without_users(scenario: Scenario, reached: RunningTotals, gone: int) -> list[str]:
    """Return one sentence if no user took part in any round, and one if all devices are gone permanently.

    Args:
        scenario: the scenario of the run.
        reached: its totals.
        gone: number of devices that never return.
    """
    out = []
    if scenario.learning and not scenario.learning.scheme.serves and reached.rounds and not reached.taken_part:
        out.append(
            f"no user took part in any of the {reached.rounds} rounds, and {reached.dropped} were dropped in all"
        )
    if gone and gone == scenario.network.users.count:
        out.append(f"all {gone} devices were gone permanently at the end, {reached.time_s:.6g} s")
    return out


def beyond_reach(scenario: Scenario) -> list[str]:
    """Return one sentence for each direction in which users are out of range even if they have the band to themselves.

    Only for users that do not move, and for the first AT_ONCE of them.

    Raises:
        ValueError: the network cannot be built, for instance for a transmit power out of range.
    """
    network = scenario.network
    if network.mobility is not None:
        return []
    lazy, users = network.users.count > AT_ONCE, range(min(network.users.count, AT_ONCE))
    budget = LinkBudget(network, Streams(scenario.seed_of("network")), lazy=lazy)
    sharing, out = network.sharing, []
    uplink_hz, downlink_hz = sharing.uplink.bandwidth_hz, sharing.downlink.bandwidth_hz
    bands_hz: tuple[tuple[LinkDirection, float], ...] = (("up", uplink_hz), ("down", downlink_hz))
    for direction, band_hz in bands_hz:
        links = [budget.link(direction, user, budget.serving[user]) for user in users]
        sentences = [
            sentence for user, link in enumerate(links) for sentence in out_of_range((user,), link, 0.0, band_hz)
        ]
        if sentences:
            count = f"{len(sentences)} of {len(links)} users" if len(sentences) > 1 else f"one of {len(links)} users"
            out.append(f"{direction}link: {sentences[0]}, alone on the band ({count})")
    return out


def known_end_s(scenario: Scenario) -> float | None:
    """Return the latest simulated time at which a run ends, s; None if the scenario has no limit on time."""
    learning, traffic = scenario.learning, scenario.traffic
    learned_s = learning.stop.time_s if learning else 0.0
    requested_s = traffic.duration_s if traffic and traffic.duration_s else 0.0
    return None if learned_s is None else max(learned_s, requested_s)


def _parts(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Yield every part of a scenario, at any depth, with its path."""
    if is_dataclass(value):
        yield path, value
        inner: Any = ((field.name, getattr(value, field.name)) for field in fields(value))
    elif isinstance(value, dict):
        inner = value.items()
    else:
        return
    for step, one in inner:
        yield from _parts(one, (*path, step))
