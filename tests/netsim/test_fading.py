"""Block fading: the laws of its gains, and the rate that it leaves in the long run."""

from math import exp, inf

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import exp1
from scipy.stats import expon, gamma, ncx2

from netsim.radio.fading import Gains, Nakagami, NoFading, Rayleigh, Rician
from netsim.radio.flow.medium import FlowMedium
from netsim.radio.link import MulticastLink, RadioLink
from netsim.radio.scheduling import EqualShares
from netsim.streams import Streams
from stats import assert_ks, assert_mean, assert_uncorrelated

STREAMS = Streams(9)
BLOCKS = np.arange(20_000)


def test_rayleigh_power_is_exponential() -> None:
    assert_ks(Rayleigh().power_gains(STREAMS.key("link"), BLOCKS), expon.cdf)


@pytest.mark.parametrize("k_db", [-10.0, 0.0, 9.0, 15.0])
def test_rician_power_is_noncentral_chi_square(k_db: float) -> None:
    """With K the power ratio, 2 (K + 1) |h|^2 has two degrees of freedom and noncentrality 2 K."""
    k = 10 ** (k_db / 10)
    gains = Rician(k_db).power_gains(STREAMS.key("link"), BLOCKS)
    assert_ks(2 * (k + 1) * gains, ncx2(2, 2 * k).cdf)
    assert_mean(gains, 1.0)
    assert_mean((gains - 1) ** 2, (1 + 2 * k) / (1 + k) ** 2)


def test_rician_without_a_dominant_path_is_rayleigh() -> None:
    assert_ks(Rician(-100.0).power_gains(STREAMS.key("link"), BLOCKS), expon.cdf)


@pytest.mark.parametrize("m", [0.5, 1.0, 2.5, 20.0])
def test_nakagami_power_is_gamma(m: float) -> None:
    gains = Nakagami(m).power_gains(STREAMS.key("link"), BLOCKS)
    assert_ks(gains, gamma(m, scale=1 / m).cdf)
    assert_mean(gains, 1.0)
    assert_mean((gains - 1) ** 2, 1 / m)
    assert gains.min() > 0


def test_nakagami_limits() -> None:
    """m = 1 is Rayleigh (the other end of the same draw), m to infinity is no fading."""
    key = STREAMS.key("link")
    one = Nakagami(1.0).power_gains(key, BLOCKS)
    assert np.exp(-one) + np.exp(-Rayleigh().power_gains(key, BLOCKS)) == pytest.approx(np.ones(len(BLOCKS)))
    assert Nakagami(1e9).power_gains(key, BLOCKS) == pytest.approx(np.ones(len(BLOCKS)), abs=3e-4)


@pytest.mark.parametrize("fading", [NoFading(), Rayleigh(), Rician(), Nakagami()])
def test_block_fading_is_the_same_at_every_carrier(fading: Rayleigh) -> None:
    assert fading.at(1e9, BLOCKS) == fading.at(30e9, BLOCKS) == fading


def test_no_fading() -> None:
    assert NoFading().coherence_time_s == inf
    assert NoFading().power_gains(STREAMS.key("link"), BLOCKS[:3]).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("fading", [Rayleigh(), Rician(), Nakagami()])
def test_blocks_and_links_are_independent(fading: Gains) -> None:
    up, down = (fading.power_gains(STREAMS.key("fading", side, 0, 0), BLOCKS) for side in ("up", "down"))
    assert_uncorrelated(up, down)
    assert_uncorrelated(up[:-1], up[1:])


@pytest.mark.parametrize("fading", [Rayleigh(), Rician(), Nakagami()])
def test_any_block_can_be_had_alone(fading: Gains) -> None:
    together = fading.power_gains(STREAMS.key("link"), BLOCKS[:200])
    alone = [fading.power_gains(STREAMS.key("link"), BLOCKS[k : k + 1])[0] for k in range(200)]
    assert alone == together.tolist()


def test_worst_of_takes_the_weakest_in_each_block() -> None:
    links = [RadioLink(scale, Rayleigh(), STREAMS.key("link", user)) for user, scale in enumerate((1.0, 2.0, 3.0))]
    expected = np.minimum.reduce([link.power_over_noise_hz(BLOCKS[:50]) for link in links])
    assert MulticastLink(links).power_over_noise_hz(BLOCKS[:50]).tolist() == expected.tolist()
    assert MulticastLink(links).coherence_time_s == 0.05


@pytest.mark.parametrize("mean_snr", [0.3, 3.0, 100.0])
def test_long_run_goodput_is_the_ergodic_rate(mean_snr: float) -> None:
    """Alouini and Goldsmith 1999: E log2(1 + snr g) = log2(e) exp(1/snr) E1(1/snr) for exponential g with mean one.

    Rates of blocks are independent, so the goodput of n blocks has their standard deviation over sqrt(n).
    """
    bandwidth_hz, blocks, coherence_s = 1e6, 40_000, 0.01
    ergodic_bps = bandwidth_hz * np.log2(np.e) * exp(1 / mean_snr) * exp1(1 / mean_snr)
    env = simpy.Environment()
    medium = FlowMedium(env, bandwidth_hz, EqualShares(), [0], spread=True)
    link = RadioLink(mean_snr * bandwidth_hz, Rayleigh(coherence_s), STREAMS.key("goodput"))
    sent = medium.begin(link, (0,), ergodic_bps * coherence_s * blocks)
    env.run(sent.done)
    gains = np.random.default_rng(0).exponential(size=100_000)
    std_bps = bandwidth_hz * np.log2(1 + mean_snr * gains).std()
    assert sent.bits / env.now == pytest.approx(ergodic_bps, abs=4 * std_bps / np.sqrt(blocks))


@given(st.lists(st.tuples(st.integers(-300, 3000), st.integers(1, 300)), min_size=1, max_size=12))
def test_what_a_link_remembers_is_what_it_would_draw(looks: list[tuple[int, int]]) -> None:
    """Looks ahead of any length, in any order: the gains are those of the blocks, bit for bit."""
    for fading in (Rayleigh(), Rician()):
        link = RadioLink(3.0, fading, STREAMS.key("link"))
        for first, count in looks:
            blocks = np.arange(first, first + count)
            expected = 3.0 * fading.power_gains(STREAMS.key("link"), blocks)
            assert link.power_over_noise_hz(blocks).tolist() == expected.tolist()


def test_a_link_draws_blocks_once() -> None:
    drawn: list[int] = []

    class Counting(Rayleigh):
        def power_gains(self, key: int, blocks: NDArray[np.int64]) -> NDArray[np.float64]:
            drawn.extend(blocks.tolist())
            return super().power_gains(key, blocks)

    link = RadioLink(1.0, Counting(), STREAMS.key("link"))
    for first in range(200):
        link.power_over_noise_hz(np.arange(first, first + 100))
    assert sorted(drawn) == list(range(384))
