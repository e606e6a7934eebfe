"""Sharing slot by slot: who gets what in plain counts, bits and joules in closed form, and what the flow says."""

from dataclasses import dataclass, replace
from math import ceil, floor, inf, log2

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from worlds import Process, World, flat_network, world

from netsim.description import BandDescription, SharingDescription
from netsim.radio.fading import Rayleigh
from netsim.radio.fidelity import Flow, Slots
from netsim.radio.link import RadioLink
from netsim.radio.nr.adaptation import MCS_OF_CQI, report
from netsim.radio.rate import AdaptiveModulation, Shannon
from netsim.radio.scheduling import (
    Controlled,
    EqualShares,
    FixedShares,
    FixedTimes,
    MaxRate,
    ProportionalFair,
    RoundRobin,
    SchedulingGrant,
    SchedulingPolicy,
)
from netsim.radio.slot.adaptive import Adaptive
from netsim.radio.slot.dealing import BestLinks, GrantedShares
from netsim.radio.slot.medium import SlotMedium
from netsim.radio.slot.transmission import SlotTransmission
from netsim.radio.window import ArrayWindow, Window
from netsim.streams import Streams
from stats import assert_mean

TTI_S = 1e-3
SLOTS = Slots(TTI_S, 10)


def nothing_promised() -> NDArray[np.float64]:
    raise AssertionError("grants alone decide")


def dealt(parts: GrantedShares, slots: int, start: int = 0) -> NDArray[np.int64]:
    """The owner of each resource block (columns) in each slot."""
    return np.array([parts.owners(start + number, nothing_promised) for number in range(slots)])


shares = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=12).map(lambda parts: np.array(parts) / sum(parts))


@settings(deadline=None, max_examples=40)
@given(shares, st.integers(1, 20), st.floats(0.3, 1.0), st.integers(0, 10**6))
def test_every_slot_deals_parts_of_the_band(parts: NDArray[np.float64], blocks: int, used: float, start: int) -> None:
    """Each gets its number of blocks rounded up or down, over many slots its part, and nobody the rest."""
    dealer, slots = GrantedShares(blocks), 200
    dealer.joined([SchedulingGrant(part * used) for part in parts.tolist()], nothing_promised)
    owners = dealt(dealer, slots, start)
    for row, part in enumerate((parts * used).tolist()):
        counts = (owners == row).sum(axis=1)
        assert floor(part * blocks - 1e-9) <= counts.min() <= counts.max() <= ceil(part * blocks + 1e-9)
        assert counts.mean() == pytest.approx(part * blocks, abs=10 * np.log(slots) / slots)
    assert (owners >= -1).all()
    assert (owners < len(parts)).all()


def test_every_signal_gets_every_resource_block_in_turn() -> None:
    dealer = GrantedShares(4)
    dealer.joined([SchedulingGrant(1 / 2)] * 2, nothing_promised)
    owners = np.array([dealer.owners(number, nothing_promised) for number in range(4)])
    assert ((owners == 0).sum(axis=0) == 2).all()
    assert ((owners == 1).sum(axis=0) == 2).all()


@settings(deadline=None, max_examples=40)
@given(shares, st.floats(0.3, 1.0))
def test_slots_go_to_whoever_is_owed_most(times: NDArray[np.float64], used: float) -> None:
    """After any number of slots nobody lags behind its part of them by more than a round of the others."""
    dealer, slots = GrantedShares(4), 300
    dealer.joined([SchedulingGrant(1.0, time * used * 0.999) for time in times.tolist()], nothing_promised)
    owners = dealt(dealer, slots)
    assert (owners == owners[:, :1]).all()
    for row, time in enumerate((times * used * 0.999).tolist()):
        behind = time * np.arange(1, slots + 1) - np.cumsum(owners[:, 0] == row)
        assert np.abs(behind).max() <= len(times)


def test_round_robin_is_in_turns_also_after_somebody_left_and_another_came() -> None:
    dealer = GrantedShares(3)
    dealer.joined([SchedulingGrant(1.0, 1 / 4)] * 4, nothing_promised)
    assert dealt(dealer, 8)[:, 0].tolist() == [0, 1, 2, 3] * 2
    dealer.keep(np.array([True, False, True, True]))
    dealer.joined([SchedulingGrant(1.0, 1 / 3)] * 3, nothing_promised)
    assert sorted(dealt(dealer, 3)[:, 0].tolist()) == [0, 1, 2]
    dealer.joined([SchedulingGrant(1.0, 1 / 4)] * 4, nothing_promised)
    turns = dealt(dealer, 400)[:, 0]
    assert np.bincount(turns).tolist() == [100] * 4
    assert all(len(set(turns[at : at + 4].tolist())) == 4 for at in range(0, 400, 4))


