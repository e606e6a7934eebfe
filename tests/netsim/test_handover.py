"""Users that move while they send: brute force from look to look, handovers, storms that lose and double nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import cos, hypot, inf, log2, pi, radians, sin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import Process, World, flat_network, interrupted, world

from netsim.description import (
    BandDescription,
    MobilityDescription,
    NetworkDescription,
    SharingDescription,
)
from netsim.geometry import Explicit, Point, Stations
from netsim.handover import Handover, Triggers
from netsim.mobility import Straight
from netsim.nodes import UserNode
from netsim.radio.fidelity import Fidelity, Flow, Slots
from netsim.radio.interference import Interference
from netsim.radio.power_control import PowerControl
from netsim.radio.scheduling import EqualShares, FixedShares, SchedulingPolicy

SITES: list[Point] = [(0.0, 0.0), (400.0, 0.0), (200.0, 300.0)]
NOISE_W_PER_HZ = 10 ** (-174 / 10) / 1000
BAND_HZ = 1e6
LAW = Handover(hysteresis_db=2.0, time_to_trigger_s=0.3, interruption_s=0.13)


def moving(
    starts: tuple[Point, ...],
    speed_kmh: float = 360.0,
    heading_deg: float = 0.0,
    handover: Handover | None = LAW,
    sharing: SchedulingPolicy | None = None,
    interference: Interference | None = None,
) -> NetworkDescription:
    """Three stations in free space without fading; users go straight on."""
    flat, sharing = flat_network(len(starts)), sharing or EqualShares()
    return replace(
        flat,
        stations=replace(flat.stations, placement=Stations(tuple(SITES))),
        users=replace(flat.users, placement=Explicit(starts)),
        sharing=SharingDescription(BandDescription(1.0, sharing), BandDescription(1.0, sharing)),
        interference=interference,
        mobility=MobilityDescription(Straight(1e6, speed_kmh, heading_deg), interval_s=0.1),
        handover=handover,
    )


@dataclass
class Sending:
    """A user's one uplink transfer."""

    user: int
    start_s: float
    bits: float
    left_bits: float = field(default=0.0, init=False)
    end_s: float = field(default=inf, init=False)


@dataclass
class Walkers:
    """The same world in plain loops: users, gains and attachment are looked at every 0.1 s, rates at every change."""

    starts: tuple[Point, ...]
    speed_m_per_s: float
    heading_deg: float
    handover: Handover | None
    interference: bool
    share: Callable[[int, int], float]  # of active and attached users
    handovers: list[tuple[int, float, int, int]] = field(default_factory=list)

    def run(self, sendings: list[Sending]) -> None:
        self.gains = [self._gains(user, 0.0) for user in range(len(self.starts))]
        self.serving = [max(range(3), key=gains.__getitem__) for gains in self.gains]
        self.back_s = [0.0] * len(self.starts)
        self.since_s: dict[tuple[int, int], float] = {}
        for one in sendings:
            one.left_bits = one.bits
        now_s, looks = 0.0, 0
        while any(one.end_s == inf for one in sendings):
            active = [
                one
                for one in sendings
                if one.start_s <= now_s < one.end_s and self.back_s[one.user] <= now_s and one.left_bits > 0
            ]
            rates = {id(one): self._rate(one, active) for one in active}
            times = [one.start_s for one in sendings] + self.back_s + [(looks + 1) * 0.1]
            ends = [now_s + one.left_bits / rates[id(one)] for one in active]
            next_s = min(time_s for time_s in times + ends if time_s > now_s)
            for one in active:
                one.left_bits -= rates[id(one)] * (next_s - now_s)
                if one.left_bits <= 1e-9 * one.bits:
                    one.left_bits, one.end_s = 0.0, next_s
            now_s = next_s
            if now_s == (looks + 1) * 0.1:
                looks += 1
                self._look(now_s)

    def _gains(self, user: int, now_s: float) -> list[float]:
        x, y = self.starts[user]
        ahead, angle = self.speed_m_per_s * now_s, radians(self.heading_deg)
        x, y = x + ahead * cos(angle), y + ahead * sin(angle)
        distances = [max(10.0, hypot(x - a, y - b)) for a, b in SITES]
        return [(299_792_458.0 / (4 * pi * distance * 1e9)) ** 2 for distance in distances]

    def _rate(self, one: Sending, active: list[Sending]) -> float:
        station = self.serving[one.user]
        here = sum(self.serving[other.user] == station for other in active)
        band_hz = BAND_HZ * self.share(here, self.serving.count(station))
        heard_w = sum(0.1 * self.gains[o.user][station] for o in active if self.serving[o.user] != station)
        noise = NOISE_W_PER_HZ + (heard_w / BAND_HZ if self.interference else 0.0)
        return band_hz * log2(1 + 0.1 * self.gains[one.user][station] / (noise * band_hz))

    def _look(self, now_s: float) -> None:
        for user in range(len(self.starts)):
            self.gains[user] = self._gains(user, now_s)
            if self.handover is None:
                continue
            gains, own = self.gains[user], self.gains[user][self.serving[user]]
            for station in range(3):
                if gains[station] > own * 10 ** (self.handover.hysteresis_db / 10):
                    self.since_s.setdefault((user, station), now_s)
                else:
                    self.since_s.pop((user, station), None)
            ripe = [
                station
                for station in range(3)
                if now_s - self.since_s.get((user, station), inf) >= self.handover.time_to_trigger_s - 1e-9
            ]
            if ripe and self.back_s[user] <= now_s:
                best = max(ripe, key=gains.__getitem__)
                self.handovers.append((user, now_s, self.serving[user], best))
                self.serving[user], self.back_s[user] = best, now_s + self.handover.interruption_s
                for station in range(3):
                    self.since_s.pop((user, station), None)


