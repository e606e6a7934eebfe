"""Scheduling policies: what they give in closed form, and who gains what from fading."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, inf, log2

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from worlds import Process, World, flat_network, world

from netsim.description import BandDescription, SharingDescription
from netsim.radio.fading import Rayleigh
from netsim.radio.flow.medium import FlowMedium
from netsim.radio.link import RadioLink
from netsim.radio.scheduling import (
    Contenders,
    EqualShares,
    FixedTimes,
    MaxRate,
    ProportionalFair,
    Receivers,
    RoundRobin,
    Scheduler,
    SchedulingGrant,
    SchedulingPolicy,
    Served,
    WeightedShares,
)
from netsim.radio.scheduling.opportunistic import filled
from netsim.streams import Streams
from stats import assert_mean


@dataclass(eq=False)
class Claimed:
    """A transmission to one user over a channel of one efficiency."""

    receivers: Receivers
    now: float = 1.0
    until_s: float = inf
    served: Served | None = None

    def efficiency(self, now_s: float) -> float:
        return self.now

    def border_s(self, now_s: float) -> float:
        return self.until_s


def parts(scheduler: Scheduler, *claims: Claimed, users: int = 6) -> list[tuple[float, float]]:
    """Part of the band and of the time of each."""
    return [(grant.band, grant.time) for grant in scheduler.grants(Contenders(claims), range(users), 0.0)]


def uplinks(law: SchedulingPolicy, users: int) -> World:
    return world(replace(flat_network(users), sharing=SharingDescription(BandDescription(1.0, law))))


def send_all(w: World, bits: Callable[[int], float]) -> list[dict[str, float]]:
    w.run(*(user.send(w.network.server, bits(user.number), "x") for user in w.network.users))
    return sorted(w.rows("transfers"), key=lambda row: row["user"])


def gain(w: World) -> float:
    return w.network.users[0].uplink.gain_over_noise_hz_per_w


@pytest.mark.parametrize("law", [RoundRobin(), FixedTimes()])
def test_in_turns_power_covers_the_whole_band_and_joules_flow_in_turns(law: SchedulingPolicy) -> None:
    """Four users, 0.1 W each over 1 MHz for a quarter of the time."""
    w = uplinks(law, 4)
    rate_bps = 0.25 * 1e6 * log2(1 + 0.1 * gain(w) / 1e6)
    for row in send_all(w, lambda user: rate_bps):
        assert row["airtime_s"] == pytest.approx(1.0, rel=1e-9)
        assert row["energy_j"] == pytest.approx(0.1 + 0.25 * 0.1 / 0.5, rel=1e-9)
        assert 10 ** (row["mean_snr_db"] / 10) == pytest.approx(0.1 * gain(w) / 1e6, rel=1e-9)


def test_in_parts_of_the_band_power_is_concentrated() -> None:
    w = uplinks(EqualShares(), 4)
    rate_bps = 0.25 * 1e6 * log2(1 + 0.1 * gain(w) / 0.25e6)
    for row in send_all(w, lambda user: rate_bps):
        assert row["airtime_s"] == pytest.approx(1.0, rel=1e-9)
        assert row["energy_j"] == pytest.approx(0.1 + 0.1 / 0.5, rel=1e-9)


def test_to_a_station_turns_and_parts_are_the_same() -> None:
    ends_s = []
    for law in (EqualShares(), RoundRobin()):
        w = world(replace(flat_network(3), sharing=SharingDescription(downlink=BandDescription(2.0, law))))
        w.run(*(w.network.server.send(user, 1e6 * (1 + user.number), "x") for user in w.network.users))
        ends_s.append([row["end_s"] for row in w.rows("transfers")])
    assert ends_s[0] == pytest.approx(ends_s[1], rel=1e-12)


def test_owned_times_are_not_lent() -> None:
    law = FixedTimes((0.5, 0.2, 0.1, 0.1, 0.05, 0.05))
    assert parts(law, Claimed((1,))) == [(1.0, 0.2)]
    assert parts(law, Claimed((0, 2)), Claimed((5,))) == [(1.0, pytest.approx(0.6)), (1.0, 0.05)]


def test_weights() -> None:
    law = WeightedShares((1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
    assert parts(law, Claimed((1,)), Claimed((5,))) == [(0.25, 1.0), (0.75, 1.0)]
    assert parts(law, Claimed((1, 2)), Claimed((4,))) == [(0.5, 1.0), (0.5, 1.0)]


@pytest.mark.parametrize(
    ("law", "message"),
    [
        (FixedTimes((0.5, 0.5)), "2 shares are given, but there are 3 users"),
        (FixedTimes((0.5, 0.5, 0.1)), "the shares of a station's users sum to 1.1; they must not exceed 1"),
        (WeightedShares((1.0,)), "1 weights are given, but there are 3 users"),
    ],
)
def test_laws_that_do_not_fit(law: SchedulingPolicy, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        uplinks(law, 3)


def test_the_best_channel_takes_all() -> None:
    assert parts(MaxRate(), Claimed((0,), 1.0), Claimed((1,), 3.0), Claimed((2,), 2.0)) == [(0, 0), (1, 1), (0, 0)]


@given(st.lists(st.one_of(st.floats(0.0, 10.0), st.just(inf)), min_size=1, max_size=8))
def test_filled_is_the_best_division(levels: list[float]) -> None:
    """Optimal by Karush, Kuhn and Tucker: the sum of log(level + x) rises alike wherever x > 0, and less elsewhere."""
    depths, heights = filled(np.array(levels)), np.array(levels)
    if np.isinf(heights).all():
        assert not depths.any()
        return
    assert depths.sum() == pytest.approx(1.0)
    assert (depths >= 0).all()
    slopes = 1 / (heights + depths)
    assert slopes[depths > 0] == pytest.approx(slopes.max())


def test_proportional_fairness_without_fading_is_equal_time() -> None:
    claims = [Claimed((0,), 1.0), Claimed((1,), 5.0), Claimed((2,), 0.1)]
    grants = ProportionalFair().scheduler().grants(Contenders(claims), range(3), 0.0)
    assert list(grants) == [SchedulingGrant(1.0, pytest.approx(1 / 3))] * 3


def test_averages_decay_from_the_last_division_of_each() -> None:
    """As of a user who was handed over since: the divisions of its band are not those of the others'."""
    served = [Served(0.0, 2.0, 0.5), Served(1.5, 1.0, 3.0)]
    claims = [Claimed((user,), served=before) for user, before in enumerate(served)]
    ProportionalFair(1.0).scheduler().grants(Contenders(claims), range(2), 2.0)
    expected = [exp(-2.0) * 2.0 + (1 - exp(-2.0)) * 0.5, exp(-0.5) * 1.0 + (1 - exp(-0.5)) * 3.0]
    assert [claim.served.average for claim in claims if claim.served] == pytest.approx(expected)