def test_newcomers_are_not_behind_for_what_they_missed() -> None:
    """A thousand come and go; who comes then gets its turn within a round."""
    dealer = GrantedShares(1)
    dealer.joined([SchedulingGrant(1.0, 0.5)] * 2, nothing_promised)
    for _ in range(1000):
        while dealt(dealer, 1)[0, 0] != 1:
            pass
        dealer.keep(np.array([True, False]))
        dealer.joined([SchedulingGrant(1.0, 0.5)] * 2, nothing_promised)
    assert 1 in dealt(dealer, 3)[:, 0].tolist()


def test_the_best_link_of_each_resource_block() -> None:
    rates = np.array([[1.0, 5.0, 0.0], [2.0, 4.0, 0.0]])
    best = BestLinks(3, None)
    best.joined([SchedulingGrant(1.0, 0.5)] * 2, lambda: rates)
    assert best.owners(0, lambda: rates).tolist() == [1, 0, -1]


def test_rates_over_average_rates() -> None:
    """The averages begin at the mean rate over the number of transmissions, and a tenth is forgotten a slot."""
    rates = np.array([[4.0], [1.0]])
    fair = BestLinks(2, 0.1)
    fair.joined([SchedulingGrant(1.0, 0.5)] * 2, lambda: rates)
    averages, order = np.array([2.0, 0.5]), []
    for number in range(50):
        owner = int(np.argmax(rates[:, 0] / averages))
        order.append(owner)
        assert fair.owners(number, lambda: rates).tolist() == [owner] * 2
        served = np.where(np.arange(2) == owner, rates[:, 0], 0.0)
        averages += 0.1 * (served - averages)
        fair.served(served)
    assert order.count(0) == 25


def network(law: SchedulingPolicy, users: int = 2, up: Slots = SLOTS) -> World:
    bands = SharingDescription(BandDescription(1.0, law, up), BandDescription(2.0, law, up))
    return world(replace(flat_network(users), sharing=bands))


def up_bps(w: World, band: float, power_w: float = 0.1) -> float:
    width_hz = band * 1e6
    return width_hz * log2(1 + power_w * w.network.users[0].uplink.gain_over_noise_hz_per_w / width_hz)


def test_alone() -> None:
    """Ten and a half slots of bits take eleven, and begin at the first slot after they were asked for."""
    w = network(EqualShares())

    def send() -> Process:
        yield w.env.timeout(0.3 * TTI_S)
        yield from w.network.users[0].send(w.network.server, 10.5 * TTI_S * up_bps(w, 1.0), "x")

    w.run(send())
    (row,) = w.rows("transfers")
    assert (row["start_s"], row["end_s"]) == pytest.approx((0.3 * TTI_S, 12 * TTI_S), rel=1e-12)
    assert row["energy_j"] == pytest.approx(0.1 * 11.7 * TTI_S + 0.2 * 11 * TTI_S, rel=1e-9)
    w.env.run()
    assert w.env.now == row["end_s"]  # nothing happens afterwards


@pytest.mark.parametrize(
    ("law", "band", "time"),
    [(EqualShares(), 0.2, 1.0), (FixedShares(), 0.2, 1.0), (RoundRobin(), 1.0, 0.2), (FixedTimes(), 1.0, 0.2)],
)
def test_five_users_in_closed_form(law: SchedulingPolicy, band: float, time: float) -> None:
    """Ten blocks for five users: every slot or every fifth one, with the power of the flow's closed form."""
    w, slots = network(law, 5), 200
    bits = slots * TTI_S * time * up_bps(w, band)
    w.run(*(user.send(w.network.server, bits, "x") for user in w.network.users))
    for row in w.rows("transfers"):
        assert row["end_s"] == pytest.approx(slots * TTI_S, abs=5 * TTI_S)
        # when the first have ended, the others radiate for larger parts of the last few slots
        assert row["energy_j"] == pytest.approx((0.1 + 0.2 * time) * row["airtime_s"], abs=0.2 * 5 * TTI_S)


def test_back_to_back_transfers_miss_no_slot() -> None:
    w = network(EqualShares())
    bits = 0.99 * TTI_S * up_bps(w, 1.0)

    def send() -> Process:
        for _ in range(500):
            yield from w.network.users[0].send(w.network.server, bits, "x")

    w.run(send())
    assert w.env.now == pytest.approx(500 * TTI_S, rel=1e-9)


