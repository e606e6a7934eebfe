"""Antennas: the element of the standard, the column in closed form, the bend against a rotation, sectors in a cell."""

from dataclasses import replace
from math import cos, log10, pi, radians, sin

import numpy as np
import pytest
from scipy.integrate import quad
from worlds import circle, flat_network, world

from netsim.geometry import HexagonalGrid
from netsim.radio.antenna import Omnidirectional, ThreeSectors

ELEMENT = ThreeSectors()


@pytest.mark.parametrize(
    ("azimuth_deg", "zenith_deg", "gain_db"),
    [
        (0.0, 90.0, 8.0),
        (32.5, 90.0, 5.0),  # half the beamwidth: 3 dB
        (-32.5, 90.0, 5.0),
        (0.0, 122.5, 5.0),
        (32.5, 57.5, 2.0),
        (65.0, 90.0, -4.0),
        (180.0, 90.0, -22.0),  # 30 dB down
        (180.0, 180.0, -22.0),  # and no more in both directions together
        (328.0, 90.0, 8 - 12 * (32 / 65) ** 2),
        (500.0, 90.0, -22.0),
        (90.0, 0.0, -22.0),  # straight up, where the azimuth still counts in the table
    ],
)
def test_the_element_of_table_7_3_1(azimuth_deg: float, zenith_deg: float, gain_db: float) -> None:
    assert ELEMENT.gain_db(azimuth_deg, zenith_deg) == pytest.approx(gain_db, abs=1e-9)


@pytest.mark.parametrize("downtilt_deg", [-20.0, 0.0, 12.0, 45.0])
def test_a_column_gathers_and_makes_no_power(downtilt_deg: float) -> None:
    """Where n elements look they add 10 log10 n; half a wavelength apart their mean over the sphere is one."""
    column = ThreeSectors(elements=10, electrical_downtilt_deg=downtilt_deg)

    def factor(zenith: float) -> float:
        off_db = column.gain_db(0.0, np.degrees(zenith)) - ELEMENT.gain_db(0.0, np.degrees(zenith))
        return float(10 ** (off_db / 10))

    assert factor(radians(90 + downtilt_deg)) == pytest.approx(10.0, rel=1e-9)
    mean, _ = quad(lambda zenith: factor(zenith) * sin(zenith) / 2, 0, pi, limit=200)
    assert mean == pytest.approx(1.0, abs=1e-6)


def test_a_column_by_its_geometric_sum() -> None:
    column = ThreeSectors(elements=4)
    turn = pi * cos(radians(70.0))
    expected_db = 20 * log10(abs(sin(2 * turn) / sin(turn / 2))) - 10 * log10(4)
    assert column.gain_db(0, 70.0) - ELEMENT.gain_db(0, 70.0) == pytest.approx(expected_db, abs=1e-9)


@pytest.mark.parametrize("bend_deg", [-30.0, 8.0, 90.0])
def test_a_bent_antenna_sees_directions_turned(bend_deg: float) -> None:
    bent = replace(ELEMENT, mechanical_downtilt_deg=bend_deg)
    assert bent.gain_db(0.0, 90 + bend_deg) == pytest.approx(8.0, abs=1e-9)
    b = radians(bend_deg)
    turn = np.array([[cos(b), 0, -sin(b)], [0, 1, 0], [sin(b), 0, cos(b)]])
    for azimuth_deg, zenith_deg in ((0.0, 60.0), (40.0, 100.0), (-120.0, 95.0), (10.0, 170.0)):
        a, z = radians(azimuth_deg), radians(zenith_deg)
        x, y, up = turn @ (sin(z) * cos(a), sin(z) * sin(a), cos(z))
        seen = ELEMENT.gain_db(np.degrees(np.arctan2(y, x)), np.degrees(np.arccos(up)))
        assert bent.gain_db(azimuth_deg, zenith_deg) == pytest.approx(seen, abs=1e-9)


def test_users_are_served_by_the_sector_that_looks_at_them() -> None:
    """Six users around a site: two in each third of the circle; the coupling loss has the gain in it."""
    flat = flat_network(6)
    network = replace(flat, stations=replace(flat.stations, antenna=ELEMENT, antenna_gain_db=1.0))
    w = world(network)
    w.network.record_users()
    rows = w.rows("users")
    assert [row["station"] for row in rows] == [0, 0, 1, 1, 2, 2]
    assert len(w.network.stations) == 3
    for row in rows:  # 30 degrees off, at the height of the antenna
        assert row["coupling_loss_db"] == pytest.approx(row["path_loss_db"] - 8 + 12 * (30 / 65) ** 2 - 1, abs=1e-9)


def test_sectors_of_a_site_share_all_but_the_pattern() -> None:
    default = world().network._network
    network = replace(
        default,
        channel=replace(default.channel, shadowing_std_db=8.0),
        stations=replace(default.stations, antenna=ELEMENT, placement=HexagonalGrid(1, 400.0)),
        users=replace(default.users, count=20, placement=circle(20, 150.0)),
    )
    omni = replace(network, stations=replace(network.stations, antenna=Omnidirectional()))
    with_sectors, without = (world(n).network for n in (network, omni))
    assert len(with_sectors.stations) == 3 * len(without.stations) == 21
    for user in range(20):
        for station in range(21):
            pair, plain = with_sectors.budget.attenuation(user, station), without.budget.attenuation(user, station // 3)
            assert pair.station == station
            assert pair[1:5] == plain[1:5]


def test_a_wrapped_layout_brings_far_stations_near() -> None:
    flat = flat_network(1)
    edge = circle(1, 950.0)
    for wrap, farthest_m in ((False, 950.0 + 1000.0), (True, None)):
        grid = HexagonalGrid(2, 500.0, wrap_around=wrap)
        network = replace(
            flat, stations=replace(flat.stations, placement=grid), users=replace(flat.users, placement=edge)
        )
        built = world(network).network
        distances = [built.budget.attenuation(0, station).distance_m for station in range(19)]
        if farthest_m is not None:
            assert max(distances) == pytest.approx(farthest_m)
        else:
            assert max(distances) < 1150.0  # no farther than across the cluster's own cell
