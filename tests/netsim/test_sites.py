"""Sites at stations, in the core and on users' devices: the ways between them, worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest
from worlds import Process, World, flat_compute, flat_network, flat_rates_bps, world

from netsim.description import BackhaulDescription, EdgeServersDescription, SiteDescription
from netsim.geometry import Explicit, Stations
from netsim.slowdown import ListedSlowdowns, ShiftedExponential, Throttling
from netsim.values import ListedPerUser
from stats import assert_mean

LINE = BackhaulDescription(rate_bps=1e6, delay_s=0.25)
LINE_S = 0.1 + 0.25  # of 1e5 bits
UP_S, DOWN_S = (1e5 / rate for rate in flat_rates_bps(1))
SITES = {"edge": SiteDescription(1e9, station=0), "near": SiteDescription(1e9), "cloud": SiteDescription(delay_s=0.5)}


def two_cells(**compute: Any) -> World:
    """Users 0 and 1 at stations 0 and 1, each alone there; a site at station 0, and two in the core, one far away."""
    flat = flat_network(2)
    network = replace(
        flat,
        stations=replace(flat.stations, placement=Stations(((0.0, 0.0), (5000.0, 0.0)))),
        users=replace(flat.users, placement=Explicit(((100.0, 0.0), (4900.0, 0.0)))),
        backhaul=LINE,
    )
    return world(network, replace(flat_compute(), **{"sites": SITES, **compute}))


def nodes(w: World) -> list[str]:
    return [row["node"] for row in w.rows("transfers")]


def test_sites_are_known_by_the_names_that_they_have_in_the_tables() -> None:
    w = two_cells(edge_servers=EdgeServersDescription(1e11, stations=(1,)))
    assert list(w.network.sites) == ["server", "server1", "edge", "near", "cloud", "user0", "user1"]
    assert all(site.name == name for name, site in w.network.sites.items())
    assert w.network.sites["server1"] is w.network.edge_servers[1]


@pytest.mark.parametrize(
    ("site", "up_s", "down_s", "hops"),
    [
        ("edge", 0.0, 0.0, []),
        ("near", LINE_S, LINE_S, ["core", "station0"]),
        ("cloud", LINE_S + 0.5, LINE_S + 0.5, ["core", "cloud", "core", "station0"]),
        (
            "user1",
            2 * LINE_S + DOWN_S,
            2 * LINE_S + UP_S,
            ["core", "station1", "station1", "station1", "core", "station0"],
        ),
    ],
)
def test_a_message_to_a_site_and_back(site: str, up_s: float, down_s: float, hops: list[str]) -> None:
    """User 0 sends to a site, which answers: the user's radio, the lines between, and the radio of a site's device."""
    w = two_cells()
    user, there = w.network.users[0], w.network.sites[site]
    w.run(user.send(there, 1e5, "x"))
    assert w.env.now == pytest.approx(UP_S + up_s, rel=1e-12)
    w.run(there.send(user, 1e5, "y"))
    assert w.env.now == pytest.approx(UP_S + up_s + down_s + DOWN_S, rel=1e-12)
    assert nodes(w) == ["station0", *hops, "station0"]


def test_the_radio_of_a_device_that_is_a_site_is_paid_by_its_own_user() -> None:
    w = two_cells()
    w.run(w.network.users[0].send(w.network.sites["user1"], 1e5, "x"))
    assert [row["user"] for row in w.rows("transfers") if row["direction"] != "backhaul"] == [0, 1]


def test_a_users_own_device_is_reached_in_no_time() -> None:
    w = two_cells()
    user, own = w.network.users[0], w.network.sites["user0"]
    w.run(user.send(own, 1e5, "x"), own.send(user, 1e5, "y"))
    assert (w.env.now, w.rows("transfers")) == (0, [])
    w.run(own.compute(2e9, "expert", user=0))
    assert (w.env.now, w.rows("computations")[0]["node"]) == (2.0, "user0")


@pytest.mark.parametrize(
    ("origin", "destination", "time_s"),
    [
        ("near", "cloud", 0.5),
        ("cloud", "near", 0.5),
        ("edge", "cloud", LINE_S + 0.5),
        ("cloud", "edge", LINE_S + 0.5),
        ("cloud", "cloud", 0.0),
        ("user0", "edge", UP_S),
        ("edge", "user1", 2 * LINE_S + DOWN_S),
    ],
)
def test_from_site_to_site(origin: str, destination: str, time_s: float) -> None:
    w = two_cells()
    sites = w.network.sites
    w.run(sites[origin].forward(sites[destination], 1e5, "x", [0]))
    assert w.env.now == pytest.approx(time_s, rel=1e-12)


def test_the_delay_of_a_distant_site_holds_up_no_other_message() -> None:
    w = two_cells()
    near, cloud = w.network.sites["near"], w.network.sites["cloud"]
    w.run(*(near.forward(cloud, 1e5, "x", [0]) for _ in range(3)))
    assert w.env.now == 0.5
    assert [(row["node"], row["wait_s"], row["airtime_s"]) for row in w.rows("transfers")] == [("cloud", 0, 0.5)] * 3


def test_a_device_that_goes_away_takes_down_what_it_does_for_others() -> None:
    w = two_cells()
    owner, site = w.network.users[1].presence, w.network.sites["user1"]
    owner.steady = False
    w.at(1.0, lambda: owner.leave("outage"))
    with pytest.raises(Exception, match="user 1 is away"):
        w.run(site.compute(5e9, "expert", user=0))
    assert w.env.now == 1.0
    assert w.rows("computations")[0]["interrupted"]


def test_slow_servers_draw_each_job_and_each_for_itself() -> None:
    """Mean service time by the mean 1 + 1/2 of the slowdown; no two jobs or servers share a draw, whatever the users'
    rounds. A throttled server gets slow by its own jobs; one without slowdown has its nominal speed."""
    slow = ShiftedExponential(shift=1.0, rate=2.0)
    sites = {"edge": SiteDescription(1e9, station=0, slowdown=slow), "near": SiteDescription(1e9, slowdown=slow)}
    sites |= {"hot": SiteDescription(1e9, slowdown=Throttling(time_constant_s=2.0)), "cool": SiteDescription(1e9)}
    w = two_cells(sites=sites)
    w.network.journal.local_round = lambda user: user  # type: ignore[method-assign,assignment,return-value]

    def jobs(site: str, count: int) -> Process:
        for number in range(count):
            yield from w.network.sites[site].compute(1e9, "expert", user=number % 2)

    w.run(jobs("edge", 400), jobs("near", 400), jobs("hot", 20), jobs("cool", 2))
    times_s: dict[str, list[float]] = {}
    for row in w.rows("computations"):
        times_s.setdefault(row["node"], []).append(row["service_s"])
    for site in ("edge", "near"):
        assert_mean(times_s[site], 1.5)
    assert len({*times_s["edge"], *times_s["near"]}) == 800
    assert (times_s["hot"][0], times_s["hot"][-1]) == pytest.approx((1.0, 1 / 0.6))
    assert times_s["cool"] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        (
            {"slowdown": ListedSlowdowns((2.0,))},
            "slowdown: a list is for users' devices; give edge another flops_per_s",
        ),
        ({"slowdown": Throttling(), "slots": 2}, "slowdown: edge has 2 slots; throttling needs a server with one"),
    ],
)
def test_slowdowns_that_servers_cannot_have(server: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        two_cells(sites={"edge": SiteDescription(station=0, **server)})


def test_storage_of_sites_and_devices() -> None:
    devices = replace(flat_compute().devices, storage_bytes=ListedPerUser((10.0, 20.0)))
    w = two_cells(sites={"edge": SiteDescription(storage_bytes=30)}, devices=devices)
    spaces = [w.network.sites[name].storage.capacity_bytes for name in ("edge", "user0", "user1", "server")]
    assert spaces == [30, 10, 20, float("inf")]


def test_storage_of_a_device_is_not_negative() -> None:
    devices = replace(flat_compute().devices, storage_bytes=ListedPerUser((0.0, -1.0)))
    with pytest.raises(ValueError, match=r"^the storage of user 1 is -1 bytes; it must not be negative$"):
        two_cells(devices=devices)


@pytest.mark.parametrize("name", ["server", "server3", "user", "user0", "station1", "core", "my site", ""])
def test_a_site_cannot_have_the_name_of_another_node(name: str) -> None:
    with pytest.raises(ValueError, match=f'^"{name}" cannot name a site'):
        two_cells(sites={name: SiteDescription()})


def test_a_site_at_a_station_has_no_delay_of_its_own() -> None:
    with pytest.raises(ValueError, match=r"^delay_s must be 0 for a site at a station, but is 0.1$"):
        SiteDescription(station=0, delay_s=0.1)
    with pytest.raises(ValueError, match="edge stands at station 2; there are 2, from 0"):
        two_cells(sites={"edge": SiteDescription(station=2)})
