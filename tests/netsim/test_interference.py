"""Interference: closed forms, and storms of transmissions in several cells against brute force, block by block."""

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from math import inf, log2, pi
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from stepping import Sending, Stepping
from worlds import flat_network, world

from netsim.description import BandDescription, SharingDescription
from netsim.geometry import Explicit, Stations
from netsim.radio.band import COMPLETE, ChannelSignals
from netsim.radio.flow.medium import FlowMedium
from netsim.radio.flow.together import AllTogether
from netsim.radio.flow.transmission import FlowTransmission
from netsim.radio.interference import Downlink, Interference, Powers, Uplink, couple_interference
from netsim.radio.link import MulticastLink, RadioLink
from netsim.radio.scheduling import Contenders, EqualShares, FixedShares, RoundRobin, SchedulingGrant, SchedulingPolicy

Process = Generator[simpy.Event, Any, None]
BAND_HZ = 1e6
SERVED_BY = [0, 0, 1, 1, 2, 2]  # six users, three stations
GAINS = np.array([[1.0, 0.2, 0.01], [0.7, 0.1, 0.3], [0.3, 1.5, 0.2], [0.05, 0.8, 0.2], [0.1, 0.6, 0.9], [0.0, 0.1, 2]])
POWERS = Powers(GAINS, np.array([1.0, 2.0, 0.5, 1.0, 3.0, 1.0]), 4.0, 1e-6, 2e-6)


