"""Coupling loss and SINR of 57 sectors beside 3GPP's calibration of TR 38.901 clause 7.8.1 at 6 GHz.

The figures of 3GPP are results of companies in R1-165974, spreadsheet Phase1Calibration_v42_CMCC.xlsx, as contained in
testBenches/chanModels/util/3gpp_calibration_phase1.json of NVIDIA's Aerial CUDA-Accelerated RAN: four companies of 21
for each quantity, the same percentiles of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import sqrt

import numpy as np
from matplotlib.figure import Figure

from benchmarks.validation.findings import Finding, Z
from netsim.budget import LinkBudget
from netsim.description import ChannelDescription, NetworkDescription, StationsDescription, UsersDescription
from netsim.geometry import Cells, HexagonalGrid
from netsim.radio.antenna import ThreeSectors
from netsim.radio.pathloss import PathLoss, UrbanMacro, UrbanMicro
from netsim.radio.pathloss.buildings import Buildings
from netsim.streams import Floats, Streams

PERCENTILES = (5, 25, 50, 75, 95)
USERS, DROPS, BAND_HZ = 570, 3, 20e6


@dataclass(frozen=True)
class Layout:
    """Parameters of TR 38.901 tables 7.2-1 and 7.8-1, and results of four companies: one row each, by percentile."""

    name: str
    law: PathLoss
    inter_site_distance_m: float
    height_m: float
    min_distance_m: float
    power_dbm: float
    coupling_gains_db: tuple[tuple[float, ...], ...]
    """Minus the coupling loss, as reported by CATT, ITRI, LGE, and Huawei (UMi) or IDCC (UMa)."""
    sinrs_db: tuple[tuple[float, ...], ...]
    """Geometry with noise, as reported by Sharp, CATR, ZTE, and Ericsson (UMi) or Samsung (UMa)."""

    def network(self) -> NetworkDescription:
        antenna = ThreeSectors(elements=10, electrical_downtilt_deg=12.0)
        grid = HexagonalGrid(2, self.inter_site_distance_m, wrap_around=True)
        return NetworkDescription(
            stations=StationsDescription(grid, self.height_m, self.power_dbm, antenna),
            users=UsersDescription(USERS, Cells(self.inter_site_distance_m / sqrt(3), self.min_distance_m)),
            channel=ChannelDescription(6.0, self.law, Buildings(0.8, 0.5, 25.0, floors=True)),
        )


LAYOUTS = (
    Layout(
        "UMi", UrbanMicro(), 200.0, 10.0, 10.0, 44.0,
        (
            (-142.75, -127.72, -114.89, -98.00, -75.34),
            (-141.85, -124.05, -110.54, -95.20, -74.73),
            (-141.96, -125.01, -111.50, -95.21, -74.09),
            (-141.90, -124.75, -111.05, -95.57, -74.69),
        ),
        (
            (-6.38, 0.65, 5.84, 13.47, 24.18),
            (-7.61, 0.25, 5.41, 12.57, 23.75),
            (-5.90, 0.88, 5.99, 13.82, 24.27),
            (-6.34, 0.64, 5.84, 13.45, 24.23),
        ),
    ),
    Layout(
        "UMa", UrbanMacro(), 500.0, 25.0, 35.0, 49.0,
        (
            (-151.40, -136.54, -123.08, -107.66, -87.33),
            (-150.45, -133.52, -119.67, -105.39, -86.73),
            (-149.38, -133.00, -119.90, -105.83, -85.60),
            (-150.00, -135.00, -121.57, -106.95, -86.86),
        ),
        (
            (-6.78, 0.74, 6.26, 14.20, 24.67),
            (-9.75, -0.03, 5.47, 13.33, 24.84),
            (-8.92, 0.63, 6.34, 14.36, 24.88),
            (-9.82, 0.20, 5.45, 13.42, 24.82),
        ),
    ),
)  # fmt: skip


def findings() -> list[Finding]:
    """Compare each percentile with the midpoint of the companies; half their range and our own interval are allowed."""
    found = []
    for layout in LAYOUTS:
        gains_db, sinrs_db = sample(layout)
        for what, ours, theirs in (
            ("coupling gain", gains_db, layout.coupling_gains_db),
            ("SINR", sinrs_db, layout.sinrs_db),
        ):
            for percentile, of_companies in zip(PERCENTILES, zip(*theirs, strict=True), strict=True):
                low, high = min(of_companies), max(of_companies)
                found.append(
                    Finding(
                        f"{layout.name}, 57 sectors, 6 GHz",
                        f"{what}, {percentile} % (dB)",
                        f"R1-165974: {low:.1f} to {high:.1f}",
                        float(np.percentile(ours, percentile)),
                        (low + high) / 2,
                        (high - low) / 2 + _half_width(ours, percentile),
                    )
                )
    return found


@cache
def sample(layout: Layout) -> tuple[Floats, Floats]:
    """Coupling gain and SINR in dB of every user, from the sector with the largest mean gain: two arrays (users,)."""
    gains_db, sinrs_db = [], []
    for drop in range(DROPS):
        powers = LinkBudget(layout.network(), Streams(drop)).powers
        best = powers.gains.max(axis=1)
        others = powers.gains.sum(axis=1) - best
        gains_db.append(10 * np.log10(best))
        noise = powers.user_noise_w_per_hz * BAND_HZ / powers.station_w
        sinrs_db.append(10 * np.log10(best / (others + noise)))
    return np.concatenate(gains_db), np.concatenate(sinrs_db)


def _half_width(values: Floats, percentile: float) -> float:
    """Half width of the 99.9 % confidence interval of a percentile, by its order statistics."""
    off = 100 * Z * sqrt(percentile / 100 * (1 - percentile / 100) / len(values))
    low, high = np.percentile(values, [max(0.0, percentile - off), min(100.0, percentile + off)])
    return float(high - low) / 2


def plot() -> Figure:
    """Distributions, and the companies' percentiles."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    panels = figure.subplots(1, 2)
    for colour, layout in enumerate(LAYOUTS):
        theirs = (layout.coupling_gains_db, layout.sinrs_db)
        for panel, values, companies in zip(panels, sample(layout), theirs, strict=True):
            panel.plot(np.sort(values), np.linspace(0, 100, len(values)), c=f"C{colour}", lw=1, label=layout.name)
            for of_company in companies:
                panel.plot(of_company, PERCENTILES, "x", c=f"C{colour}", ms=4)
    panels[0].set(xlabel="minus coupling loss (dB), x: companies in 3GPP", ylabel="users (%)")
    panels[1].set(xlabel="SINR (dB)", xlim=(-20, 28))
    panels[0].legend(fontsize=7)
    return figure