coordinates = st.tuples(st.floats(-300, 500), st.floats(-200, 400))
storms = st.lists(st.tuples(coordinates, st.floats(0, 2), st.floats(1e5, 8e7)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=40)
@given(
    storms,
    st.sampled_from([36.0, 360.0, 900.0]),
    st.floats(-180, 180),
    st.sampled_from([None, LAW, Handover(0.0, 0.0, 0.0), Handover(1.0, 0.1, 0.35)]),
    st.booleans(),
    st.booleans(),
)
def test_storms_of_moving_users_against_brute_force(
    storm: list[tuple[Point, float, float]],
    speed_kmh: float,
    heading_deg: float,
    handover: Handover | None,
    disturbed: bool,
    fixed: bool,
) -> None:
    starts = tuple(start for start, _, _ in storm)
    sendings = [Sending(user, start_s, bits) for user, (_, start_s, bits) in enumerate(storm)]

    def share(active: int, attached: int) -> float:
        return 1 / (attached if fixed else active)

    walkers = Walkers(starts, speed_kmh / 3.6, heading_deg, handover, disturbed, share)
    walkers.run(sendings)
    law = FixedShares() if fixed else EqualShares()
    w = world(moving(starts, speed_kmh, heading_deg, handover, law, Interference() if disturbed else None))

    def send(one: Sending) -> Process:
        yield w.env.timeout(one.start_s)
        yield from w.network.users[one.user].send(w.network.server, one.bits, "x")

    w.run(*(send(one) for one in sendings))
    rows = {row["user"]: row for row in w.rows("transfers")}
    for one in sendings:
        assert rows[one.user]["end_s"] == pytest.approx(one.end_s, rel=1e-7, abs=1e-7)
        assert rows[one.user]["lost"] == 0
    last_s = max(one.end_s for one in sendings) - 1e-6
    seen = [(row["user"], row["time_s"], row["from_station"], row["to_station"]) for row in w.rows("handovers")]
    expected = [one for one in walkers.handovers if one[1] < last_s]
    assert [one for one in seen if one[1] < last_s] == [pytest.approx(one) for one in expected]


def test_one_handover_in_closed_form() -> None:
    """At 100 m/s from one station to another: 2 dB better from 222.9 m on, seen at 230 m, triggered 0.3 s later."""
    w = world(moving(((100.0, 0.0),)))
    w.network.record_users()
    w.run(w.network.users[0].send(w.network.server, 5e7, "x"))
    (handover,) = w.rows("handovers")
    assert handover == {
        "user": 0,
        "time_s": pytest.approx(1.6),
        "from_station": 0,
        "to_station": 1,
        "interruption_s": 0.13,
    }
    (row,) = w.rows("transfers")
    assert (row["node"], row["lost"], row["attempts"], row["wait_s"]) == ("station1", 0.0, 1, pytest.approx(0.13))
    assert row["airtime_s"] == pytest.approx(row["end_s"] - 0.13)
    assert row["energy_j"] == pytest.approx(row["airtime_s"] * (0.1 / 0.5 + 0.1), rel=1e-9)
    places = w.rows("positions")
    assert [(p["x_m"], p["station"]) for p in places[:2]] == [(100.0, 0), (pytest.approx(110.0), 0)]
    assert places[17] == {
        **places[17], "time_s": pytest.approx(1.7), "x_m": pytest.approx(270.0), "y_m": 0.0, "station": 1
    }  # fmt: skip


def test_slots_agree_with_the_flow_across_a_handover() -> None:
    """Without fading both carry the same from slot to slot; a slot that is cut off by the handover is sent again."""
    ends_s = []
    for fidelity in (Flow(), Slots(0.001)):
        network = moving(((100.0, 0.0),))
        band = replace(network.sharing.uplink, fidelity=fidelity)
        w = world(replace(network, sharing=SharingDescription(band, band)))
        w.run(w.network.users[0].send(w.network.server, 5e7, "x"))
        (row,) = w.rows("transfers")
        assert (row["node"], row["lost"], row["wait_s"]) == ("station1", 0.0, pytest.approx(0.13, abs=2e-3))
        ends_s.append(row["end_s"])
    assert ends_s[1] == pytest.approx(ends_s[0], abs=3e-3)


@pytest.mark.parametrize("fidelity", [Flow(), Slots(0.001, 4)])
@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("instant_s", [1.65, 1.9], ids=["between stations", "at the next station"])
@pytest.mark.parametrize("goes_away", [False, True])
def test_what_is_given_up_after_a_handover_leaves_the_next_station_to_others(
    fidelity: Fidelity, way: str, instant_s: float, goes_away: bool
) -> None:
    """User 0 goes to station 1 from 1.6 to 1.73 s with a transfer that is given up then: user 1 has the band alone."""
    ends_s = []
    for user_0_sends in (True, False):
        network = moving(((100.0, 0.0), (380.0, 20.0)))
        band = replace(network.sharing.uplink, fidelity=fidelity)
        w = world(replace(network, sharing=SharingDescription(band, band)))
        user, other = w.network.users

        def transfer(of: UserNode, bits: float, w: World = w) -> Process:
            yield from of.send(w.network.server, bits, "x") if way == "up" else w.network.server.send(of, bits, "x")

        def later(w: World = w, other: UserNode = other, transfer: Callable[..., Process] = transfer) -> Process:
            yield w.env.timeout(2.0)
            assert not [one for s in w.network.stations for b in (s.uplink, s.downlink) for one in b.band.sending()]
            yield from transfer(other, 1e6)

        user.presence.steady = False
        if user_0_sends and goes_away:
            w.at(instant_s, lambda user=user: user.presence.leave("outage"))  # type: ignore[misc]
            w.run(interrupted(w, transfer(user, 1e9), inf), later())
        elif user_0_sends:
            w.run(interrupted(w, transfer(user, 1e9), instant_s), later())
        else:
            w.run(later())
        if user_0_sends:
            row = w.rows("transfers")[0]
            assert (row["user"], row["node"], row["end_s"]) == (0, "station1", instant_s)
            assert 0 < row["lost"] < 1e9
        ends_s.append(w.rows("transfers")[-1]["end_s"])
    assert ends_s[0] == ends_s[1]


def test_a_transfer_asked_for_between_two_stations_waits_for_the_next() -> None:
    w = world(moving(((100.0, 0.0),)))
    user = w.network.users[0]

    def late() -> Process:
        yield w.env.timeout(1.65)
        yield from w.network.server.send(user, 1e6, "x")

    w.run(late())
    (row,) = w.rows("transfers")
    assert (row["node"], row["wait_s"]) == ("station1", pytest.approx(1.73 - 1.65))


def test_a_broadcast_keeps_its_receivers() -> None:
    """User 0 is ripe for station 1 while it receives with user 1: it goes when that is over."""
    w = world(moving(((100.0, 0.0), (-900.0, 0.0))))
    w.run(w.network.server.broadcast(w.network.users, 1e8, "model"))
    rows = w.rows("transfers")
    assert [(row["node"], row["wait_s"]) for row in rows] == [("station0", 0.0)] * 2
    assert rows[0]["end_s"] > 2.0
    w.run(w.network.server.send(w.network.users[0], 1e7, "x"))
    (handover,) = (row for row in w.rows("handovers") if row["user"] == 0)
    assert rows[0]["end_s"] < handover["time_s"] < rows[0]["end_s"] + 0.1 + 1e-9


def test_power_follows_the_way_of_a_user() -> None:
    """With alpha one each transfer begins at the received power asked for, and keeps its own to its end."""
    network = moving(((50.0, 0.0),), handover=None)
    network = replace(network, users=replace(network.users, power_control=PowerControl(-75.0, 1.0)))
    w = world(network)

    def twice() -> Process:
        for _ in range(2):
            yield from w.network.users[0].send(w.network.server, 1e3, "x")
            yield w.env.timeout(1.05)

    w.run(twice())
    first, second = w.rows("transfers")
    assert first["mean_snr_db"] == pytest.approx(second["mean_snr_db"], abs=1e-9)
    drawn = [row["energy_j"] / row["airtime_s"] - 0.1 for row in (first, second)]
    assert drawn[1] / drawn[0] == pytest.approx((150.0 / 50.0) ** 2, rel=1e-9)  # at 1.0 s it is at 150 m


def test_triggers_by_hand() -> None:
    triggers = Triggers(Handover(3.0, 0.2), 1, 3)
    two_db, four_db, six_db = (10 ** (x / 10) for x in (2.0, 4.0, 6.0))
    looks = [  # instant, gains of stations, who is to go
        (0.0, [1.0, four_db, 0.5], {}),
        (0.1, [1.0, two_db, six_db], {}),  # station 1 is no longer better by 3 dB
        (0.2, [1.0, six_db, four_db], {}),
        (0.3, [1.0, six_db, four_db], {0: 2}),  # station 2 has been for 0.2 s, station 1 for 0.1 s
        (0.4, [1.0, six_db, four_db], {0: 1}),  # both have been
    ]
    for now_s, gains, going in looks:
        assert triggers.due(now_s, np.array([gains]), [0]) == going
    triggers.forget(0)
    assert triggers.due(0.5, np.array([[1.0, six_db, four_db]]), [0]) == {}


def test_handover_needs_motion() -> None:
    with pytest.raises(ValueError, match="users that stand still are never handed over"):
        world(replace(moving(((0.0, 50.0),)), mobility=None))


def test_users_that_stand_still_cost_nothing() -> None:
    w = world(replace(moving(((0.0, 50.0),)), mobility=None, handover=None))
    w.network.record_users()
    w.run(w.network.users[0].send(w.network.server, 1e6, "x"))
    assert w.network.motion is None
    assert not w.rows("positions")


def test_a_world_that_moves_comes_to_an_end() -> None:
    """Looks stop when nothing else is going to happen."""
    w = world(moving(((0.0, 50.0),)))
    w.env.process(w.network.users[0].send(w.network.server, 1e6, "x"))
    w.env.run()
    assert w.env.now < 0.5
