"""Lines between stations and the core, servers at stations and in the core: all of it by hand."""

from dataclasses import replace
from typing import Any

import pytest
import simpy
from worlds import Process, World, flat_compute, flat_network, flat_rates_bps, world

from netsim.description import (
    BackhaulDescription,
    EdgeServersDescription,
    RequestStream,
    ServersDescription,
    TrafficDescription,
)
from netsim.geometry import Explicit, Stations
from netsim.queueing import Priority
from netsim.traffic import PeriodicArrivals
from netsim.traffic.requests import Traffic
from netsim.traffic.sizes import ConstantSize
from netsim.values import ConstantPerUser

LINE = BackhaulDescription(rate_bps=1e6, delay_s=0.25)
EDGE = EdgeServersDescription(1e11, stations=(1,))
AIR_S = 1e5 / flat_rates_bps(1)[0]


def two_cells(line: BackhaulDescription | None = LINE, **compute: Any) -> World:
    """Users 0 and 1 at stations 0 and 1, each 100 m from its own and alone there."""
    flat = flat_network(2)
    network = replace(
        flat,
        stations=replace(flat.stations, placement=Stations(((0.0, 0.0), (5000.0, 0.0)))),
        users=replace(flat.users, placement=Explicit(((100.0, 0.0), (4900.0, 0.0)))),
        backhaul=line,
    )
    return world(network, replace(flat_compute(), **compute))


def hops(w: World) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in ("user", "node", "direction", "wait_s")) for row in w.rows("transfers")]


def test_up_over_the_line_and_down() -> None:
    w = two_cells()
    user, server = w.network.users[1], w.network.server
    w.run(user.send(server, 1e5, "x"))
    assert w.env.now == pytest.approx(AIR_S + 0.1 + 0.25)
    w.run(server.send(user, 1e5, "y"))
    assert hops(w) == [
        (1, "station1", "up", 0),
        (1, "core", "backhaul", 0),
        (1, "station1", "backhaul", 0),
        (1, "station1", "down", 0),
    ]
    line = w.rows("transfers")[1]
    assert (line["bits"], line["lost"], line["airtime_s"]) == (1e5, 0, pytest.approx(0.35))
    assert line["mean_rate_bps"] == pytest.approx(1e5 / 0.35)
    assert (line["energy_j"], line["mean_snr_db"], line["receivers"]) == (0, None, 1)


def test_messages_queue_for_the_line_but_not_for_its_delay() -> None:
    w = two_cells()
    station = w.network.stations[0]
    assert station.to_core is not None
    w.run(*(station.to_core.transfer(1e6, "x", [0]) for _ in range(3)))
    rows = w.rows("transfers")
    assert [row["wait_s"] for row in rows] == pytest.approx([0, 1, 2])
    assert [row["end_s"] for row in rows] == pytest.approx([1.25, 2.25, 3.25])


def test_the_line_has_a_discipline() -> None:
    w = two_cells(replace(LINE, discipline=Priority(("urgent",))))
    line = w.network.stations[0].to_core
    assert line is not None

    def message(start_s: float, kind: str) -> Process:
        yield w.env.timeout(start_s)
        yield from line.transfer(1e6, kind, [0])

    w.run(message(0.0, "x"), message(0.5, "y"), message(0.5, "urgent"))
    assert [row["kind"] for row in w.rows("transfers")] == ["x", "urgent", "y"]


def test_what_is_broadcast_goes_once_over_each_line() -> None:
    w = two_cells()
    w.run(w.network.server.broadcast(w.network.users, 1e5, "model"))
    assert sorted(hops(w)) == sorted(
        (user, f"station{user}", direction, 0) for user in (0, 1) for direction in ("backhaul", "down")
    )
    w = world(replace(flat_network(2), backhaul=LINE))
    w.run(w.network.server.broadcast(w.network.users, 1e5, "model"))
    first, second = (row for row in w.rows("transfers") if row["direction"] == "backhaul")
    assert (first["user"], second["user"], first["receivers"], first["end_s"]) == (0, 1, 2, second["end_s"])
    assert first["airtime_s"] == pytest.approx(0.35)


