"""Transmissions on a shared band: closed forms, and storms of arrivals and interruptions against brute force."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from math import inf, log2, log10
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from stepping import Sending, Stepping

from netsim.radio.band import COMPLETE
from netsim.radio.flow.medium import FlowMedium
from netsim.radio.flow.together import AllTogether
from netsim.radio.flow.transmission import FlowTransmission
from netsim.radio.link import MulticastLink
from netsim.radio.rate import RateLaw, Shannon
from netsim.radio.scheduling import (
    EqualShares,
    FixedShares,
    FixedTimes,
    MaxRate,
    ProportionalFair,
    RoundRobin,
    SchedulingPolicy,
    WeightedShares,
)
from netsim.radio.window import ArrayWindow, Window, stretch

Process = Generator[simpy.Event, Any, None]


@dataclass
class Recorded:
    """A link whose signal repeats a list, one value a block."""

    signal_hz: list[float]
    coherence_time_s: float = inf
    rate: RateLaw = Shannon()
    recorded: None = None  # no file
    noise_rise: float = 1.0

    def power_over_noise_hz(self, blocks: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.array(self.signal_hz)[blocks % len(self.signal_hz)]

    def window(self, start_s: float, blocks: int) -> Window:
        numbers, borders_s = stretch(self.coherence_time_s, start_s, blocks)
        return ArrayWindow(borders_s, self.power_over_noise_hz(numbers), self.rate)

    def next_s(self, after_s: float, spread_hz: float) -> float:
        return after_s


class Band:
    """A medium of 1 MHz and what became of its transmissions."""

    def __init__(
        self, law: SchedulingPolicy | None = None, users: int = 4, *, spread: bool = True, together: bool = False
    ) -> None:
        self.env = simpy.Environment()
        law = law or EqualShares()
        self.medium = FlowMedium(self.env, 1e6, law.scheduler(), range(users), spread=spread)
        if together:
            self.medium.ongoing.few = self.medium.ongoing.many = 0
        self.ended: dict[int, tuple[float, FlowTransmission]] = {}

    def send(
        self,
        user: int,
        link: Any,
        bits: float,
        start_s: float = 0.0,
        until_s: float = inf,
        stream: int | None = None,
    ) -> None:
        self.env.process(self._send(user, link, bits, start_s, until_s, stream))

    def _send(
        self, user: int, link: Any, bits: float, start_s: float, until_s: float, stream: int | None = None
    ) -> Process:
        if start_s:
            yield self.env.timeout(start_s)
        transmission = self.medium.begin(link, (user,), bits, stream=stream)
        timer = self.env.timeout(until_s - start_s) if until_s < inf else self.env.event()
        yield transmission.done | timer
        self.medium.end(transmission)
        self.ended[user] = self.env.now, transmission

    def ends_s(self) -> dict[int, float]:
        self.env.run()
        return {user: end_s for user, (end_s, _) in self.ended.items()}


FLAT = Recorded([1e6])
"""At 1 MHz the signal-to-noise ratio is one: 1 Mbit/s alone."""


def test_alone() -> None:
    band = Band()
    band.send(0, FLAT, 5e5)
    assert band.ends_s() == {0: pytest.approx(0.5, rel=1e-12)}


@pytest.mark.parametrize("together", [False, True])
def test_two_share_and_the_other_speeds_up(together: bool) -> None:
    """1 and 3 Mbit at 1 Mbit/s, processor sharing: the short one ends at 2 s, the long one at 4 s."""
    band = Band(together=together)
    band.send(0, FLAT, 1e6)
    band.send(1, FLAT, 3e6)
    assert band.ends_s() == {0: pytest.approx(2.0, rel=1e-12), 1: pytest.approx(4.0, rel=1e-12)}


def test_power_in_the_share() -> None:
    """A user on half the band has twice the signal-to-noise ratio: 0.5 log2(1 + 2) Mbit/s."""
    band = Band(FixedShares(), users=2, spread=False)
    band.send(0, FLAT, 1e6)
    assert band.ends_s() == {0: pytest.approx(2 / log2(3), rel=1e-12)}


def test_the_rate_law_of_the_link_counts() -> None:
    band = Band()
    band.send(0, replace(FLAT, rate=Shannon(10 * log10(2))), 1e6)
    assert band.ends_s() == {0: pytest.approx(1 / log2(1.5), rel=1e-12)}


def test_a_leaver_gives_its_share_back() -> None:
    band = Band()
    band.send(0, FLAT, 1e6)
    band.send(1, FLAT, 1e6, until_s=1.0)
    assert band.ends_s() == {0: pytest.approx(1.5, rel=1e-12), 1: 1.0}
    assert band.ended[1][1].delivered_bits == pytest.approx(5e5, rel=1e-12)


@pytest.mark.parametrize("together", [False, True])
def test_end_exactly_on_a_block_border(together: bool) -> None:
    link = Recorded([1e6, 3e6], coherence_time_s=0.25)  # 1 and 2 Mbit/s in turn
    band = Band(together=together)
    band.send(0, link, 0.25e6 + 0.5e6)
    band.send(1, link, 0.25e6, start_s=10.0)
    assert band.ends_s() == {0: pytest.approx(0.5, rel=1e-12), 1: pytest.approx(10.25, rel=1e-12)}


@pytest.mark.parametrize("together", [False, True])
def test_blocks_without_any_signal(together: bool) -> None:
    link = Recorded([0.0, 0.0, 1e6, 0.0], coherence_time_s=0.1)
    band = Band(together=together)
    band.send(0, link, 1.5e5)  # a block carries 0.1 Mbit: all of the third, half of the seventh
    assert band.ends_s() == {0: pytest.approx(0.65, rel=1e-12)}


@pytest.mark.parametrize("together", [False, True])
def test_longer_than_the_window_of_blocks(together: bool) -> None:
    """10,000 blocks are more than several windows; the mean rate is 1.5 Mbit/s."""
    band = Band(together=together)
    band.send(0, Recorded([1e6, 3e6], coherence_time_s=1e-3), 1.5e6 * 10)
    assert band.ends_s() == {0: pytest.approx(10.0, rel=1e-10)}


def test_a_broadcast_goes_at_the_weakest_receivers_rate_block_by_block() -> None:
    first, second = Recorded([1e6, 7e6], coherence_time_s=1.0), Recorded([3e6, 3e6], coherence_time_s=1.0)
    band = Band()
    band.send(0, MulticastLink([first, second]), 1e6 + 1e6)  # type: ignore[list-item]  # links that are not drawn
    assert band.ends_s() == {0: pytest.approx(1.5, rel=1e-12)}  # 1, then 2 Mbit/s


def test_mean_snr_is_an_average_over_time_on_the_air() -> None:
    band = Band(spread=False)
    band.send(0, FLAT, 1e6)
    band.send(1, FLAT, 1e9, start_s=0.5, until_s=0.75)
    band.env.run()
    end_s, transmission = band.ended[0]
    # power sits in the share: the ratio is 2 for the quarter second for which there were two, else 1
    assert transmission.mean_snr() == pytest.approx((2 * 0.25 + 1 * (end_s - 0.25)) / end_s, rel=1e-12)


def test_mean_snr_of_spread_power_does_not_depend_on_the_share() -> None:
    band = Band(spread=True)
    band.send(0, FLAT, 1e6)
    band.send(1, FLAT, 1e6)
    band.env.run()
    assert band.ended[0][1].mean_snr() == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("together", [False, True])
def test_mean_snr_over_many_windows(together: bool) -> None:
    band = Band(together=together)
    band.send(0, Recorded([1e6, 3e6], coherence_time_s=1e-3), 1.5e6)  # 1,000 blocks of ratio 1 and 3
    band.env.run()
    assert band.ended[0][1].mean_snr() == pytest.approx(2.0, rel=1e-9)


def test_fixed_shares_do_not_rate_anew_when_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    rated: list[FlowTransmission] = []
    rate = FlowTransmission.rate
    monkeypatch.setattr(FlowTransmission, "rate", lambda self, *args: (rated.append(self), rate(self, *args)))
    band = Band(FixedShares())
    for user in range(4):
        band.send(user, FLAT, 1e6, start_s=0.1 * user)
    band.env.run()
    assert len(rated) == 4


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The instants at which the ends of all transmissions of a band were looked for anew."""
    searched: list[float] = []
    look_ahead = AllTogether._look_ahead
    monkeypatch.setattr(AllTogether, "_look_ahead", lambda self: (searched.append(self.env.now), look_ahead(self))[1])
    return searched


