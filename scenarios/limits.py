"""Limits of a run: scenarios that need more than can be computed are rejected before anything runs.

What is compared with the limits are lower bounds, so that no scenario is rejected that stays within them. What cannot
be known before a run, `scenarios.watch` sees in its first moments.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from math import inf
from statistics import fmean

import psutil

from learning.description import LearningDescription
from learning.executor import EXECUTORS
from netsim.budget import LinkDirection
from netsim.description import TrafficDescription
from netsim.network import Network
from netsim.traffic import Arrival, RecordedArrivals
from scenarios.errors import FieldError, Path
from scenarios.field_errors import field_error
from scenarios.many_users import needs_all
from scenarios.schema import LimitsDescription, Scenario

USER_BYTES = 10_000
"""Memory of a user with its radios, processor and meter, at least."""
PAIR_BYTES = 200
"""Memory of what is known about a user and a station, at least."""
SAMPLED_LINKS = 1000
"""Users whose links are looked at."""
SAMPLED_USERS, SAMPLED_REQUESTS = 10, 1000
"""Users of a stream, and first requests of each, from which the number of requests is extrapolated."""
YEAR_S = 365.25 * 24 * 3600
"""A year in seconds."""


def memory_bytes(limits: LimitsDescription) -> float:
    """Return the limit on memory in bytes: the one given, or the memory of this machine."""
    return psutil.virtual_memory().total if limits.memory_bytes is None else limits.memory_bytes


def check_sizes(scenario: Scenario) -> None:
    """Check the numbers of a scenario against its limits, before anything is built.

    Raises:
        FieldError: the scenario needs more events, simulated time or memory than its limits allow.
    """
    allowed_bytes, network = memory_bytes(scenario.limits), scenario.network
    users = network.users.count
    stations = len(network.stations.placement.sites()) * len(network.stations.antenna.azimuths_deg)
    needed_bytes = users * (USER_BYTES + stations * PAIR_BYTES)
    if needed_bytes > allowed_bytes and (why := needs_all(scenario)) is not None:
        at = f" at {stations} stations" if stations > 1 else ""
        advice = f"; all of them must exist, and not only those of a round, because of {why}"
        raise beyond_memory(("network", "users", "count"), f"{users} users{at}", needed_bytes, allowed_bytes, advice)
    for path, end_s in _ends_s(scenario):
        if end_s > scenario.limits.simulated_time_s:
            allowed = years(scenario.limits.simulated_time_s)
            raise field_error(path, ValueError(f"found {years(end_s)}; limits.simulated_time_s allows {allowed}"))
    for path, what, events in _least_events(scenario.learning) if scenario.learning else ():
        if events > scenario.limits.events:
            raise beyond_events(("learning", *path), what, events, scenario.limits)


def check_model(scalars: int, itemsize: int, limits: LimitsDescription) -> None:
    """Check that a model and one trained copy of it fit into memory.

    Args:
        scalars: number of scalars in its parameters.
        itemsize: size of a scalar in bytes.
        limits: the limits of the scenario.

    Raises:
        FieldError: they do not.
    """
    needed_bytes, allowed_bytes = 2 * scalars * itemsize, memory_bytes(limits)
    if needed_bytes > allowed_bytes:
        what = f"{scalars:.4g} parameters, with a trained copy"
        advice = "; charge_as charges the cost of a large model while a small one is trained"
        raise beyond_memory(("learning", "model"), what, needed_bytes, allowed_bytes, advice)


def check_links(network: Network, limits: LimitsDescription) -> None:
    """Check that the users that are in range can send and receive a bit within the limit on simulated time.

    One of them is enough. Users that move may come closer.

    Raises:
        ValueError: none of them can; the message is one sentence.
    """
    station, users = network.stations[0], range(min(len(network.users), SAMPLED_LINKS))
    bands: tuple[tuple[LinkDirection, float], ...]
    bands = ("up", station.uplink.band.bandwidth_hz), ("down", station.downlink.band.bandwidth_hz)
    for direction, band_hz in bands if network.motion is None else ():
        links = (network.budget.link(direction, user, network.budget.serving[user]) for user in users)
        times_s = (link.least_s(1.0, band_hz) for link in links)
        if all(limits.simulated_time_s < (least_s := time_s) < inf for time_s in times_s):
            raise ValueError(
                f"the {direction}link takes at least {years(least_s)} for one bit of any user; "
                f"limits.simulated_time_s allows {years(limits.simulated_time_s)}"
            )


def check_traffic(
    traffic: TrafficDescription, network: Network, end_s: float | None, limits: LimitsDescription
) -> None:
    """Check the number of requests, extrapolated from the first ones of the first users of each stream.

    Args:
        traffic: the section `traffic`.
        network: its users.
        end_s: simulated time in seconds at which learning ends; None if there is none, or its end is not known.
        limits: the limits of the scenario.

    Raises:
        FieldError: there are more than the limits allow.
    """
    duration_s, users = traffic.duration_s or end_s, len(network.users)
    if duration_s is None:
        return
    for name, stream in traffic.streams.items():
        if isinstance(stream.arrivals, RecordedArrivals):
            continue  # as many as were recorded
        asking = range(users) if stream.users is None else stream.users
        sampled = stream.arrivals.of_users(asking[:SAMPLED_USERS], users, network.streams, name)
        per_user = fmean(_requests(arrivals, duration_s) for arrivals in sampled)
        if (requests := per_user * len(asking)) > limits.events:
            what = f"about {requests:.2g} requests in {duration_s:.4g} s"
            raise beyond_events(("traffic", "streams", name, "arrivals"), what, requests, limits)


def _requests(arrivals: Iterator[Arrival], duration_s: float) -> float:
    """Number of requests of a user in `duration_s` seconds, extrapolated if there are more than SAMPLED_REQUESTS."""
    instants_s = [arrival.instant_s for arrival in islice(arrivals, SAMPLED_REQUESTS)]
    within = sum(instant_s <= duration_s for instant_s in instants_s)
    if within < SAMPLED_REQUESTS:
        return within
    return within * duration_s / max(instants_s[-1], sys.float_info.min)


def beyond_events(path: Path, what: str, events: float, limits: LimitsDescription) -> FieldError:
    """Return the error of a scenario that needs about `events` events because of `what` at `path`."""
    sentence = f"found {what}, which make about {events:.2g} events; limits.events allows {limits.events:.2g}"
    return field_error(path, ValueError(sentence))


def beyond_memory(path: Path, what: str, needed_bytes: float, allowed_bytes: float, advice: str = "") -> FieldError:
    """Return the error of a scenario that needs `needed_bytes` bytes at least, because of `what` at `path`."""
    return field_error(
        path,
        ValueError(
            f"found {what}, which take at least {needed_bytes:.2g} bytes; "
            f"limits.memory_bytes allows {allowed_bytes:.2g}{advice}"
        ),
    )


def years(duration_s: float) -> str:
    """Write a long duration: `3.16e+09 s (100 years)`."""
    return f"{duration_s:.3g} s ({duration_s / YEAR_S:.3g} years)"


def _ends_s(scenario: Scenario) -> Iterator[tuple[Path, float]]:
    """Yield the path of each simulated time in seconds at which the run ends, and the time."""
    learning, traffic = scenario.learning, scenario.traffic
    if learning is not None and learning.stop.time_s is not None and learning.stop.rounds is None:
        yield ("learning", "stop", "time_s"), learning.stop.time_s
    if traffic is not None and traffic.duration_s is not None:
        yield ("traffic", "duration_s"), traffic.duration_s


def _least_events(learning: LearningDescription) -> Iterator[tuple[Path, str, float]]:
    """Yield the path of each number that makes many events, what it is in words, and how many events at least."""
    stop, rounds = learning.stop, 1
    if stop.rounds is not None and stop.time_s is None and not stop.by_values:
        rounds = stop.rounds
        yield ("stop", "rounds"), f"{rounds} rounds", 2.0 * rounds
    local_steps = vars(learning.scheme).get("local_steps") or 0  # a field of most schemes
    yield ("scheme", "local_steps"), f"{local_steps} steps in {rounds} rounds", float(local_steps) * rounds
    if learning.pretraining is not None and EXECUTORS[learning.executor].computes:
        steps = learning.pretraining.steps
        yield ("pretraining", "steps"), f"{steps} steps", float(steps)
