"""Transmissions that make progress all together beside the same ones, each rated by itself in closed form."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netsim.radio.fading import Gains, NoFading, Rayleigh, TappedDelayLine
from netsim.radio.flow.ahead import BlocksAhead
from netsim.radio.flow.medium import FlowMedium
from netsim.radio.flow.transmission import FlowTransmission
from netsim.radio.interference import Downlink, Powers, Uplink, couple_interference
from netsim.radio.link import MulticastLink, RadioLink
from netsim.radio.rate import AdaptiveModulation, FiniteBlocklength, RateLaw, Shannon
from netsim.radio.rate.symbols import SymbolRate
from netsim.radio.recorded import LinkTrace, Playback
from netsim.radio.scheduling import (
    Contenders,
    Controlled,
    EqualShares,
    Grants,
    MaxRate,
    ProportionalFair,
    RoundRobin,
    SchedulingGrant,
    SchedulingPolicy,
    WeightedShares,
)
from netsim.radio.window import Window
from netsim.streams import Streams

USERS = 6
BAND_HZ = 1e6
NEAR, FAR = 1.0, 0.02
"""Gains to the serving station and to the other one."""


@dataclass(frozen=True)
class Message:
    """Bits of some users, from `start_s` on, until they are there or `until_s`, with what happens meanwhile."""

    users: tuple[int, ...]
    bits: float
    start_s: float
    until_s: float = inf
    stream: int | None = None
    handover_s: float = inf
    """When it goes on in the band of the other station, after a gap of 20 ms."""
    faded_s: float = inf
    """When the mean gain of its first link falls to a third."""
    updated_s: float = inf
    """When its figures are asked for."""
    noise_rise: float = 1.0
    """Noise and interference over noise that an earlier message has left at its receiver; only if interfering."""


class Cells:
    """Two stations, whose transmissions progress together or each by itself."""

    def __init__(
        self,
        policy: SchedulingPolicy,
        gains: Gains,
        rate: RateLaw,
        *,
        together: tuple[int, int] | None,
        spread: bool,
        interfering: bool,
        recorded: Sequence[Playback] = (),
        mean_snr: float = 10.0,
    ) -> None:
        self.env = simpy.Environment()
        self.scheduler = policy.scheduler()
        self.gains, self.rate, self.recorded, self.mean_snr = gains, rate, recorded, mean_snr
        self.radiated: dict[Message, list[tuple[float, float]]] = {}
        self.media = [
            FlowMedium(self.env, BAND_HZ, self.scheduler, range(station, USERS, 2), spread=spread) for station in (0, 1)
        ]
        for medium in self.media:
            medium.ongoing.few, medium.ongoing.many = together or (1000, 1000)
        if interfering:
            table = np.full((USERS, 2), FAR)
            table[np.arange(USERS), np.arange(USERS) % 2] = NEAR
            powers = Powers(table, np.ones(USERS), 4.0, 1e-7, 1e-7)
            couple_interference(self.env, Downlink(powers) if spread else Uplink(powers), self.media, [0, 0])
        self.figures: dict[Message, list[float]] = {}

    def link(self, user: int) -> RadioLink:
        recorded = self.recorded[user] if self.recorded else None
        return RadioLink(
            self.mean_snr * BAND_HZ * (1 + user), self.gains, Streams(3).key("link", user), self.rate, recorded, BAND_HZ
        )

    def send(self, message: Message) -> Generator[simpy.Event, Any, None]:
        yield self.env.timeout(message.start_s)
        links = [self.link(user) for user in message.users]
        links[0].noise_rise = message.noise_rise
        carrying = links[0] if len(links) == 1 else MulticastLink(links)
        station = message.users[0] % 2
        steps = self.radiated[message] = []
        transmission = self.media[station].begin(
            carrying,
            message.users,
            message.bits,
            lambda part: steps.append((self.env.now, part)),
            message.stream if message.stream is None else (message.stream, station),
        )
        ends = transmission.done | self.env.timeout(max(0.0, min(message.until_s, 60.0) - message.start_s))
        for happens_s, happen in (
            (message.updated_s, self._update),
            (message.faded_s, self._fade),
            (message.handover_s, self._hand_over),
        ):
            if happens_s < inf:
                self.env.process(self._later(happens_s, happen, transmission, station, links[0]))
        yield ends
        for medium in self.media:
            medium.end(transmission)
        snr = transmission.mean_snr()
        assert len(links) == 1 or carrying.noise_rise == 1.0
        self.figures[message] = [
            self.env.now,
            transmission.delivered_bits,
            -1.0 if snr is None else snr,
            transmission.mean_power(),
            *(link.noise_rise for link in links),
        ]

    def _later(
        self, at_s: float, happen: Any, transmission: FlowTransmission, station: int, link: RadioLink
    ) -> Generator[simpy.Event, Any, None]:
        yield self.env.timeout(max(0.0, at_s - self.env.now))
        if transmission in self.media[station]._active:
            yield from happen(transmission, station, link)

    def _update(self, transmission: FlowTransmission, station: int, _: RadioLink) -> Generator[simpy.Event, Any, None]:
        self.media[station].update(transmission)
        yield self.env.timeout(0)

    def _fade(self, _: FlowTransmission, station: int, link: RadioLink) -> Generator[simpy.Event, Any, None]:
        link.mean_power_over_noise_hz /= 3
        self.media[station].links_changed()
        yield self.env.timeout(0)

    def _hand_over(
        self, transmission: FlowTransmission, station: int, _: RadioLink
    ) -> Generator[simpy.Event, Any, None]:
        self.media[station].suspend(transmission)
        yield self.env.timeout(0.02)
        if not transmission.done.triggered:
            self.media[1 - station].resume(transmission)

    def run(self, messages: Sequence[Message]) -> list[list[float]]:
        for message in messages:
            self.env.process(self.send(message))
        if hasattr(self.scheduler, "allocate"):
            self.env.process(self._control())
        self.env.run()
        return [self.figures[message] for message in messages]

    def _control(self) -> Generator[simpy.Event, Any, None]:
        """Shares and powers that a controller changes twice."""
        for share, power in ((0.05, 0.5), (None, 1.0)):
            yield self.env.timeout(0.1)
            for user in (0, 1):
                self.scheduler.allocate(user, share, power)  # type: ignore[attr-defined]  # `Controlled` alone
            for medium in self.media:
                medium.reconsider()


def compare(
    messages: Sequence[Message],
    policy: SchedulingPolicy,
    gains: Gains,
    rate: RateLaw,
    *,
    spread: bool,
    between: tuple[int, int] = (0, 0),
    **how: Any,
) -> None:
    """`between` is the number of transmissions down to which, and that from which on they progress together."""
    separate = Cells(policy, gains, rate, together=None, spread=spread, **how)
    together = Cells(policy, gains, rate, together=between, spread=spread, **how)
    expected, found = separate.run(messages), together.run(messages)
    for one, other in zip(expected, found, strict=True):
        assert other == pytest.approx(one, rel=1e-12, abs=1e-12)
    assert together.radiated.keys() == separate.radiated.keys()
    for message, steps in separate.radiated.items():
        expected_steps, found_steps = over_time(steps), over_time(together.radiated[message])
        assert len(found_steps) == len(expected_steps)
        assert np.array(found_steps) == pytest.approx(np.array(expected_steps), rel=1e-12)


def over_time(steps: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Steps of the radiated part of the power, without those at the same instant and of the same part, to 1e-12."""
    found: list[tuple[float, float]] = []
    for instant_s, part in steps:
        if found and instant_s == pytest.approx(found[-1][0], rel=1e-12):
            instant_s, _ = found.pop()
        if not found or part != pytest.approx(found[-1][1], rel=1e-12):
            found.append((instant_s, part))
    return found