def test_changes_of_one_instant_are_settled_once(searches: list[float]) -> None:
    band = Band(together=True)
    for user in range(4):
        band.send(user, FLAT, 1e6)
    assert band.ends_s() == dict.fromkeys(range(4), pytest.approx(4.0))
    assert searches == [0.0]


def test_what_comes_last_in_an_instant_is_settled_with_the_rest(searches: list[float]) -> None:
    band = Band(together=True)
    band.send(0, FLAT, 1e6)

    def roundabout() -> Process:
        for _ in range(5):
            yield band.env.timeout(0)
        band.send(1, FLAT, 1e6)

    band.env.process(roundabout())
    assert band.ends_s() == dict.fromkeys(range(2), pytest.approx(2.0))
    assert searches == [0.0]


@pytest.mark.parametrize("together", [False, True])
def test_each_window_of_blocks_is_twice_as_long(together: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    link = Recorded([1e6], coherence_time_s=1e-3)
    gains = link.power_over_noise_hz
    monkeypatch.setattr(link, "power_over_noise_hz", lambda blocks: (asked.append(len(blocks)), gains(blocks))[1])
    band = Band(together=together)
    band.send(0, link, 1e8)  # 100,000 blocks
    band.ends_s()
    assert asked == [128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]


@pytest.mark.parametrize("links", [FLAT, Recorded([1e6, 3e6], coherence_time_s=0.05)], ids=["flat", "fading"])
def test_all_transmissions_of_a_band_wait_for_one_event(links: Recorded, searches: list[float]) -> None:
    """Fifty long transmissions are divided anew at each of 300 arrivals and departures of short ones."""
    band = Band(users=51, together=True)
    for user in range(50):
        band.send(user, links, 1e9)
    for k in range(300):
        band.env.process(band._send(50, links, 1.0, 0.01 * k, inf))
    band.env.step()
    waiting = len(band.env._queue)  # for their starts
    events = 0
    while band.env.peek() < 4.0:
        band.env.step()
        events += 1
        assert len(band.env._queue) <= waiting + 4
    assert 600 <= len(searches) <= 600 + 5  # and where the blocks of a table end
    assert events <= 50 + 300 * 8  # of a short one: start, two ends and their conditions, and two settlings


@pytest.mark.parametrize("together", [False, True])
def test_equal_transfers_end_at_the_very_same_instant(together: bool) -> None:
    band = Band(together=together)
    for user in range(4):
        band.send(user, Recorded([1e6, 3e6], coherence_time_s=0.07), 1e6 / 3)
    assert len(set(band.ends_s().values())) == 1


@pytest.mark.parametrize(("start_s", "block_s"), [(1e6, 1e-3), (1e9, 1e-3), (1e12, 1e-3), (1e15, 1e-3), (1e17, 1.0)])
@pytest.mark.parametrize("together", [False, True])
def test_a_coarse_clock_does_not_stop_time(start_s: float, block_s: float, together: bool) -> None:
    """At 1e17 s the clock ticks every 16 s, far beyond a block: transfers still end, and within a tick or two."""
    band = Band(together=together)
    tick_s = float(np.spacing(start_s))
    band.send(0, Recorded([1e6, 3e6], block_s), 1.5e6 * 10, start_s=start_s)
    band.send(1, Recorded([1e6, 3e6], block_s), 1e-3, start_s=start_s)
    ends_s = band.ends_s()
    assert start_s <= ends_s[1] <= ends_s[0]
    assert ends_s[0] - start_s == pytest.approx(10.0, abs=2 * block_s + 3 * tick_s)


signals = st.lists(st.sampled_from([0.0, 2e5, 1e6, 3e6, 5.5e7]), min_size=2, max_size=7).filter(any)
instants = st.one_of(st.floats(0, 3), st.integers(0, 30).map(lambda k: k * 0.1))  # many of them on block borders
storms = st.lists(
    st.tuples(instants, st.floats(1.0, 1e6), st.one_of(st.just(inf), st.floats(0.01, 2.0)), signals),
    min_size=1,
    max_size=6,
)
OWNED = (0.4, 0.05, 0.1, 0.2, 0.1, 0.15)
laws = st.sampled_from(
    [
        EqualShares(),
        FixedShares(),
        FixedShares(OWNED),
        WeightedShares(OWNED),
        FixedTimes(OWNED),
        RoundRobin(),
        MaxRate(),
        ProportionalFair(0.3),
    ]
)


@settings(deadline=None, max_examples=150)
@given(
    storm=storms,
    law=laws,
    spread=st.booleans(),
    block_s=st.sampled_from([0.1, 0.037, 1.7]),
    streams=st.lists(st.sampled_from([None, None, 0, 1]), min_size=6, max_size=6),
    together=st.booleans(),
)
def test_storms_against_brute_force(
    storm: list[tuple[float, float, float, list[float]]],
    law: SchedulingPolicy,
    spread: bool,
    block_s: float,
    streams: list[int | None],
    together: bool,
) -> None:
    """Transmissions by themselves, and receivers that share one of two rateless streams."""
    sendings = [
        Sending(user, start_s, start_s + patience_s, bits, signal_hz, stream=streams[user])
        for user, (start_s, bits, patience_s, signal_hz) in enumerate(storm)
    ]
    Stepping(1e6, law.scheduler(), list(range(6)), spread, 1.3, block_s).run(sendings)
    band = Band(law, users=6, spread=spread, together=together)
    for sending in sendings:
        link = Recorded(sending.power_over_noise_hz, block_s, Shannon(10 * log10(1.3)))
        band.send(sending.user, link, sending.bits, sending.start_s, sending.until_s, sending.stream)
    ends_s = band.ends_s()
    for sending in sendings:
        transmission = band.ended[sending.user][1]
        assert ends_s[sending.user] == pytest.approx(sending.end_s, rel=1e-8, abs=1e-8)
        assert transmission.delivered_bits == pytest.approx(sending.delivered_bits, abs=2 * COMPLETE * sending.bits)
        assert 0 <= transmission.remaining_bits <= transmission.bits
        if sending.until_s == inf:
            assert transmission.remaining_bits == 0


@settings(deadline=None)
@given(storm=storms)
def test_work_is_conserved(storm: list[tuple[float, float, float, list[float]]]) -> None:
    """While anybody sends, the whole band is in use; a constant spread signal makes that countable in bits."""
    band = Band()
    for user, (start_s, bits, patience_s, _) in enumerate(storm):
        band.send(user, FLAT, bits, start_s, start_s + patience_s)
    ends_s = band.ends_s()
    busy_s, reached_s = 0.0, 0.0
    for start_s, end_s in sorted((storm[user][0], end_s) for user, end_s in ends_s.items()):
        busy_s += max(0.0, end_s - max(start_s, reached_s))
        reached_s = max(reached_s, end_s)
    delivered = sum(transmission.delivered_bits for _, transmission in band.ended.values())
    assert delivered == pytest.approx(1e6 * busy_s, rel=1e-8, abs=1e-3)
