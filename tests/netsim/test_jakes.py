"""Fading of moving users: distribution, autocorrelation, how often it fades, and that any instant can be had."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import j0
from scipy.stats import expon
from worlds import flat_network, world

from netsim.radio.jakes import Jakes
from netsim.streams import Streams
from stats import assert_ks, assert_mean, assert_uncorrelated

STREAMS = Streams(17)
CARRIER_HZ = 3e9
LINKS = 4000


def over_links(law: Jakes, blocks: np.ndarray, links: int = LINKS) -> np.ndarray:
    """Gains of independent links, one row each."""
    gains = law.at(CARRIER_HZ, np.zeros(1))
    return np.array([gains.power_gains(STREAMS.key("link", link), blocks) for link in range(links)])


@pytest.mark.parametrize("waves", [8, 16, Jakes().waves])
def test_power_is_exponential_over_links(waves: int) -> None:
    """At one instant, but for its variance: n waves of random phase have E|h|^4 = 2 - 1/n."""
    power = over_links(Jakes(waves=waves), np.array([123_456]))[:, 0]
    assert_ks(power, expon.cdf)
    assert_mean(power, 1.0)
    assert_mean(power**2, 2 - 1 / waves)


def test_power_has_mean_one_over_time() -> None:
    """On every link, not only over links: nobody is lucky for ever."""
    wavelengths = 5000
    gains = Jakes(speed_kmh=36.0, blocks_per_wavelength=4).at(CARRIER_HZ, np.zeros(1))
    for link in range(5):
        mean = gains.power_gains(STREAMS.key("link", link), np.arange(4 * wavelengths)).mean()
        # the integral of J0(2 pi f tau)^2 up to T is about log(T f) / pi^2 / f: the variance of a mean over T
        assert mean == pytest.approx(1.0, abs=4 * np.sqrt(2 * np.log(2 * np.pi * wavelengths) / np.pi**2 / wavelengths))


@pytest.mark.parametrize("lag", [1, 5, 10, 20, 37])
def test_autocorrelation_is_that_of_clarke(lag: int) -> None:
    """Over links, E p(t) p(t + tau) = 1 + J0(x)^2 - sum |a_n|^2 / n^2, where a_n is the mean of exp(i x cos) over the
    n-th arc of directions; the arcs' mean is J0(x). Here x = 2 pi f tau and tau is `lag` twentieths of 1/f."""
    waves, x = 16, 2 * np.pi * lag / 20
    angles = 2 * np.pi * (np.arange(waves * 1000) + 0.5) / (waves * 1000)
    arcs = np.exp(1j * x * np.cos(angles)).reshape(waves, 1000).mean(axis=1)
    assert arcs.mean() == pytest.approx(j0(x), abs=1e-9)
    power = over_links(Jakes(waves=waves), np.array([1000, 1000 + lag]))
    assert_mean(power[:, 0] * power[:, 1], 1 + j0(x) ** 2 - (np.abs(arcs) ** 2).sum() / waves**2)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.0])
def test_fades_come_as_often_as_rice_says(threshold: float) -> None:
    """Rice 1944: the envelope falls below rho sqrt(2 pi) f rho exp(-rho^2) times a second, with rho^2 the power."""
    finely = Jakes(waves=64, blocks_per_wavelength=200)
    gains = over_links(finely, np.arange(200 * 20), links=150)
    falls = ((gains[:, :-1] >= threshold) & (gains[:, 1:] < threshold)).sum(axis=1) / 20
    assert_mean(falls, np.sqrt(2 * np.pi * threshold) * np.exp(-threshold))


def test_doppler() -> None:
    """36 km/h at 3 GHz is a shift of 100 Hz, so a wavelength takes 10 ms."""
    gains = Jakes(speed_kmh=36.0, blocks_per_wavelength=25).at(CARRIER_HZ, np.zeros(1))
    assert gains.doppler_hz == pytest.approx(100, rel=1e-3)
    assert gains.coherence_time_s == pytest.approx(0.4e-3, rel=1e-3)


def test_speed_only_stretches_time() -> None:
    """The same waves pass whatever the speed."""
    slow, fast = (over_links(Jakes(speed_kmh=speed), np.arange(50), links=1)[0] for speed in (3.0, 60.0))
    assert slow == pytest.approx(fast, rel=1e-6)


def test_links_are_independent() -> None:
    first, second = over_links(Jakes(), np.array([7])), over_links(Jakes(), np.array([50_000_007]))
    assert_uncorrelated(first[:-1, 0], first[1:, 0])
    assert_uncorrelated(first[:, 0], second[:, 0])


def test_any_block_can_be_had_alone() -> None:
    gains, key = Jakes().at(CARRIER_HZ, np.zeros(1)), STREAMS.key("link", 3)
    blocks = np.arange(10**9, 10**9 + 203)
    together = gains.power_gains(key, blocks)
    assert [gains.power_gains(key, blocks[k : k + 1])[0] for k in range(203)] == together.tolist()


def test_a_network_fades_at_its_carrier() -> None:
    """3 km/h at 1 GHz: a twentieth of a wavelength of 0.2998 m takes 18 ms; both directions fade apart."""
    flat = flat_network(1)
    (user,) = world(replace(flat, channel=replace(flat.channel, fading=Jakes()))).network.users
    up, down = user.uplink.link, user.downlink.link
    assert up.coherence_time_s == down.coherence_time_s == pytest.approx(0.299792458 / 20 / (3 / 3.6))
    blocks = np.arange(20)
    ratio = down.power_over_noise_hz(blocks) / up.power_over_noise_hz(blocks)
    assert ratio.std() > 0.1 * ratio.mean()