class Alternating(EqualShares):
    """Equal shares as one number for an odd number of signals; for an even one arrays, of zeros if it is six."""

    def grants(self, active: Contenders, attached: Sequence[int], now_s: float) -> Grants:
        equal = super().grants(active, attached, now_s)
        if len(active) % 2:
            return equal
        return Grants(*equal.columns()) if len(active) % 3 else Grants(np.zeros(len(active)))


instants = st.one_of(st.floats(0, 0.5), st.integers(0, 10).map(lambda k: k * 0.05))  # many of them on block borders
maybe = st.one_of(st.just(inf), instants)
messages = st.builds(
    Message,
    st.integers(0, USERS - 1).map(lambda user: (user,)),
    st.floats(1e3, 3e6),
    instants,
    st.one_of(st.just(inf), st.floats(0.5, 1.0)),
    st.sampled_from([None, None, 0]),
    maybe,
    maybe,
    maybe,
)
storms = st.lists(messages, min_size=1, max_size=12, unique_by=lambda message: message.bits)
policies = st.sampled_from(
    [
        EqualShares(),
        Alternating(),
        RoundRobin(),
        Controlled(),
        WeightedShares((0.1, 3.0, 1.0, 0.7, 1.3, 2.0)),
        MaxRate(),
        ProportionalFair(0.3),
    ]
)