@dataclass
class Repeated:
    """Gains that repeat a list, one value a block."""

    values: list[float]
    coherence_time_s: float

    def power_gains(self, key: int, blocks: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.array(self.values)[blocks % len(self.values)]


@dataclass(eq=False)
class CellSending(Sending):
    """Bits to or from users of one station, over links that fade as lists say: one for each receiver."""

    receivers: tuple[int, ...] = ()
    fading: list[list[float]] = field(default_factory=list)


@dataclass
class SteppingCells(Stepping):
    """Bands that disturb each other, in plain loops: first all grants, then what everybody hears of everybody else."""

    channels: list[int] = field(default_factory=list)

    def _rates(self, active: Any, now_s: float) -> list[float]:
        grants: dict[int, SchedulingGrant] = {}
        for station in range(3):
            here = [one for one in active if SERVED_BY[one.receivers[0]] == station]
            attached = [user for user in range(6) if SERVED_BY[user] == station]
            given = self.scheduler.grants(Contenders(here), attached, now_s) if here else []
            grants |= {id(one): grant for one, grant in zip(here, given, strict=True)}
        return [self._rate(one, active, grants, one.block(now_s)) for one in active]

    def _rate(
        self, one: CellSending, active: list[CellSending], grants: dict[int, SchedulingGrant], block: int
    ) -> float:
        band_hz, station = grants[id(one)].band * self.bandwidth_hz, SERVED_BY[one.receivers[0]]
        ratios = []
        for user, fading in zip(one.receivers, one.fading, strict=True):
            heard_w = 0.0
            for other in active:
                there = SERVED_BY[other.receivers[0]]
                if there == station or self.channels[there] != self.channels[station]:
                    continue
                grant = grants[id(other)]
                if self.spread:
                    heard_w += POWERS.station_w * grant.band * grant.radiated * GAINS[user, there]
                else:
                    heard_w += POWERS.users_w[other.receivers[0]] * grant.radiated * GAINS[other.receivers[0], station]
            noise = POWERS.user_noise_w_per_hz if self.spread else POWERS.station_noise_w_per_hz
            sent_w = POWERS.station_w if self.spread else POWERS.users_w[user]
            density = sent_w * GAINS[user, station] / (self.bandwidth_hz if self.spread else band_hz)
            ratios.append(density * fading[block % len(fading)] / (noise + heard_w / self.bandwidth_hz))
        return grants[id(one)].time * band_hz * log2(1 + min(ratios))


class Cells:
    """Three media that disturb each other, and what became of their transmissions."""

    def __init__(self, law: Any, channels: list[int], *, spread: bool, block_s: float, together: bool = False) -> None:
        self.env = simpy.Environment()
        self.spread, self.block_s = spread, block_s
        attached = [[user for user in range(6) if SERVED_BY[user] == station] for station in range(3)]
        self.media = [FlowMedium(self.env, BAND_HZ, law.scheduler(), users, spread=spread) for users in attached]
        if together:
            for medium in self.media:
                medium.ongoing.few = medium.ongoing.many = 0
        couple_interference(self.env, Downlink(POWERS) if spread else Uplink(POWERS), self.media, channels)
        self.ended: dict[int, tuple[float, FlowTransmission]] = {}

    def link(self, user: int, fading: list[float]) -> RadioLink:
        noise = POWERS.user_noise_w_per_hz if self.spread else POWERS.station_noise_w_per_hz
        sent_w = POWERS.station_w if self.spread else POWERS.users_w[user]
        return RadioLink(sent_w * GAINS[user, SERVED_BY[user]] / noise, Repeated(fading, self.block_s), 0)

    def send(self, number: int, one: CellSending) -> None:
        self.env.process(self._send(number, one))

    def _send(self, number: int, one: CellSending) -> Process:
        yield self.env.timeout(one.start_s)
        links = [self.link(user, fading) for user, fading in zip(one.receivers, one.fading, strict=True)]
        medium = self.media[SERVED_BY[one.receivers[0]]]
        transmission = medium.begin(links[0] if len(links) == 1 else MulticastLink(links), one.receivers, one.bits)
        timer = self.env.timeout(one.until_s - one.start_s) if one.until_s < inf else self.env.event()
        yield transmission.done | timer
        medium.end(transmission)
        self.ended[number] = self.env.now, transmission


def one_of(user: int, bits: float, start_s: float = 0.0, until_s: float = inf) -> CellSending:
    return CellSending(user, start_s, until_s, bits, [], (user,), [[1.0]])


def test_a_neighbour_disturbs_for_as_long_as_it_sends() -> None:
    """Downlink, both stations of a channel, no fading: the rate of user 0 falls for one second and comes back."""
    cells = Cells(EqualShares(), [0, 0, 1], spread=True, block_s=inf)
    clean_bps = BAND_HZ * log2(1 + 4.0 * 1.0 / 1e-6 / BAND_HZ)
    disturbed_bps = BAND_HZ * log2(1 + 4.0 * 1.0 / BAND_HZ / (1e-6 + 4.0 * 0.2 / BAND_HZ))
    cells.send(0, one_of(0, clean_bps + disturbed_bps))
    cells.send(1, one_of(2, 1e9, start_s=0.5, until_s=1.5))
    cells.send(2, one_of(4, 1e9, start_s=0.0, until_s=3.0))  # on another channel
    cells.env.run()
    end_s, transmission = cells.ended[0]
    assert end_s == pytest.approx(2.0, rel=1e-12)
    clean, disturbed = 4.0, 4.0 / (1 + 0.8)
    assert transmission.mean_snr() == pytest.approx((clean + disturbed) / 2, rel=1e-12)


def test_stations_of_other_channels_do_not_couple_interference() -> None:
    cells = Cells(EqualShares(), [0, 1, 2], spread=True, block_s=inf)
    for number, user in enumerate((0, 2, 4)):
        cells.send(number, one_of(user, 1e6))
    cells.env.run()
    for number, user in enumerate((0, 2, 4)):
        alone_bps = BAND_HZ * log2(1 + 4.0 * GAINS[user, number])
        assert cells.ended[number][0] == pytest.approx(1e6 / alone_bps, rel=1e-12)


@pytest.mark.parametrize("channels", [[0, 0, 0], [0, 1, 0], [0, 1, 2]])
@pytest.mark.parametrize("policy", [EqualShares(), FixedShares()])
def test_a_channel_is_rated_once_an_instant(
    policy: SchedulingPolicy, channels: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many of its stations begin or end to send at that instant, also where shares of the band are fixed."""
    rated: list[AllTogether] = []
    look_ahead = AllTogether._look_ahead
    monkeypatch.setattr(AllTogether, "_look_ahead", lambda self: (rated.append(self), look_ahead(self)))
    cells = Cells(policy, channels, spread=True, block_s=inf, together=True)
    for user in range(6):
        cells.send(user, one_of(user, 1e9, until_s=1.0))
    cells.env.run(0.5)
    assert len(rated) == len(set(rated)) == len(set(channels))


def test_channels_of_stations() -> None:
    assert Interference().channels(4) == [0, 0, 0, 0]
    assert Interference(reuse=3).channels(7) == [0, 1, 2, 0, 1, 2, 0]
    assert Interference(reuse=3, channels_of_stations=(5, 5)).channels(2) == [5, 5]
    with pytest.raises(ValueError, match="channels of 2 stations are given, but there are 3 stations"):
        Interference(channels_of_stations=(0, 0)).channels(3)


gains = st.lists(st.sampled_from([0.0, 0.2, 1.0, 3.0]), min_size=1, max_size=5).filter(any)
instants = st.one_of(st.floats(0, 3), st.integers(0, 30).map(lambda k: k * 0.1))
sendings = st.tuples(instants, st.floats(1.0, 1e6), st.one_of(st.just(inf), st.floats(0.01, 2.0)), gains)
up_storms = st.lists(st.tuples(st.integers(0, 5).map(lambda user: (user,)), sendings), min_size=2, max_size=7)
groups = st.sampled_from([(0,), (1,), (2,), (3,), (4,), (5,), (0, 1), (2, 3), (4, 5)])
others = st.lists(st.sampled_from([0.2, 1.0, 3.0]), min_size=1, max_size=5)  # so that both receivers hear at times
down_storms = st.lists(st.tuples(groups, sendings, others), min_size=2, max_size=7)
channels = st.sampled_from([[0, 0, 0], [0, 0, 1], [1, 0, 1]])
laws = st.sampled_from([EqualShares(), RoundRobin(), FixedShares(), FixedShares((0.3, 0.1, 0.6, 0.4, 0.5, 0.2))])


def compare(storm: list[CellSending], law: Any, channels: list[int], spread: bool, block_s: float) -> None:
    SteppingCells(BAND_HZ, law.scheduler(), [], spread, 1.0, block_s, channels).run(list(storm))
    for together in (False, True):
        check(storm, Cells(law, channels, spread=spread, block_s=block_s, together=together))


def check(storm: list[CellSending], cells: Cells) -> None:
    for number, one in enumerate(storm):
        cells.send(number, one)
    cells.env.run()
    for number, one in enumerate(storm):
        end_s, transmission = cells.ended[number]
        assert end_s == pytest.approx(one.end_s, rel=1e-8, abs=1e-8)
        assert transmission.delivered_bits == pytest.approx(one.delivered_bits, abs=2 * COMPLETE * one.bits)
        assert 0 <= transmission.remaining_bits <= transmission.bits


@settings(deadline=None, max_examples=80)
@given(up_storms, laws, channels, st.sampled_from([0.1, 0.037, 1.7]))
def test_uplink_storms_against_brute_force(storm: list[Any], law: Any, channels: list[int], block_s: float) -> None:
    """At most one transmission of a user at a time, as its radio sees to."""
    users: dict[int, CellSending] = {}
    for users_of, (start_s, bits, patience_s, fading) in storm:
        users[users_of[0]] = CellSending(0, start_s, start_s + patience_s, bits, [], users_of, [fading])
    compare(list(users.values()), law, channels, False, block_s)


@settings(deadline=None, max_examples=80)
@given(down_storms, laws, channels, st.sampled_from([0.1, 0.037, 1.7]))
def test_downlink_storms_with_broadcasts_against_brute_force(
    storm: list[Any], law: Any, channels: list[int], block_s: float
) -> None:
    taken: set[int] = set()
    kept = []
    for receivers, (start_s, bits, patience_s, fading), other in storm:
        if not taken & set(receivers):
            taken |= set(receivers)
            each = [fading, other][: len(receivers)]
            kept.append(CellSending(0, start_s, start_s + patience_s, bits, [], receivers, each))
    compare(kept, law, channels, True, block_s)


def test_a_network_of_two_cells_in_closed_form() -> None:
    """Two stations 400 m apart in free space, their users 100 m from each: both directions, both links at once."""
    flat = flat_network(2)
    network = replace(
        flat,
        stations=replace(flat.stations, placement=Stations(((0.0, 0.0), (400.0, 0.0)))),
        users=replace(flat.users, placement=Explicit(((100.0, 0.0), (300.0, 0.0))), antenna_gain_db=3.0),
        sharing=SharingDescription(BandDescription(1.0, EqualShares()), BandDescription(2.0, EqualShares())),
        interference=Interference(),
    )
    noise = 10 ** (-174 / 10) / 1000
    near, far = (10**0.3 * (299_792_458.0 / (4 * pi * metres * 1e9)) ** 2 for metres in (100.0, 300.0))
    for direction, power_w, band_hz in (("up", 0.1, 1e6), ("down", 1.0, 2e6)):
        w = world(network)
        server = w.network.server
        w.run(
            *(
                user.send(server, 1e6, "x") if direction == "up" else server.send(user, 1e6, "x")
                for user in w.network.users
            )
        )
        sinr = power_w * near / (noise * band_hz + power_w * far)
        for row in w.rows("transfers"):
            assert row["mean_rate_bps"] == pytest.approx(band_hz * log2(1 + sinr), rel=1e-9)
    w = world(replace(network, interference=Interference(reuse=2)))
    w.run(*(user.send(w.network.server, 1e6, "x") for user in w.network.users))
    for row in w.rows("transfers"):
        assert row["mean_rate_bps"] == pytest.approx(1e6 * log2(1 + 0.1 * near / (noise * 1e6)), rel=1e-9)


def test_all_receivers_at_once_hear_what_each_hears_by_itself() -> None:
    """Bit for bit: powers of all other stations, at random, for signals to one or several users."""
    random = np.random.default_rng(5)
    for stations in (1, 2, 7, 19, 57):
        powers = replace(POWERS, gains=random.exponential(size=(60, stations)))
        receivers = [random.integers(60, size=count) for count in (1, 3, 2, 1, 4)]
        served_by = random.integers(stations, size=len(receivers))
        signals = ChannelSignals(
            served_by,
            np.array([users[0] for users in receivers]),
            random.random(len(receivers)),
            random.random(len(receivers)),
            np.concatenate(receivers),
            np.repeat(served_by, [len(users) for users in receivers]),
        )
        sent_w = np.zeros(stations)
        for station, band, radiated in zip(served_by, signals.band, signals.radiated, strict=True):
            sent_w[station] += powers.station_w * band * radiated
        heard_hz = Downlink(powers).interference_hz(signals).tolist()
        for user, station, found in zip(signals.receivers, signals.served_by, heard_hz, strict=True):
            received_w = powers.gains[user] * sent_w
            received_w[station] = 0.0
            assert found == received_w.sum() / powers.user_noise_w_per_hz
