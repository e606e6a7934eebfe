"""Rate laws: bits a second and hertz at a signal-to-noise ratio."""

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.radio.fading import Rayleigh
from netsim.radio.link import MulticastLink, RadioLink
from netsim.radio.nr.codes import MCS_TABLES
from netsim.radio.rate import AdaptiveModulation, FiniteBlocklength, RateLaw, Shannon
from netsim.streams import Streams
from stats import assert_mean

SNRS = 10 ** (np.arange(-15, 35, 0.7) / 10)
LAWS = [Shannon(), Shannon(3.0), FiniteBlocklength(), AdaptiveModulation(), AdaptiveModulation("qam64_low_se")]


def test_shannon() -> None:
    assert Shannon().efficiency(np.array([0.0, 1.0, 3.0])).tolist() == pytest.approx([0, 1, 2])
    assert Shannon(10 * np.log10(2)).efficiency(np.array([6.0])).tolist() == pytest.approx([2])
    tiny = Shannon().efficiency(np.array([1e-20]))[0]
    assert tiny == pytest.approx(1e-20 * log2(np.e), rel=1e-12)  # not lost beside the one


def test_finite_blocklength_by_hand() -> None:
    """At 0 dB: C = 1 bit, V = 3/4 log2(e)^2; Q^-1(1e-3) = 3.0902."""
    found = FiniteBlocklength(400, 1e-3).efficiency(np.array([1.0]))[0]
    assert found == pytest.approx(0.999 * (1 - 3.0902323 * 0.75**0.5 * log2(np.e) / 20), rel=1e-7)


def test_long_codewords_reach_capacity() -> None:
    assert FiniteBlocklength(10**12, 1e-9).efficiency(SNRS) == pytest.approx(Shannon().efficiency(SNRS), rel=1e-4)
    assert FiniteBlocklength(1, 1e-5).efficiency(SNRS).min() == 0.0


def test_finite_blocklength_over_parallel_channels() -> None:
    """Half of the symbols at 0 dB, half at 10 dB: capacities and dispersions are means, their roots are not."""
    found = FiniteBlocklength(256, 1e-3).efficiency(np.array([[1.0, 10.0]]))[0]
    capacity, dispersion = (1 + log2(11)) / 2, (3 / 4 + 120 / 121) / 2
    assert found == pytest.approx(0.999 * (capacity - 3.0902323 / 16 * dispersion**0.5 * log2(np.e)), rel=1e-7)


@pytest.mark.parametrize("law", LAWS)
def test_equal_resource_blocks_are_one(law: RateLaw) -> None:
    assert law.efficiency(np.repeat(SNRS[:, None], 6, axis=1)) == pytest.approx(law.efficiency(SNRS), rel=1e-9)


@pytest.mark.parametrize("law", LAWS)
def test_no_law_beats_capacity_over_the_band(law: RateLaw) -> None:
    snrs = np.random.default_rng(3).exponential(5.0, size=(200, 12))
    found = law.efficiency(snrs)
    assert found.shape == (200,)
    assert (found >= 0).all()
    assert (found <= np.log2(1 + snrs).mean(axis=1) * (1 + 1e-12)).all()


@pytest.mark.parametrize(("mcs", "margin"), [(0, 0.6), (6, 1.001), (20, 1.01)])
def test_adaptive_modulation_block_by_block(mcs: int, margin: float) -> None:
    """Blocks sent one by one: a block gets through with its k-th copy if its own luck says so at k times the ratio.

    Beyond the ratio that a scheme needs by a margin below that of the next one, or below that of the lowest.
    """
    law, table = AdaptiveModulation(block_bits=984, attempts=3, overhead=0.1), MCS_TABLES["qam64"]
    snr = margin * table.needed(984, 0.1)[mcs]
    luck = np.random.default_rng(5).random(20_000)
    needed = 1 + sum((luck < table.error_rate(mcs, k * snr, 984)).astype(int) for k in (1, 2, 3))
    sent, arrived = np.minimum(needed, 3), needed <= 3
    expected = law.efficiency(np.array([snr]))[0] / (0.9 * table.efficiency[mcs])
    assert_mean(arrived - expected * sent, 0.0)  # a ratio of means, as the mean of a difference
    assert 0.05 < expected < 0.95


def test_no_retransmission_leaves_the_blocks_that_arrive() -> None:
    law, table = AdaptiveModulation(attempts=1, overhead=0.0), MCS_TABLES["qam64"]
    assert law.efficiency(np.array([1e4])).tolist() == pytest.approx([table.efficiency[28]])
    snr = 10**1.16
    assert law.efficiency(np.array([snr]))[0] == pytest.approx(
        table.efficiency[20] * (1 - table.error_rate(20, snr, 8000))
    )


@given(st.integers(1, 5))
def test_late_reports(delay: int) -> None:
    """Reports of a channel that then falls away ask for too much; from one that stays they are as good as fresh."""
    law = AdaptiveModulation(cqi_delay_blocks=delay, attempts=1, overhead=0.0)
    fresh = AdaptiveModulation(attempts=1, overhead=0.0)
    constant = np.full(12, 20.0)
    assert law.efficiency(constant).tolist() == fresh.efficiency(constant[delay:]).tolist()
    falls = np.where(np.arange(12) < 6, 100.0, 5.0)
    found = law.efficiency(falls)
    assert len(found) == 12 - delay
    assert found[6 - delay : 6].tolist() == pytest.approx([0.0] * delay, abs=1e-6)  # asked for when all was well
    assert found[6:].tolist() == fresh.efficiency(falls[6 + delay :]).tolist()


def test_links_show_late_reports_the_blocks_before() -> None:
    """The window of a link begins as many blocks earlier as its law asks for, even before time zero."""
    key, fading = Streams(1).key("link"), Rayleigh(0.1)
    link = RadioLink(3e6, fading, key, AdaptiveModulation(cqi_delay_blocks=2))
    window = link.window(0.05, 6)
    gains = fading.power_gains(key, np.arange(-2, 6))
    assert list(window.borders_s) == pytest.approx([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert list(window.signal.values) == (3e6 * gains[2:]).tolist()
    assert list(window.efficiency(1e6).values) == link.rate.efficiency(3 * gains).tolist()
    assert list(MulticastLink([link, link]).window(0.05, 6).efficiency(1e6).values) == list(
        window.efficiency(1e6).values
    )