def test_controlled_shares_and_powers_from_the_next_slot_on() -> None:
    w = network(Controlled(), 2)
    user = w.network.users[0]
    user.uplink.allocate(0.5, 0.02)

    def change() -> Process:
        yield w.env.timeout(0.1)
        user.uplink.allocate(0.3, 0.05)

    bits = 0.1 * up_bps(w, 0.5, 0.02) + 0.1 * up_bps(w, 0.3, 0.05)
    w.run(user.send(w.network.server, bits, "x"), change())
    (row,) = w.rows("transfers")
    assert row["end_s"] == pytest.approx(0.2, abs=2 * TTI_S)
    assert row["energy_j"] == pytest.approx(0.1 * (0.1 + 0.02 / 0.5) + (row["end_s"] - 0.1) * (0.1 + 0.05 / 0.5))


def test_what_is_given_up_within_a_slot_loses_that_slot() -> None:
    w = network(EqualShares(), 1)

    def give_up() -> Process:
        process = w.env.process(w.network.users[0].send(w.network.server, 1e9, "x"))
        yield w.env.timeout(3.5 * TTI_S)
        process.interrupt()
        with pytest.raises(simpy.Interrupt):
            yield process

    w.run(give_up())
    (row,) = w.rows("transfers")
    assert row["bits"] - row["lost"] == pytest.approx(3 * TTI_S * up_bps(w, 1.0), rel=1e-9)
    assert row["energy_j"] == pytest.approx(3.5 * TTI_S * 0.3, rel=1e-9)


@dataclass
class Coloured(RadioLink):
    """A link whose resource blocks have signals of their own."""

    signals_hz: list[float]

    def __hash__(self) -> int:
        return id(self)

    def window(self, start_s: float, blocks: int) -> Window:
        return ArrayWindow(np.array([start_s, inf]), np.array([self.signals_hz]), Shannon())

    def max_snr(self, spread_hz: float) -> float:
        return max(self.signals_hz) / spread_hz


def band(law: SchedulingPolicy, users: int, blocks: int, env: simpy.Environment, *, spread: bool = True) -> SlotMedium:
    built = Slots(1.0, blocks).band(env, float(blocks), law, law.scheduler(), range(users), Shannon(), 0, spread=spread)
    assert isinstance(built, SlotMedium)
    return built


def test_each_resource_block_has_its_own_signal() -> None:
    """Station power of 1 in each block of 1 Hz, slots of 1 s: bits are plain logarithms of each block's ratio."""
    env = simpy.Environment()
    medium = band(MaxRate(), 2, 3, env)
    links = [Coloured([3.0, 0.0, 6.0]), Coloured([9.0, 3.0, 3.0])]
    sent = [medium.begin(link, (user,), 1e3) for user, link in enumerate(links)]
    env.run(10.5)
    for transmission in sent:
        medium.end(transmission)
    expected = [10 * log2(1 + 6 / 3), 10 * (log2(1 + 9 / 3) + log2(1 + 3 / 3))]
    assert [each.delivered_bits for each in sent] == pytest.approx(expected)
    assert [each.mean_snr() for each in sent] == pytest.approx([6 / 3, (9 / 3 + 3 / 3) / 2])


@pytest.mark.parametrize("signals_hz", [[3e7, 3e5], [3e5, 3e7]])
def test_a_transport_block_is_as_good_as_all_its_resource_blocks(signals_hz: list[float]) -> None:
    """Its modulation and coding is that of the effective ratio of a good and a bad resource block, in either order."""
    env, rate, policy = simpy.Environment(), AdaptiveModulation(), EqualShares()
    medium = Slots(1e-3, 2).band(env, 3.6e5, policy, policy.scheduler(), range(1), rate, 0, spread=True)
    assert isinstance(medium, SlotMedium)
    medium.begin(Coloured(signals_hz), (0,), 1e6)
    env.run(0.5e-3)
    coding = medium._coding
    assert isinstance(coding, Adaptive)
    snr = np.array([signals_hz]) / 3.6e5
    (cqi,) = report(rate.table, snr, rate.block_bits, rate.target_error_rate)
    assert 0 < cqi < report(rate.table, snr.max(axis=1), rate.block_bits, rate.target_error_rate)[0]
    assert coding.mcs[0, 0] == MCS_OF_CQI[rate.table][cqi]


