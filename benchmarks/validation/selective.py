"""Frequency-selective fading compared with its delay profiles: delay spread, correlation over frequency and time."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import j0

from benchmarks.validation.findings import Finding, mean
from netsim.radio.delay_profiles import LINE_OF_SIGHT, TDL
from netsim.radio.fading import Fading
from netsim.radio.selective import ExponentialDelays, TappedDelayLine
from netsim.streams import Floats, Streams

STREAMS = Streams(47)
LINKS = 500
INSTANTS = 1000 + 4321 * np.arange(40)
"""Block numbers so far apart that gains are independent."""
SPACINGS_HZ = (0.18e6, 1.8e6, 7.2e6)
SPREAD_S = 100e-9


def findings() -> list[Finding]:
    found = []
    for name in TDL:
        found += _profile(name)
    return [*found, *_exponential(), *_moving()]


def over_links(law: Fading, offsets_hz: list[float], later: int = 0) -> Floats:
    """Power gains of independent links `later` blocks after each instant: (links, instants, resource blocks)."""
    gains = law.at(3e9, np.array(offsets_hz))
    return np.array([gains.power_gains(STREAMS.key("link", link), INSTANTS + later) for link in range(LINKS)])


def products(one: Floats, other: Floats) -> Floats:
    """Mean over instants of the product of two powers: (links, instants) -> (links,)."""
    return np.asarray((one * other).mean(axis=1))


def taps(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Delays relative to the delay spread, and powers that sum to one, of a TDL profile: two arrays (taps,)."""
    delays, decibels = np.array(TDL[name]).T
    powers = 10 ** (decibels / 10)
    return delays, powers / powers.sum()


def _profile(name: str) -> list[Finding]:
    delays, powers = taps(name)
    spread = np.sqrt(powers @ delays**2 - (powers @ delays) ** 2)
    law = f"TDL-{name}"
    found = [Finding(law, "delay spread", "one, by definition", float(spread), 1.0, 0.0065)]
    power = over_links(TappedDelayLine(name), [0.0, *SPACINGS_HZ])  # type: ignore[arg-type]
    waves = powers**2 / TappedDelayLine().waves
    if name in LINE_OF_SIGHT:
        waves[0] = powers[0] ** 2
    for column, spacing_hz in enumerate(SPACINGS_HZ, start=1):
        expected = 1 + abs((powers * np.exp(-2j * np.pi * spacing_hz * delays * SPREAD_S)).sum()) ** 2 - waves.sum()
        figure = f"E p(f) p(f + {spacing_hz / 1e6:g} MHz), 100 ns"
        found.append(
            mean(law, figure, "transform of the profile", products(power[:, :, 0], power[:, :, column]), expected)
        )
    return found


def _exponential() -> list[Finding]:
    """A finite sum is at most 1 / taps of the product too small, which 256 taps make negligible."""
    power = over_links(ExponentialDelays(taps=256, waves=4), [0.0, *SPACINGS_HZ])
    return [
        mean("exponential delays, 256 taps", f"E p(f) p(f + {spacing_hz / 1e6:g} MHz), 100 ns", "1 / (1 + 2 pi i d s)",
             products(power[:, :, 0], power[:, :, column]), 1 + 1 / abs(1 + 2j * np.pi * spacing_hz * SPREAD_S) ** 2)
        for column, spacing_hz in enumerate(SPACINGS_HZ, start=1)
    ]  # fmt: skip


def _moving() -> list[Finding]:
    """TDL-B over time: every tap has the Jakes spectrum; the bias of a finite sum of waves is subtracted."""
    powers, law = taps("B")[1], TappedDelayLine("B", waves=32)
    now = over_links(law, [0.0])[:, :, 0]
    found = []
    for lag in (3, 7, 12):
        correlation = float(j0(2 * np.pi * lag / 20)) ** 2
        lacks = (powers**2).sum() / 32 * correlation
        power = products(now, over_links(law, [0.0], later=lag)[:, :, 0])
        figure = f"E p(t) p(t + {lag / 20:g}/f)"
        found.append(mean("TDL-B, 32 waves per tap", figure, "1 + J0(2 pi f tau)^2", power, 1 + correlation - lacks))
    return found


def plot() -> Figure:
    """Plot one link over time and frequency, and the correlation over frequency of all profiles."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    link, correlation = figure.subplots(1, 2)
    offsets_hz = np.linspace(-10e6, 10e6, 112)
    law = TappedDelayLine("A", 300.0).at(3.5e9, offsets_hz)
    gains = law.power_gains(STREAMS.key("picture"), np.arange(60))
    shown = link.pcolormesh(np.arange(60) / 20, offsets_hz / 1e6, 10 * np.log10(gains.T), vmin=-20, vmax=8)
    figure.colorbar(shown, ax=link, label="power gain (dB)")
    link.set(xlabel="time (wavelengths moved)", ylabel="from the carrier (MHz), TDL-A 300 ns")
    spacings_hz = np.linspace(0, 10e6, 200)
    for name in TDL:
        delays, powers = taps(name)
        turned = (powers * np.exp(-2j * np.pi * spacings_hz[:, None] * delays * SPREAD_S)).sum(axis=1)
        correlation.plot(spacings_hz / 1e6, np.abs(turned) ** 2, lw=1, label=f"TDL-{name}")
    correlation.set(xlabel="spacing (MHz), delay spread 100 ns", ylabel="|correlation|^2")
    correlation.legend(fontsize=7)
    return figure
