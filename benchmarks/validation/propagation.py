"""Path loss and line-of-sight probability compared with Sionna, penetration loss with the table of the standard."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from benchmarks.validation.findings import Finding, distance, mean, proportion
from netsim.radio.pathloss import (
    FreeSpace,
    IndoorOffice,
    LogDistance,
    Path,
    PathLoss,
    RuralMacro,
    UrbanMacro,
    UrbanMicro,
)
from netsim.radio.pathloss.buildings import Buildings, Indoors
from netsim.radio.shadowing import CorrelatedShadowing, IndependentShadowing
from netsim.streams import Streams

CASES: list[tuple[str, PathLoss, float, float, tuple[float, ...], float, float]] = [
    # name, law, nearest and farthest distance, heights of users, height of the station, carrier in GHz
    ("UMi", UrbanMicro(), 10, 5000, (1.5, 5, 9.5), 10, 3.5),
    ("UMa", UrbanMacro(), 10, 5000, (1.5, 5, 12.9), 25, 3.5),
    ("RMa", RuralMacro(), 10, 5000, (1.5, 5, 10), 35, 0.7),
    ("InH mixed", IndoorOffice(office="mixed"), 1.5, 140, (1, 1.5, 2), 3, 28),
    ("InH open", IndoorOffice(office="open"), 1.5, 140, (1, 1.5, 2), 3, 28),
]
DISTANCES = 60
NAMES = {"UMi": "UMiScenario", "UMa": "UMaScenario", "RMa": "RMaScenario"}
ROUNDING_DB = 0.01
"""Sionna takes c = 299,792,458 m/s in the breakpoint distance, the standard 3.0e8: up to 0.0057 dB beyond it."""


def findings() -> list[Finding]:
    """Compare with Sionna if it is installed, and with textbooks, tables and correlation functions."""
    try:
        import sionna.phy  # noqa: F401
    except ImportError:
        found = []
    else:
        found = [each for case in CASES for each in _beside_sionna(*case)]
    return found + _textbooks() + _walls() + _shadowing()


def _beside_sionna(
    name: str, law: PathLoss, near: float, far: float, heights: tuple[float, ...], station: float, carrier_ghz: float
) -> list[Finding]:
    distances = np.geomspace(near, far, DISTANCES)
    worst = dict.fromkeys((True, False), 0.0)
    chances = 0.0
    for height in heights:
        paths = [Path(float(d), station, height, carrier_ghz * 1e9, surroundings=1e-9) for d in distances]
        for sight in worst:
            theirs, probability = _sionna(name, distances, height, station, carrier_ghz, sight)
            ours = np.array([law.loss_db(path, sight) for path in paths])
            worst[sight] = max(worst[sight], float(np.abs(ours - theirs).max()))
        ours_p = np.array([_probability(law, path) for path in paths])
        chances = max(chances, float(np.abs(ours_p - np.clip(probability, 0, 1)).max()))
    points = f"largest difference over {DISTANCES * len(heights)} points, dB"
    return [
        Finding(f"{name}, {'LOS' if sight else 'NLOS'}", points, "Sionna 2.2", worst[sight], 0.0, ROUNDING_DB)
        for sight in worst
    ] + [Finding(f"{name}, LOS probability", "largest difference", "Sionna 2.2", chances, 0.0, 1e-6)]


def _probability(law: PathLoss, path: Path) -> float:
    """LOS probability, by bisection of the uniform draw above which the line of sight is obstructed."""
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if law.line_of_sight(path, middle) else (low, middle)
    return low


def _sionna(name: str, distances: Any, height: float, station: float, carrier_ghz: float, sight: bool) -> Any:
    import torch
    from sionna.phy.channel import tr38901

    antenna = tr38901.PanelArray(
        num_rows_per_panel=1, num_cols_per_panel=1, polarization="single", polarization_type="V",
        antenna_pattern="omni", carrier_frequency=carrier_ghz * 1e9,
    )  # fmt: skip
    if name.startswith("InH"):
        scene = tr38901.InHScenario(
            carrier_ghz * 1e9, name.split()[1], antenna, antenna, "downlink", precision="double"
        )
    elif name == "RMa":
        scene = tr38901.RMaScenario(carrier_ghz * 1e9, antenna, antenna, "downlink", precision="double")
    else:
        kind = getattr(tr38901, NAMES[name])
        scene = kind(carrier_ghz * 1e9, "low", antenna, antenna, "downlink", precision="double")
    zeros = np.zeros_like(distances)
    users = torch.tensor(np.stack([distances, zeros, zeros + height], axis=-1))[None]
    base = torch.tensor([[[0.0, 0.0, station]]], dtype=torch.float64)
    inside = torch.full((1, len(distances)), name.startswith("InH"))
    still = torch.zeros_like(users)
    scene.set_topology(users, base, still, torch.zeros_like(base), still, inside, los=sight)
    return scene.basic_pathloss.numpy()[0, 0], scene.los_probability.numpy()[0, 0]


def _textbooks() -> list[Finding]:
    """Free space loss at 1 m and 2.4 GHz is 20 log10(2.4e9) - 147.55 dB; a decade at exponent 3.5 adds 35 dB."""
    near, far = (Path(metres, 5.0, 5.0, 2.4e9) for metres in (1.0, 10.0))
    free_db, law = FreeSpace().loss_db(near, True), LogDistance(exponent=3.5)
    decade_db = law.loss_db(far, True) - law.loss_db(near, True)
    return [
        Finding("free space", "dB at 1 m, 2.4 GHz", "Friis", free_db, 20 * np.log10(2.4e9) - 147.55, 0.005),
        Finding("log-distance", "dB per decade, exponent 3.5", "10 * exponent", decade_db, 35.0, 1e-9),
    ]


def _walls() -> list[Finding]:
    """Mean penetration loss of indoor users, by the integral over depth: E min(U, V) = maximum depth / 3."""
    path = Path(100.0, 25.0, 1.5, 3.5e9)
    streams, law = Streams(1), Buildings(0.8, 0.0, 25.0)
    users = [law.indoors(user, streams) for user in range(20_000)]
    losses = [user.loss_db(path) for user in users if user]
    wall_db = 5 - 10 * np.log10(0.3 * 10**-0.27 + 0.7 * 10**-1.9)
    return [
        Finding(
            "walls, high loss", "dB at 3.5 GHz", "TR 38.901 table 7.4.3-2 by hand",
            Indoors(0.0, "high_loss", 0.0).loss_db(path), 5 - 10 * np.log10(0.7 * 10**-2.405 + 0.3 * 10**-1.9), 1e-9,
        ),
        proportion("indoor users", "share", "the scenario's 0.8", [user is not None for user in users], 0.8),
        mean("walls, low loss", "mean loss indoors, dB", "wall + 0.5 dB/m * 25 m / 3", losses, wall_db + 0.5 * 25 / 3),
    ]  # fmt: skip


def _shadowing() -> list[Finding]:
    law, found = CorrelatedShadowing(20.0, 0.5, waves=200), []
    for apart_m in (2.0, 20.0, 60.0):
        places = [(0.0, 0.0), (apart_m, 0.0)]
        pairs = np.array(
            [
                [[law.standard(0, place, station, streams, 20.0) for station in (0, 1)] for place in places]
                for streams in map(Streams, range(12_000))
            ]
        )
        products = pairs[:, 0, 0] * pairs[:, 1, 0]
        found.append(
            mean(
                "correlated shadowing",
                f"correlation at {apart_m:g} m",
                "exp(-d / 20 m)",
                products,
                np.exp(-apart_m / 20),
            )
        )
    products = pairs[:, 0, 0] * pairs[:, 0, 1]
    streams = Streams(2)
    apart = [IndependentShadowing().standard(user, (0.0, 0.0), 0, streams, 20.0) for user in range(12_000)]
    found.append(distance("independent shadowing", "standard normal", np.ravel(apart), norm.cdf))
    return [*found, mean("correlated shadowing", "correlation of two stations", "0.5", products, 0.5)]


def plot() -> Figure:
    """Plot path losses over distance, and the correlation of shadowing."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    losses, correlation = figure.subplots(1, 2)
    for colour, (name, law, near, far, heights, station, carrier_ghz) in enumerate(CASES[:4]):
        distances = np.geomspace(near, far, DISTANCES)
        paths = [Path(float(d), station, heights[0], carrier_ghz * 1e9) for d in distances]
        for sight, style in ((True, "-"), (False, "--")):
            label = f"{name} {carrier_ghz:g} GHz" if sight else None
            losses_db = [law.loss_db(path, sight) for path in paths]
            losses.semilogx(distances, losses_db, style, c=f"C{colour}", lw=1, label=label)
    losses.set(xlabel="distance (m), dashed: no line of sight", ylabel="path loss (dB)")
    losses.legend(fontsize=6)
    apart = np.linspace(0, 100, 60)
    for seed in range(5):
        field = CorrelatedShadowing().field_of(Streams(seed).key("plot"), 20.0)
        correlation.plot(apart, [np.cos(field.along_x * d).mean() for d in apart], lw=0.8)
    correlation.plot(apart, np.exp(-apart / 20), "k--", label="exp(-d / 20 m)")
    correlation.set(xlabel="distance between users (m)", ylabel="correlation, five worlds")
    correlation.legend(fontsize=7)
    return figure