def test_no_backhaul_takes_no_time() -> None:
    w = two_cells(line=None)
    w.run(w.network.users[1].send(w.network.server, 1e5, "x"))
    assert w.env.now == pytest.approx(AIR_S)
    assert len(hops(w)) == 1


@pytest.mark.parametrize(("user", "lines"), [(0, []), (1, ["core", "station0"])])
def test_a_server_at_a_station(user: int, lines: list[str]) -> None:
    w = two_cells(servers=ServersDescription(1e11, station=0))
    w.run(w.network.users[user].send(w.network.server, 1e5, "x"))
    assert [row["node"] for row in w.rows("transfers")] == [f"station{user}", *lines]
    assert w.env.now == pytest.approx(AIR_S + len(lines) * 0.35)
    w.run(w.network.server.send(w.network.users[user], 1e5, "y"))
    there = ["core", f"station{user}"] if lines else []
    assert [row["node"] for row in w.rows("transfers")][1 + len(lines) :] == [*there, f"station{user}"]


def test_a_server_at_no_station_is_refused() -> None:
    with pytest.raises(ValueError, match="stands at station 2; there are 2, from 0"):
        two_cells(servers=ServersDescription(station=2))
    with pytest.raises(ValueError, match="stands at station 3"):
        two_cells(edge_servers=EdgeServersDescription(stations=(0, 3)))


def requests(w: World, **fields: Any) -> list[dict[str, Any]]:
    """One request each, that keeps a server busy for 1 s."""
    stream = RequestStream(PeriodicArrivals(ConstantPerUser(10.0)), ConstantSize(1e5), ConstantSize(1e11), **fields)
    w.run(Traffic(w.network, TrafficDescription({"x": stream}, 10.0)).run(None))
    return sorted(w.rows("requests"), key=lambda row: row["user"])


def test_requests_go_to_the_nearest_server() -> None:
    far, near = requests(two_cells(edge_servers=EDGE))
    assert (far["node"], near["node"]) == ("server", "server1")
    assert far["latency_s"] == pytest.approx(AIR_S + 0.35 + 1)
    assert near["latency_s"] == pytest.approx(AIR_S + 1)
    w = two_cells(edge_servers=EDGE)
    assert [row["node"] for row in requests(w, at="central")] == ["server", "server"]
    assert {row["node"] for row in w.rows("computations")} == {"server"}


@pytest.mark.parametrize(("until_s", "attempts"), [(0.5, 0), (1.5, 1), (2.1, 1)])
def test_cut_off_on_the_line(until_s: float, attempts: int) -> None:
    """In the queue, on the line, and within its delay: the bits are lost, and the line is free for the next."""
    w = two_cells()
    line = w.network.stations[0].to_core
    assert line is not None

    def cut() -> Process:
        try:
            yield from line.transfer(1e6, "cut", [0])
        except simpy.Interrupt:
            return

    def scheme() -> Process:
        first = w.env.process(line.transfer(1e6, "first", [0]))
        process = w.env.process(cut())
        yield w.env.timeout(until_s)
        process.interrupt()
        last = w.env.process(line.transfer(1e6, "last", [0]))
        yield w.env.all_of([first, process, last])

    w.run(scheme())
    rows = {row["kind"]: row for row in w.rows("transfers")}
    assert (rows["cut"]["lost"], rows["cut"]["attempts"], rows["cut"]["end_s"]) == (1e6, attempts, until_s)
    assert rows["cut"]["mean_rate_bps"] is None
    free_s = {0.5: 1.0, 1.5: 1.5, 2.1: 2.1}[until_s]
    assert rows["last"]["end_s"] == pytest.approx(free_s + 1.25)