# Ends that are a rounding error apart, in divisions that are as well:
ALIKE = [Message((0,), bits, 0.0) for bits in (1e3, 3.6e3, 55440.0, 87575.0, 97459.0, 1000.125)]
ALMOST_EQUAL = [
    Message((0,), bits, 0.0)
    for bits in (1e3, 3.6e3, 23902.0, 43354.0, 43355.0, 43356.0, 43357.0, 1000.0000000000001, 43157.0)
]


@settings(deadline=None, max_examples=60)
@example(ALIKE, ProportionalFair(0.3), 0.05, False, False, (0, 0))
@example(ALMOST_EQUAL, ProportionalFair(0.3), 0.05, False, False, (0, 0))
@given(
    storms,
    policies,
    st.sampled_from([0.05, 0.0037, 1.7]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([(0, 0), (0, 0), (1, 2), (2, 2)]),
)
def test_storms_of_faults_handovers_and_streams(
    storm: list[Message],
    policy: SchedulingPolicy,
    block_s: float,
    spread: bool,
    interfering: bool,
    between: tuple[int, int],
) -> None:
    compare(storm, policy, Rayleigh(block_s), Shannon(), spread=spread, interfering=interfering, between=between)


@pytest.mark.parametrize("policy", [EqualShares(), RoundRobin(), MaxRate(), ProportionalFair(0.3)])
@pytest.mark.parametrize("between", [(0, 0), (1, 2)])
def test_a_long_transmission_becomes_one_of_many_and_alone_again(
    policy: SchedulingPolicy, between: tuple[int, int]
) -> None:
    """At the end of the others it is past the instant at which it would have ended alone."""
    others = [Message((user,), 1e9, 0.1, until_s=5.0) for user in (2, 4)]
    compare(
        [Message((0,), 1e7, 0.0), *others],
        policy,
        Rayleigh(0.05),
        Shannon(),
        spread=False,
        interfering=False,
        between=between,
    )


@pytest.mark.parametrize("block_s", [0.05, 1e3])
def test_nothing_is_granted_after_equal_parts(block_s: float) -> None:
    """From the sixth signal on all wait, until one of them is given up."""
    five = [Message((2 * (number % 3),), 1e7 + number, 0.01 * number) for number in range(5)]
    sixth = Message((0,), 1e6, 0.1, until_s=0.3)
    compare([*five, sixth], Alternating(), Rayleigh(block_s), Shannon(), spread=False, interfering=False)


def test_a_transmission_that_keeps_its_share_goes_on_by_itself() -> None:
    """The others leave, and its part of the band is what it was: it ends as if all had been by themselves."""
    figures = []
    for between in (None, (1, 2)):
        cells = Cells(Controlled(), Rayleigh(0.05), Shannon(), together=between, spread=False, interfering=False)
        for message in (Message((0,), 1e6, 0.0), *(Message((user,), 1e9, 0.01, until_s=0.1) for user in (2, 4))):
            cells.scheduler.allocate(message.users[0], 0.3, 1.0)  # type: ignore[attr-defined]  # `Controlled` alone
            cells.env.process(cells.send(message))
        cells.env.run()
        figures.append([figure for found in cells.figures.values() for figure in found])
    assert len(figures[0]) == 3 * 5
    assert figures[1] == pytest.approx(figures[0], rel=1e-12)


SELECTIVE = TappedDelayLine(speed_kmh=60.0, waves=4).at(3.5e9, np.array([-3e5, 3e5]))
LINKS: dict[str, tuple[Gains, RateLaw]] = {
    "constant": (NoFading(), Shannon(3.0)),
    "short codewords": (Rayleigh(0.01), FiniteBlocklength()),
    "modulation": (Rayleigh(0.01), AdaptiveModulation()),
    "late reports": (Rayleigh(0.01), AdaptiveModulation(cqi_delay_blocks=3)),
    "selective": (SELECTIVE, Shannon()),
    "selective, late reports": (SELECTIVE, AdaptiveModulation(cqi_delay_blocks=2)),
}
BROADCASTS = [
    Message((0, 2, 4), 2e6, 0.0),
    Message((1,), 1e6, 0.01),
    Message((3, 5), 3e6, 0.05, until_s=0.2),
    *(Message((user,), 2e5 * (1 + user), 0.03 * user, updated_s=0.1) for user in range(USERS)),
]


@pytest.mark.parametrize("spread", [True, False])
@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("interfering", [False, True])
def test_links_and_rate_laws(name: str, spread: bool, interfering: bool) -> None:
    gains, rate = LINKS[name]
    compare(BROADCASTS, EqualShares(), gains, rate, spread=spread, interfering=interfering)


@pytest.mark.parametrize("policy", [EqualShares(), MaxRate(), ProportionalFair(0.3)])
def test_interference_of_earlier_messages(policy: SchedulingPolicy) -> None:
    """Schedulers see the noise of the last change, before that of the present one is settled."""
    messages = [Message((user,), 3e5 * (1 + user), 0.01 * (user // 2), noise_rise=1.0 + user) for user in range(USERS)]
    compare(messages, policy, Rayleigh(0.05), Shannon(), spread=True, interfering=True)


def test_recorded_links() -> None:
    traces = [
        LinkTrace(np.arange(6) * 0.1, np.cumsum([0.0, 1e5, 0.0, 3e5 * (1 + user), 2e5, 0.0])) for user in range(USERS)
    ]
    recorded = [Playback(trace, 0.02, 0, True) for trace in traces]
    compare(BROADCASTS, EqualShares(), NoFading(), Shannon(), spread=True, interfering=False, recorded=recorded)


def test_a_long_silence_is_skipped() -> None:
    """One block in 300 is above the lowest ratio of the rate law: what comes next is found without the ones between."""
    rate = FiniteBlocklength()
    mean_snr = rate.min_snr / log(300)
    for message in (Message((0,), 3e3, 0.0), Message((0,), 1e6, 0.0, until_s=9.9)):
        for spread in (True, False):
            compare([message], EqualShares(), Rayleigh(0.01), rate, spread=spread, interfering=False, mean_snr=mean_snr)


def test_a_silence_under_interference_is_skipped() -> None:
    """The signal of a neighbour makes blocks silent that would be heard without it, and no others.

    Where silences are skipped, the mean power in between is that of the blocks that were looked at.
    """
    rate = FiniteBlocklength()
    messages = [Message((0,), 1e6, 0.0, until_s=30.0), Message((1,), 1e9, 0.0, until_s=30.0)]
    for spread, noise_rise in ((True, 1.8), (False, 1.2)):
        carried = []
        for together in (None, (0, 0)):
            cells = Cells(
                EqualShares(),
                Rayleigh(0.01),
                rate,
                together=together,
                spread=spread,
                interfering=True,
                mean_snr=noise_rise * rate.min_snr / log(300) / 2,  # of user 0; user 1 is in reach in one block of 300
            )
            _, (end_s, bits, _, power, rise) = cells.run(messages)
            assert rise == noise_rise
            carried.append([end_s, bits, power])
        assert carried[1] == pytest.approx(carried[0], rel=1e-12)
        assert 0 < carried[0][1] < 1e9


def test_rates_of_one_more_message_are_computed_once_a_division(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call for the rates of all transmissions at each arrival and each end, however many there are."""
    calls: list[int] = []
    efficiency = BlocksAhead.efficiency
    monkeypatch.setattr(BlocksAhead, "efficiency", lambda self, *args: (calls.append(1), efficiency(self, *args))[1])
    divisions = {}
    for count in (20, 200):
        calls.clear()
        cells = Cells(EqualShares(), Rayleigh(1.0), Shannon(), together=(0, 0), spread=True, interfering=False)
        cells.run([Message((0,), 1e3 + number, 1e-4 * number) for number in range(count)])
        divisions[count] = len(calls)
    assert divisions[20] <= 2 * 20 + 2
    assert divisions[200] <= 2 * 200 + 2


def test_the_blocks_of_a_link_are_read_once_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many arrive behind it, for which rows are moved to make room."""
    read: list[int] = []
    fill = BlocksAhead.fill
    monkeypatch.setattr(BlocksAhead, "fill", lambda self, *args: (read.append(1), fill(self, *args))[1])
    cells = Cells(EqualShares(), Rayleigh(1.0), Shannon(), together=(0, 0), spread=True, interfering=False)
    cells.run([Message((0,), 1e3 + number, 1e-4 * number) for number in range(200)])
    assert len(read) <= 200 + 2


@pytest.mark.parametrize("name", [*LINKS, "recorded", "symbols"])
def test_rows_that_move_keep_their_rates(name: str) -> None:
    def window(row: int) -> Window:
        if name == "recorded":
            trace = LinkTrace(np.arange(9) * 0.1, np.cumsum(np.arange(9.0) * (1 + row)))
            return RadioLink(1e6, NoFading(), row, recorded=Playback(trace, 0.02, 0, True), band_hz=1e6).window(0.0, 6)
        gains, law = LINKS.get(name, (Rayleigh(0.01), Shannon()))
        rate = SymbolRate(law) if name == "symbols" and row % 2 else law
        return RadioLink(1e6 * (1 + row), gains, row, rate).window(0.0, 6)

    table = BlocksAhead(window(0), 4)
    for row in range(4):
        table.fill(row, window(row), 1.0)
    before = table.efficiency(0, table.blocks, 1e6), table.signal_hz(0, table.blocks), table.mean_signal_hz()
    table.move(np.array([1, 3]), 5)
    after = table.efficiency(0, table.blocks, 1e6), table.signal_hz(0, table.blocks), table.mean_signal_hz()
    for old, new in zip(before, after, strict=True):
        assert new.shape[-1] == 5
        np.testing.assert_array_equal(new[..., :2], old[..., [1, 3]])
    table.fill(2, window(3), 1.0)
    np.testing.assert_array_equal(table.efficiency(0, 1, 1e6)[0, [1, 2]], before[0][0, [3, 3]])


@pytest.mark.parametrize("policy", [EqualShares(), RoundRobin()])
def test_equal_grants_are_one_number_for_all(policy: EqualShares | RoundRobin) -> None:
    """So that a division needs no arrays of what is the same for all."""
    transmissions: list[Any] = [None] * 4
    grants = policy.grants(Contenders(transmissions), range(4), 0.0)
    one = SchedulingGrant(0.25, 1.0, 1.0) if isinstance(policy, EqualShares) else SchedulingGrant(1.0, 0.25, 1.0)
    assert grants.common == one
    assert list(grants) == [one] * 4
    assert [tuple(column.tolist()) for column in grants.columns()] == [(part,) * 4 for part in one]
    assert WeightedShares((1.0, 1.0)).grants(Contenders([]), (), 0.0).common is None
