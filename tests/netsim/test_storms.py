"""Storms of work, deadlines, outages, deaths and empty batteries: bits, joules and time are conserved, nobody hangs."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from recomputed import assert_energy
from worlds import ENERGY, Process, World, flat_compute, flat_network, listen, world

from netsim.battery import BatteryDescription
from netsim.description import BackhaulDescription, BandDescription, FaultsDescription, SharingDescription
from netsim.energy import RadioTail
from netsim.faults import OnOffAvailability, Outage
from netsim.radio.fading import Fading, NoFading, Rayleigh
from netsim.radio.fidelity import Fidelity, Flow, Slots
from netsim.radio.rate import AdaptiveModulation, RateLaw, Shannon
from netsim.radio.scheduling import EqualShares, FixedShares, MaxRate, ProportionalFair, RoundRobin, SchedulingPolicy
from netsim.slowdown import Throttling
from netsim.values import ConstantPerUser

USERS = 3
MIDDLE_S, END_S = 15.0, 40.0


@dataclass(frozen=True)
class Task:
    """Work of a user, or of the server for it, that somebody may give up after a time."""

    user: int
    what: str
    start_s: float
    length_s: float
    patience_s: float


@dataclass(frozen=True)
class Storm:
    tasks: list[Task]
    faults: FaultsDescription
    battery: BatteryDescription | None
    tail: RadioTail | None
    backhaul: BackhaulDescription | None


@dataclass(frozen=True)
class Air:
    """How the bands are shared, and how closely they are looked at."""

    up: SchedulingPolicy = EqualShares()
    down: SchedulingPolicy = FixedShares()
    fidelity: Fidelity = Flow()
    rate: RateLaw = Shannon()
    fading: Fading = NoFading()


users, lengths = st.integers(0, USERS - 1), st.floats(0.01, 8.0)
ON_THE_AIR = ("send", "receive", "broadcast", "rateless", "rateless for a time")
ALL = ("compute", "serve", "return and compute", *ON_THE_AIR)


def tasks(what: Sequence[str], last_s: float, least: int) -> st.SearchStrategy[list[Task]]:
    """Some begun by an instant."""
    patience_s = st.one_of(st.just(inf), st.floats(0.0, 10.0))
    task = st.builds(Task, users, st.sampled_from(what), st.floats(0.0, last_s), lengths, patience_s)
    return st.lists(task, min_size=least, max_size=14)


outages = st.builds(
    lambda user, from_s, length_s: Outage(user, from_s, length_s and from_s + length_s),
    users,
    st.floats(0.0, 30.0),
    st.one_of(st.none(), st.floats(0.1, 10.0)),
)
faults = st.builds(
    FaultsDescription,
    availability=st.builds(OnOffAvailability, st.floats(1.0, 20.0), st.floats(0.5, 5.0), st.just(0.7), st.just(1.5)),
    outages=st.lists(outages, max_size=3).map(tuple),
    mean_lifetime_s=st.one_of(st.none(), st.floats(5.0, 100.0)),
)
batteries = st.builds(
    BatteryDescription,
    st.floats(0.2, 5.0).map(ConstantPerUser),
    st.floats(0.0, 1.0).map(ConstantPerUser),
    st.floats(0.0, 0.5),
    st.floats(0.1, 1.0),
)
about = (
    faults,
    st.one_of(st.none(), batteries),
    st.one_of(st.none(), st.builds(RadioTail, st.floats(0.0, 2.0), st.floats(0.1, 5.0))),
    st.one_of(st.none(), st.builds(BackhaulDescription, st.floats(5e6, 1e8), st.floats(0.0, 1.0))),
)
storms = st.builds(Storm, tasks(ALL, 30.0, 1), *about)
crowds = st.builds(Storm, tasks(ON_THE_AIR, 4.0, 6), *about)
laws = st.sampled_from([EqualShares(), FixedShares(), RoundRobin(), ProportionalFair(), MaxRate()])
slotted = st.builds(
    Air,
    laws,
    laws,
    st.builds(Slots, st.sampled_from([0.03, 0.05]), st.integers(1, 5), st.integers(0, 2), st.integers(1, 3)),
    st.sampled_from([Shannon(), AdaptiveModulation()]),
    st.sampled_from([NoFading(), Rayleigh(0.1)]),
)


def work(cell: World, task: Task) -> Process:
    """One attempt; what is interrupted is over."""
    user, server = cell.network.users[task.user], cell.network.server
    if task.what == "return and compute":
        while user.away and not user.gone:
            yield user.back
    todo = {
        "compute": lambda: user.compute(task.length_s * 1e9, "x"),
        "return and compute": lambda: user.compute(task.length_s * 1e9, "x"),
        "send": lambda: user.send(server, task.length_s * 4e6, "x"),
        "receive": lambda: server.send(user, task.length_s * 4e6, "x"),
        "serve": lambda: user.attend(server.compute(task.length_s * 1e11, "x", user=user.number)),
        "broadcast": lambda: server.broadcast(cell.network.users, task.length_s * 4e6, "x"),
        "rateless": lambda: listen(cell, cell.network.users, task.length_s * 4e6),
        "rateless for a time": lambda: listen(cell, cell.network.users, task.length_s * 4e6, deadline_s=3.0),
    }
    yield from todo[task.what]()


def attempt(cell: World, task: Task) -> Process:
    yield cell.env.timeout(task.start_s)
    with suppress(simpy.Interrupt):
        yield from work(cell, task)


def run(storm: Storm, air: Air) -> tuple[World, list[simpy.Process]]:
    flat = flat_network(USERS)
    network = replace(
        flat,
        faults=storm.faults,
        backhaul=storm.backhaul,
        channel=replace(flat.channel, rate=air.rate, fading=air.fading),
    )
    sharing = SharingDescription(
        BandDescription(1.0, air.up, air.fidelity), BandDescription(2.0, air.down, air.fidelity)
    )
    energy = replace(ENERGY, battery=storm.battery, tail=storm.tail)
    compute = flat_compute()
    compute = replace(compute, stragglers=replace(compute.stragglers, slowdown=Throttling(5.0, 0.5)))
    cell = world(replace(network, sharing=sharing), compute, energy)
    cell.journal.begin_round(0)
    processes = [cell.env.process(attempt(cell, task)) for task in storm.tasks]
    for process, task in zip(processes, storm.tasks, strict=True):
        if task.patience_s < inf:
            cell.at(task.start_s + task.patience_s, lambda p=process: p.is_alive and p.interrupt("no patience"))
    cell.env.run(MIDDLE_S)
    cell.journal.end_round(0, 0)
    cell.journal.begin_round(1)
    cell.env.run(END_S)
    cell.env.run()  # whatever is left of the work; exogenous events do not go on for ever
    cell.journal.end_round(0, 0)
    cell.network.record_end()
    return cell, processes


def spans(cell: World) -> Iterator[tuple[int, float, float]]:
    """When each device did something."""
    for row in cell.rows("transfers"):
        if row["direction"] == "backhaul":
            continue
        yield row["user"], row["start_s"] + row["wait_s"], row["end_s"]
    for row in cell.rows("computations"):
        if row["node_kind"] == "user":
            yield row["user"], row["start_s"] + row["wait_s"], row["end_s"]


@settings(max_examples=60, deadline=None)
@given(storms)
def test_storms(storm: Storm) -> None:
    conserves(storm, Air())


@settings(max_examples=20, deadline=None)
@given(st.one_of(storms, crowds), slotted)
def test_storms_in_slots(storm: Storm, air: Air) -> None:
    conserves(storm, air)


def conserves(storm: Storm, air: Air) -> None:
    """Bits, joules and time add up, nobody works who is away, and nobody is left waiting."""
    cell, processes = run(storm, air)
    assert not any(process.is_alive for process in processes)
    for user in cell.network.users:
        assert user.processor.queue.present == user.uplink.lock.count == user.downlink.lock.count == 0
    for station in cell.network.stations:
        lines = [line for line in (station.to_core, station.from_core) if line is not None]
        assert all(line.queue.present == 0 for line in lines)
    transfers, computations, outages = (cell.rows(name) for name in ("transfers", "computations", "outages"))
    for row in transfers:
        assert 0 <= row["lost"] <= row["bits"]
        assert row["end_s"] - row["start_s"] == pytest.approx(row["wait_s"] + row["airtime_s"], abs=1e-9)
    for rows in (transfers, computations):
        ends = [row["end_s"] for row in rows]
        assert ends == sorted(ends)
    for user, begin_s, end_s in spans(cell):
        for away in outages:
            if away["user"] == user:
                left = away["end_s"] is not None and begin_s >= away["end_s"]
                assert end_s <= away["start_s"] or left or begin_s == end_s
    rounds = cell.rows("rounds")
    assert sum(row["uplink_bits"] + row["downlink_bits"] for row in rounds) == pytest.approx(
        sum((row["bits"] - row["lost"]) / row["receivers"] for row in transfers if row["direction"] != "backhaul")
    )
    assert_energy(cell, replace(ENERGY, battery=storm.battery, tail=storm.tail))
    if storm.battery is not None:
        stored_j = storm.battery.of_users(USERS, cell.network.streams)
        for user, (capacity_j, charge_j) in enumerate(stored_j):
            for row in (each for each in cell.rows("energy") if each["user"] == user):
                spent_j = sum(row[f"{what}_j"] for what in ("transmit", "receive", "compute", "idle", "tail"))
                assert charge_j + row["harvested_j"] - spent_j == pytest.approx(row["charge_j"], abs=1e-9)
                assert -1e-12 <= row["charge_j"] <= capacity_j
                charge_j = row["charge_j"]
