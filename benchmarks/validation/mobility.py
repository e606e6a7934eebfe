"""Mobility models compared with their stationary distributions, and the antenna element with Sionna."""

from __future__ import annotations

from math import cos, exp, log, pi, sqrt
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.integrate import quad
from scipy.stats import rayleigh

from benchmarks.validation.findings import Finding, distance, mean
from netsim.mobility import GaussMarkov, RandomWaypoint, Walk
from netsim.radio.antenna import ThreeSectors
from netsim.radio.power_control import PowerControl
from netsim.streams import Floats, Streams

WALKERS, LATE_S = 4000, 800.0
WAYPOINT = RandomWaypoint(radius_m=100.0, min_speed_kmh=3.6, max_speed_kmh=14.4)
MARKOV = GaussMarkov(radius_m=1e9, speed_kmh=3.6, memory_s=5.0)
GRID = np.linspace(0, 1, 201)


def findings() -> list[Finding]:
    """Compare random waypoint, Gauss-Markov, power control and antenna."""
    control = PowerControl(-80.0, 0.8)
    lossy = [control.power_dbm(23.0, loss_db) for loss_db in (100.0, 150.0)]
    standard = "TS 38.213 clause 7.1.1 by hand"
    return [
        *_waypoint(),
        *_markov(),
        Finding("uplink power control", "dBm over 100 dB", standard, lossy[0], -80 + 0.8 * 100, 1e-9),
        Finding("uplink power control", "dBm over 150 dB", standard, lossy[1], 23.0, 1e-9),
        *_antenna(),
    ]


def _late() -> list[Walk]:
    streams = Streams(3)
    walks = [Walk(WAYPOINT.legs(user, (0.0, 0.0), streams), (0.0, 0.0)) for user in range(WALKERS)]
    for walk in walks:
        walk.at(LATE_S)
    return walks


def _waypoint() -> list[Finding]:
    walks = _late()
    radii = [float(np.hypot(*walk.at(LATE_S))) / 100.0 for walk in walks]
    legs = [walk.leg for walk in walks]
    speeds = [float(np.hypot(*np.subtract(leg.end, leg.start))) / (leg.end_s - leg.start_s) for leg in legs]
    density = _density() * GRID
    cumulative = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return [
        distance(
            "random waypoint, distance from the centre", "Hyytia, Lassila, Virtamo 2006", radii,
            lambda r: np.interp(r, GRID, cumulative / cumulative[-1]),
        ),
        mean("random waypoint", "stationary mean speed, m/s", "1 / E[1 / V]", speeds, 3 / log(4)),
    ]  # fmt: skip


def _density() -> Floats:
    """Stationary density per area at the radii `GRID` of the unit disc, up to a factor."""
    chords = [quad(lambda angle, r=r: sqrt(max(0.0, 1 - (r * cos(angle)) ** 2)), 0, pi)[0] for r in GRID]
    return (1 - GRID**2) * np.array(chords)


def _velocities(steps: int) -> Floats:
    """Velocities in m/s at every step of 1 s: (users, steps, 2)."""
    streams, users = Streams(4), range(3000)
    walks = [Walk(MARKOV.legs(user, (0.0, 0.0), streams), (0.0, 0.0)) for user in users]
    return np.diff(np.array([[walk.at(float(step)) for step in range(steps + 1)] for walk in walks]), axis=1)


def _markov() -> list[Finding]:
    velocities, scale = _velocities(20), 1 / sqrt(pi / 2)
    speeds = np.hypot(*velocities[:, -1].T)
    return [
        distance("Gauss-Markov, speed", "Rayleigh", speeds, rayleigh(scale=scale).cdf),
        *(
            mean(
                "Gauss-Markov", f"correlation of velocity after {lag} s", "exp(-t / 5 s)",
                velocities[:, 2, 0] * velocities[:, 2 + lag, 0] / scale**2, exp(-lag / 5.0),
            )
            for lag in (1, 5, 15)
        ),
    ]  # fmt: skip


def _antenna() -> list[Finding]:
    """Compare the antenna element over a grid of directions; nothing if Sionna is not installed."""
    try:
        import torch
        from sionna.phy.channel.tr38901 import AntennaElement
    except ImportError:
        return []
    azimuths, zeniths = np.meshgrid(np.linspace(-180, 180, 73), np.linspace(0, 180, 37))
    element: Any = AntennaElement("38.901", precision="double")
    fields = element.field(torch.tensor(np.radians(zeniths)), torch.tensor(np.radians(azimuths)))
    theirs = 10 * np.log10(sum(np.abs(field.numpy()) ** 2 for field in fields))
    ours = np.vectorize(ThreeSectors().gain_db)(azimuths, zeniths)
    worst = float(np.abs(ours - theirs).max())
    return [Finding("antenna element", "largest difference over 2701 directions, dB", "Sionna 2.2", worst, 0.0, 0.01)]


def plot() -> Figure:
    """Plot the density of the random waypoint model, and the velocity correlation of Gauss-Markov."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    places, memory = figure.subplots(1, 2)
    radii = [float(np.hypot(*walk.at(LATE_S))) / 100.0 for walk in _late()]
    density = _density()
    places.hist(radii, bins=25, density=True, color="0.8")
    places.plot(GRID, density * GRID / np.trapezoid(density * GRID, GRID), "k--", lw=1, label="closed form")
    places.set(xlabel="distance from the middle (radii)", ylabel="density of users, random waypoint")
    places.legend(fontsize=7)
    velocities = _velocities(20)[:, :, 0]
    lags = np.arange(18)
    memory.plot(lags, [(velocities[:, 2] * velocities[:, 2 + lag]).mean() * pi / 2 for lag in lags], "o", ms=3)
    memory.plot(lags, np.exp(-lags / 5), "k--", lw=1, label="exp(-t / 5 s)")
    memory.set(xlabel="time (s)", ylabel="correlation of velocity")
    memory.legend(fontsize=7)
    return figure