def test_who_has_no_signal_gets_no_time() -> None:
    scheduler = ProportionalFair().scheduler()
    assert parts(scheduler, Claimed((0,), 0.0), Claimed((1,), 2.0)) == [(0, 0), (1, 1)]
    assert parts(scheduler, Claimed((2,), 0.0)) == [(0, 0)]


LOW_SNR = 1e-3
"""Where the rate is proportional to the power that arrives, so that gains are those of the fading itself."""


def goodputs(law: SchedulingPolicy, means: NDArray[np.float64], blocks: int, seed: int) -> NDArray[np.float64]:
    """Of users that always have something to send over Rayleigh blocks of a second, over log2(e) times their means."""
    env = simpy.Environment()
    medium = FlowMedium(env, 1.0, law.scheduler(), range(len(means)), spread=True)
    links = [
        RadioLink(LOW_SNR * mean, Rayleigh(1.0), Streams(seed).key("link", user))
        for user, mean in enumerate(means.tolist())
    ]
    sent = [medium.begin(link, (user,), 1e12) for user, link in enumerate(links)]
    env.run(blocks)
    for transmission in sent:
        medium.end(transmission)
    return np.array([each.delivered_bits for each in sent]) / (blocks * LOW_SNR * means * log2(np.e))


def test_max_rate_over_rayleigh_is_the_largest_of_n_exponentials() -> None:
    """Its mean is the harmonic number; each of n alike users has it for one block in n."""
    sums = [goodputs(MaxRate(), np.ones(5), 300, seed).sum() for seed in range(6)]
    assert_mean(sums, 1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5)


def test_proportional_fairness_gains_the_harmonic_number() -> None:
    """With a long memory, each gets H_n / n of its own mean rate, however far apart the means are."""
    means = np.geomspace(1.0, 10.0, 4)
    shares = [goodputs(ProportionalFair(200.0), means, 600, seed) for seed in range(6)]
    expected = (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4
    for user in range(4):
        assert_mean([share[user] for share in shares], expected)


def test_a_short_memory_is_equal_time() -> None:
    """Blocks much longer than the memory are divided equally, so that nobody gains from fading."""
    sums = [goodputs(ProportionalFair(0.01), np.ones(3), 150, seed).sum() for seed in range(6)]
    assert_mean(sums, 1.0)


def test_a_station_where_nobody_hears_anything_waits_for_the_next_block() -> None:
    class Deaf(Rayleigh):
        def power_gains(self, key: int, blocks: NDArray[np.int64]) -> NDArray[np.float64]:
            return np.where(blocks < 3, 0.0, 1.0)

    for law in (MaxRate(), ProportionalFair()):
        env = simpy.Environment()
        medium = FlowMedium(env, 1.0, law.scheduler(), [0, 1], spread=True)
        link = RadioLink(1.0, Deaf(1.0), 0)

        def send(medium: FlowMedium = medium, link: RadioLink = link) -> Process:
            yield medium.begin(link, (0,), 1.0).done

        env.run(env.process(send()))
        assert env.now == pytest.approx(4.0)
