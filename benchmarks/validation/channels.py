"""Fading compared with closed forms: distributions, autocorrelation, outage probability and ergodic rate."""

from __future__ import annotations

from math import exp

import numpy as np
import simpy
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import exp1, gammainc, j0
from scipy.stats import expon, gamma, ncx2

from benchmarks.validation.findings import Finding, distance, mean, proportion
from netsim.radio.fading import Gains, Nakagami, Rayleigh, Rician
from netsim.radio.flow.medium import FlowMedium
from netsim.radio.jakes import Jakes
from netsim.radio.link import RadioLink
from netsim.radio.scheduling import EqualShares
from netsim.streams import Streams

STREAMS = Streams(41)
BLOCKS = np.arange(40_000)
LINKS = 4000
K = 10**0.9


def findings() -> list[Finding]:
    return [*_distributions(), *_moving(), *_outage(), *(_ergodic(snr) for snr in (1.0, 100.0))]


def _distributions() -> list[Finding]:
    key = STREAMS.key("link")
    rician = 2 * (K + 1) * Rician(9.0).power_gains(key, BLOCKS)
    still = over_links(np.array([10**6]))[:, 0]
    laws = [
        distance("Rayleigh", "exponential", Rayleigh().power_gains(key, BLOCKS), expon.cdf),
        distance("Rician, K = 9 dB", "noncentral chi-square", rician, ncx2(2, 2 * K).cdf),
        distance("Jakes, over links", "exponential", still, expon.cdf),
        mean("Jakes, over links", "second moment of power", "2 - 1/32 of 32 waves", still**2, 2 - 1 / 32),
    ]
    for m in (0.5, 2.0):
        gains = Nakagami(m).power_gains(key, BLOCKS)
        laws.append(distance(f"Nakagami, m = {m:g}", "gamma", gains, gamma(m, scale=1 / m).cdf))
    return laws


def _moving() -> list[Finding]:
    """Finite sums of n waves lack up to 1/n of the power's autocorrelation: 256 waves make it small."""
    found, power = [], over_links(np.arange(4000), waves=256, links=200)
    for lag in (2, 5, 12):
        expected = 1 + j0(2 * np.pi * lag / 20) ** 2
        figure = f"E p(t) p(t + {lag / 20:g}/f)"
        found.append(mean("Jakes, 256 waves", figure, "1 + J0(2 pi f tau)^2", products(power, lag), expected))
    falls = [_falls(row) for row in over_links(np.arange(4000), blocks_per_wavelength=200, links=300)]
    expected = np.sqrt(2 * np.pi * 0.1) * exp(-0.1)
    return [*found, mean("Jakes", "crossings below -10 dB per 1/f", "Rice 1944", falls, expected)]


def _falls(power: NDArray[np.float64]) -> float:
    return float(((power[:-1] >= 0.1) & (power[1:] < 0.1)).sum()) / 20


def products(power: NDArray[np.float64], lag: int) -> NDArray[np.float64]:
    """Mean over time of the product of powers `lag` blocks apart, for each link: (links, blocks) -> (links,)."""
    means: NDArray[np.float64] = (power[:, lag:] * power[:, : power.shape[1] - lag]).mean(axis=1)
    return means


def over_links(
    blocks: NDArray[np.int64], waves: int = 32, blocks_per_wavelength: int = 20, links: int = LINKS
) -> NDArray[np.float64]:
    """Power gains of independent links: (links, blocks)."""
    gains = Jakes(3.0, waves, blocks_per_wavelength).at(3e9, np.zeros(1))
    return np.array([gains.power_gains(STREAMS.key("moving", link), blocks) for link in range(links)])


def _outage() -> list[Finding]:
    """Probability that the rate of a block is below 1 bit/s/Hz at a mean SNR of 10 dB."""
    laws: list[tuple[str, Gains, float]] = [
        ("Rayleigh", Rayleigh(), 1 - exp(-0.1)),
        ("Nakagami, m = 2", Nakagami(2.0), float(gammainc(2.0, 0.2))),
        ("Rician, K = 9 dB", Rician(9.0), float(ncx2(2, 2 * K).cdf(2 * (K + 1) * 0.1))),
    ]
    return [
        proportion(name, "outage at 1 bit/s/Hz, 10 dB", "distribution function",
                   np.log2(1 + 10 * law.power_gains(STREAMS.key("outage"), BLOCKS)) < 1, expected)
        for name, law, expected in laws
    ]  # fmt: skip


def _ergodic(snr: float) -> Finding:
    """Goodput of one long transfer, event by event, over independent blocks."""
    bandwidth_hz, blocks, block_s = 1e6, 40_000, 0.01
    expected = np.log2(np.e) * exp(1 / snr) * exp1(1 / snr)
    env = simpy.Environment()
    medium = FlowMedium(env, bandwidth_hz, EqualShares(), [0], spread=True)
    link = RadioLink(snr * bandwidth_hz, Rayleigh(block_s), STREAMS.key("goodput"))
    sent = medium.begin(link, (0,), expected * bandwidth_hz * block_s * blocks)
    env.run(sent.done)
    std = np.log2(1 + snr * np.random.default_rng(0).exponential(size=100_000)).std()
    figure = f"goodput at {10 * np.log10(snr):.0f} dB, bit/s/Hz"
    source = "ergodic rate (Alouini and Goldsmith 1999)"
    return Finding("Rayleigh", figure, source, sent.bits / env.now / bandwidth_hz, expected, 3.29 * std / blocks**0.5)


def plot() -> Figure:
    """Plot the distribution function of the power, and its autocorrelation for a moving user."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    distribution, autocorrelation = figure.subplots(1, 2)
    probability = (np.arange(2000) + 0.5) / 2000
    key, some = STREAMS.key("plot"), np.arange(2000)
    for name, law, exact in (
        ("Rayleigh", Rayleigh(), expon),
        ("Nakagami 0.5", Nakagami(0.5), gamma(0.5, scale=2.0)),
        ("Rician 9 dB", Rician(9.0), ncx2(2, 2 * K, scale=1 / (2 * (K + 1)))),
    ):
        (line,) = distribution.plot(10 * np.log10(np.sort(law.power_gains(key, some))), probability, lw=2, alpha=0.5)
        distribution.plot(10 * np.log10(exact.ppf(probability)), probability, "--", c=line.get_color(), label=name)
    distribution.set(xlabel="power gain (dB), dashed: exact", ylabel="probability", xlim=(-30, 8))
    distribution.legend(fontsize=7)
    lags = np.arange(0, 41)
    power = over_links(np.arange(4000), links=100)
    autocorrelation.plot(
        lags / 20, [products(power, lag).mean() - 1 for lag in lags], "o", ms=3, label="Jakes, 32 waves"
    )
    autocorrelation.plot(lags / 20, j0(2 * np.pi * lags / 20) ** 2, "k--", lw=1, label="J0(2 pi f tau)^2")
    autocorrelation.set(xlabel="lag (1 / Doppler shift)", ylabel="autocovariance of power")
    autocorrelation.legend(fontsize=7)
    return figure
