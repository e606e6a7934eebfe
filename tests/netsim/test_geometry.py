"""Places: uniform by area, at a distance, and moved by nobody."""

from math import cos, hypot, pi, sqrt

import numpy as np
import pytest

from netsim.geometry import Cells, Disc, Explicit, Hexagon, HexagonalGrid, Point, Stations, UserPlacement
from netsim.streams import Streams
from stats import assert_ks, assert_mean, assert_proportion

STREAMS = Streams(3)
ORIGIN: list[Point] = [(0.0, 0.0)]


def test_disc_is_uniform_by_area() -> None:
    points = np.array(Disc(radius_m=100.0, min_distance_m=0.0).users(4000, ORIGIN, STREAMS))
    assert_ks(np.hypot(*points.T), lambda r: (r / 100.0) ** 2)
    assert_ks(np.arctan2(points[:, 1], points[:, 0]), lambda angle: (angle + pi) / (2 * pi))


def test_disc_leaves_out_the_middle() -> None:
    points = np.array(Disc(radius_m=100.0, min_distance_m=30.0).users(4000, ORIGIN, STREAMS))
    assert_ks(np.hypot(*points.T), lambda r: (r**2 - 30.0**2) / (100.0**2 - 30.0**2))


def test_hexagon_is_uniform_by_area() -> None:
    points = np.array(Hexagon(radius_m=100.0, min_distance_m=0.0).users(6000, ORIGIN, STREAMS))
    side_distances = [points @ (np.cos(a), np.sin(a)) for a in np.arange(6) * pi / 3]
    inner = 100.0 * cos(pi / 6)
    assert np.max(side_distances) <= inner * (1 + 1e-12)
    in_circle = np.hypot(*points.T) <= inner
    assert_proportion(int(in_circle.sum()), 6000, pi * inner**2 / (1.5 * sqrt(3) * 100.0**2))
    for sector in range(6):
        angle = np.arctan2(points[:, 1], points[:, 0]) % (2 * pi)
        assert_proportion(int((angle // (pi / 3) == sector).sum()), 6000, 1 / 6)
    assert_mean(points[:, 0], 0.0)
    grid = np.array(HexagonalGrid(1, sqrt(3) * 100.0).sites())
    assert set(np.argmin([np.hypot(*(points - site).T) for site in grid], axis=0)) == {0}  # the cell of the middle site
    # second moment of a regular hexagon with side s: 5 s^2 / 24 along each axis
    assert_mean(points[:, 0] ** 2, 5 * 100.0**2 / 24)
    assert_mean(points[:, 1] ** 2, 5 * 100.0**2 / 24)


@pytest.mark.parametrize("placement", [Disc(50.0, 5.0), Hexagon(50.0, 5.0)])
def test_one_more_user_or_a_far_station_moves_nobody(placement: UserPlacement) -> None:
    ten = placement.users(10, ORIGIN, STREAMS)
    assert placement.users(11, ORIGIN, STREAMS)[:10] == ten
    assert placement.users(10, [*ORIGIN, (1000.0, 0.0)], STREAMS) == ten


@pytest.mark.parametrize("placement", [Disc(50.0, 20.0), Hexagon(50.0, 20.0), Cells(50.0, 20.0)])
def test_users_keep_their_distance_from_every_station(placement: UserPlacement) -> None:
    stations = [(0.0, 0.0), (40.0, 0.0)]
    for x, y in placement.users(300, stations, STREAMS):
        assert min(hypot(x - a, y - b) for a, b in stations) >= 20.0


@pytest.mark.parametrize("placement", [Disc(50.0, 60.0), Hexagon(50.0, 60.0), Cells(50.0, 60.0)])
def test_impossible_distances_are_refused(placement: UserPlacement) -> None:
    with pytest.raises(ValueError, match="lower min_distance_m"):
        placement.users(1, ORIGIN, STREAMS)


@pytest.mark.parametrize(("rings", "count"), [(0, 1), (1, 7), (2, 19), (3, 37)])
def test_hexagonal_grid(rings: int, count: int) -> None:
    points = HexagonalGrid(rings, 200.0).sites()
    assert len(points) == count
    assert points[0] == (0.0, 0.0)
    distances = np.array([[hypot(a - c, b - d) for c, d in points] for a, b in points])
    np.fill_diagonal(distances, np.inf)
    if rings:
        assert distances.min(axis=1) == pytest.approx(np.full(count, 200.0))  # everybody has a neighbour, none nearer
        assert (np.abs(distances[0] - 200.0) < 1e-9).sum() == 6


def test_explicit_places() -> None:
    assert Explicit(((1.0, 2.0), (3.0, 4.0))).users(2, ORIGIN, STREAMS) == [(1.0, 2.0), (3.0, 4.0)]
    assert Stations(((5.0, 6.0),)).sites() == [(5.0, 6.0)]
    with pytest.raises(ValueError, match="2 user positions are given, but there are 3 users"):
        Explicit(((1.0, 2.0), (3.0, 4.0))).users(3, ORIGIN, STREAMS)


@pytest.mark.parametrize("rings", [1, 2])
def test_wrapped_around_no_site_is_at_an_edge(rings: int) -> None:
    """Every site has the others at the same distances; the images tile the plane, as by brute force over many."""
    grid = HexagonalGrid(rings, 100.0, wrap_around=True)
    sites, images = np.array(grid.sites()), np.array(grid.images())
    assert len(images) == 7
    assert tuple(images[0]) == (0.0, 0.0)
    first, second = images[1], images[2]
    many = np.array([a * first + b * second for a in range(-4, 5) for b in range(-4, 5)])
    everywhere = (sites[:, None] + many[None]).reshape(-1, 2)
    apart = np.hypot(*(everywhere[:, None] - everywhere[None]).T)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() == pytest.approx(100.0)  # no two in one place
    rows = []
    for x, y in grid.sites():
        nearest = np.min([np.hypot(*(sites + shift - (x, y)).T) for shift in images], axis=0)
        brute = np.min([np.hypot(*(sites + shift - (x, y)).T) for shift in many], axis=0)
        assert nearest == pytest.approx(brute)
        rows.append(np.sort(nearest))
    assert np.array(rows) == pytest.approx(np.tile(rows[0], (len(rows), 1)))
    assert (np.abs(rows[0] - 100.0) < 1e-9).sum() == 6


def test_without_wrap_around_there_is_one_image() -> None:
    assert HexagonalGrid(2, 100.0).images() == Stations().images() == [(0.0, 0.0)]


def test_users_of_cells_are_spread_over_all_of_them() -> None:
    grid = HexagonalGrid(1, sqrt(3) * 100.0)
    sites = np.array(grid.sites())
    points = np.array(Cells(100.0, 10.0).users(3500, grid.sites(), STREAMS))
    distances = np.array([np.hypot(*(points - site).T) for site in sites])
    for site in range(7):
        assert_proportion(int((distances.argmin(axis=0) == site).sum()), 3500, 1 / 7)
    assert distances.min() >= 10.0
    within = (distances.min(axis=0) <= 50.0).sum()
    assert_proportion(int(within), 3500, (50.0**2 - 10.0**2) * pi / (1.5 * sqrt(3) * 100.0**2 - 10.0**2 * pi))