@pytest.mark.parametrize("delay_slots", [0, 1])
def test_modulation_and_coding_go_by_reports_of_this_age(delay_slots: int) -> None:
    class Rising(RadioLink):
        def window(self, start_s: float, blocks: int) -> Window:
            return ArrayWindow(np.array([0.0, 1e-3, inf]), np.array([3e5, 3e7]), Shannon())

    env, rate, policy = simpy.Environment(), AdaptiveModulation(), EqualShares()
    slots = Slots(1e-3, 1, cqi_delay_slots=delay_slots)
    medium = slots.band(env, 1.8e5, policy, policy.scheduler(), range(1), rate, 0, spread=True)
    assert isinstance(medium, SlotMedium)
    medium.begin(Rising(3e7, Rayleigh(), 0), (0,), 1e6)
    env.run(1.5e-3)
    coding = medium._coding
    assert isinstance(coding, Adaptive)
    known = np.array([3e7 if delay_slots == 0 else 3e5]) / 1.8e5
    expected = MCS_OF_CQI[rate.table][report(rate.table, known, rate.block_bits, rate.target_error_rate)[0]]
    assert coding.mcs.max() == expected


@pytest.mark.parametrize(("law", "ends"), [(RoundRobin(), (1, 2)), (MaxRate(), (1, 2)), (FixedTimes(), (1, 4))])
def test_what_is_left_of_a_slot_goes_to_the_next(law: SchedulingPolicy, ends: tuple[int, int]) -> None:
    """Ten blocks of 1 Hz in slots of 1 s, a bit in each: 3.5 bits leave six blocks to the other, if time is lent."""
    env = simpy.Environment()
    medium = band(law, 2, 10, env)
    ended: dict[int, float] = {}

    def send(user: int, bits: float) -> Process:
        yield medium.begin(Coloured([10.0 - 1e-9 * user] * 10), (user,), bits).done
        ended[user] = env.now

    env.process(send(0, 3.5))
    env.process(send(1, 15.5))
    env.run()
    assert (ended[0], ended[1]) == ends


def full_buffer(law: SchedulingPolicy, users: int, slots: int, seed: int) -> list[SlotTransmission]:
    """Users alike over Rayleigh blocks of one slot, at so little power that rates are proportional to it."""
    env = simpy.Environment()
    medium = band(law, users, 1, env)
    links = [RadioLink(1e-3, Rayleigh(1.0), Streams(seed).key("link", user)) for user in range(users)]
    sent = [medium.begin(link, (user,), 1e9) for user, link in enumerate(links)]
    env.run(slots + 0.5)
    for transmission in sent:
        medium.end(transmission)
    return sent


@pytest.mark.parametrize("law", [MaxRate(), ProportionalFair(500.0)])
def test_gains_over_rayleigh_are_harmonic_numbers(law: SchedulingPolicy) -> None:
    sums = [
        sum(each.delivered_bits for each in full_buffer(law, 4, 400, seed)) / (400 * 1e-3 * log2(np.e))
        for seed in range(8)
    ]
    assert_mean(sums, 1 + 1 / 2 + 1 / 3 + 1 / 4)


def test_known_late_is_known_badly() -> None:
    """Blocks of one slot, reported a slot late: the best report says nothing of the present, and nothing is gained."""
    env = simpy.Environment()
    medium = Slots(1.0, 1, cqi_delay_slots=1).band(env, 1.0, MaxRate(), MaxRate(), range(4), Shannon(), 0, spread=True)
    links = [RadioLink(1e-3, Rayleigh(1.0), Streams(1).key("link", user)) for user in range(4)]
    sent = [medium.begin(link, (user,), 1e9) for user, link in enumerate(links)]
    env.run(2000.5)
    for transmission in sent:
        medium.end(transmission)
    goodput = sum(each.delivered_bits for each in sent) / (2000 * 1e-3 * log2(np.e))
    assert goodput == pytest.approx(1.0, abs=4 / 2000**0.5)


@settings(deadline=None, max_examples=8)
@given(
    st.sampled_from([EqualShares(), RoundRobin(), FixedShares(), FixedTimes()]),
    st.lists(st.tuples(st.floats(0, 1), st.floats(1e6, 6e6)), min_size=5, max_size=5),
)
def test_slots_and_flow_agree(law: SchedulingPolicy, storm: list[tuple[float, float]]) -> None:
    """Where everybody gets a whole number of resource blocks, times differ by a few turns at each change of shares."""
    ends = []
    for fidelity in (Flow(), Slots(TTI_S, 60)):
        bands = SharingDescription(BandDescription(1.0, law, fidelity))
        w = world(replace(flat_network(5), sharing=bands))

        def send(user: int, start_s: float, bits: float, w: World = w) -> Process:
            yield w.env.timeout(start_s)
            yield from w.network.users[user].send(w.network.server, bits, "x")

        w.run(*(send(user, *each) for user, each in enumerate(storm)))
        ends.append(sorted((row["user"], row["end_s"]) for row in w.rows("transfers")))
    for (_, flow_s), (_, slot_s) in zip(*ends, strict=True):
        assert slot_s == pytest.approx(flow_s, abs=30 * TTI_S)
