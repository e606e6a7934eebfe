"""Shadowing: its distribution, how it goes with place and station, and that one more user changes no other."""

from dataclasses import replace
from math import exp, sqrt

import numpy as np
import pytest
from scipy.stats import norm
from worlds import flat_network, world

from netsim.geometry import Disc, Point, Stations
from netsim.radio.pathloss import UrbanMacro, UrbanMicro
from netsim.radio.pathloss.buildings import Buildings
from netsim.radio.shadowing import CorrelatedShadowing, IndependentShadowing, Shadowing, ShadowingField
from netsim.streams import Streams
from stats import assert_ks, assert_mean, assert_uncorrelated

WORLDS = 2000


def standard(law: Shadowing, users: list[Point], stations: int, seed: int) -> list[list[float]]:
    """users x stations, 20 m being what the path loss law says."""
    streams = Streams(seed)
    return [
        [law.standard(user, place, station, streams, 20.0) for station in range(stations)]
        for user, place in enumerate(users)
    ]


def over_worlds(law: Shadowing, users: list[Point], stations: int = 1, worlds: int = WORLDS) -> np.ndarray:
    """worlds x users x stations."""
    return np.array([standard(law, users, stations, seed) for seed in range(worlds)])


def test_values_are_standard_normal_over_worlds() -> None:
    """The sum of n waves has fourth moment 3 - 1.5/n."""
    values = over_worlds(CorrelatedShadowing(waves=64, station_correlation=0.0), [(300.0, -40.0)])[:, 0, 0]
    assert_ks(values, norm.cdf)
    assert_mean(values, 0.0)
    assert_mean(values**2, 1.0)
    assert_mean(values**4, 3 - 1.5 / 64)


@pytest.mark.parametrize("distance_m", [1.0, 10.0, 20.0, 60.0])
@pytest.mark.parametrize(("angle", "own_m"), [(0.0, 20.0), (1.0, 20.0), (1.0, None)])
def test_correlation_over_worlds_is_exponential(distance_m: float, angle: float, own_m: float | None) -> None:
    places = [(5.0, 7.0), (5.0 + distance_m * np.cos(angle), 7.0 + distance_m * np.sin(angle))]
    values = over_worlds(CorrelatedShadowing(own_m, waves=64), places)[:, :, 0]
    assert_mean(values[:, 0] * values[:, 1], exp(-distance_m / 20.0))


@pytest.mark.parametrize(("distance_m", "error"), [(2.0, 0.3), (20.0, 0.3), (80.0, 0.3), (2000.0, sqrt(0.5))])
def test_correlation_in_one_world(distance_m: float, error: float) -> None:
    """Averaged over a whole plane, a sum of waves correlates as the mean of cos(k d): off the law by what is stated."""
    law, worlds = CorrelatedShadowing(20.0, waves=500), 200
    fields = [law.field_of(Streams(seed).key("field"), 20.0) for seed in range(worlds)]
    seen = np.array([np.cos(field.along_x * distance_m).mean() for field in fields])
    deviations = seen - exp(-distance_m / 20.0)
    stated = error / sqrt(500)
    assert np.sqrt((deviations**2).mean()) <= stated * (1 + 4 / sqrt(2 * worlds))  # the error of a standard deviation
    assert_mean(seen, exp(-distance_m / 20.0))


def test_variance_is_one_over_places() -> None:
    """In every world, so nobody's standard deviation is a matter of luck."""
    grid = [(1000.0 * x, 1000.0 * y) for x in range(30) for y in range(30)]
    for seed in range(3):
        values = np.array(standard(CorrelatedShadowing(), grid, 1, seed))
        assert values.std() == pytest.approx(1.0, abs=4 * sqrt(1 / (2 * len(grid)) + 1 / (2 * 500)))


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_stations_share_a_part(correlation: float) -> None:
    first, second = over_worlds(CorrelatedShadowing(station_correlation=correlation, waves=64), [(3.0, 4.0)], 2)[:, 0].T
    assert_mean(first * second, correlation)
    if correlation == 1:
        assert first.tolist() == second.tolist()


def test_independent_shadowing_knows_no_place() -> None:
    values = over_worlds(IndependentShadowing(), [(0.0, 0.0), (0.0, 0.0)], 2)
    assert_ks(values.ravel(), norm.cdf)
    assert_uncorrelated(values[:, 0, 0], values[:, 1, 0])
    assert_uncorrelated(values[:, 0, 0], values[:, 0, 1])


@pytest.mark.parametrize("law", [IndependentShadowing(), CorrelatedShadowing()])
def test_one_more_user_or_station_changes_nobody(law: Shadowing) -> None:
    users = [(float(x), 2.0 * x) for x in range(12)]
    few, more = (standard(law, users[:n], stations, 1) for n, stations in ((11, 2), (12, 3)))
    assert [row[:2] for row in more[:11]] == few


def test_a_field_is_a_sum_of_waves() -> None:
    """By hand: cos(0.5 * 2 + 1 * 3 + 0.1) and cos(-0.2 * 2 + 0 * 3 + 0.7), times sqrt(2 / 2)."""
    field = ShadowingField(np.array([0.5, -0.2]), np.array([1.0, 0.0]), np.array([0.1, 0.7]))
    assert field.at((2.0, 3.0)) == pytest.approx(np.cos(4.1) + np.cos(0.3))


def test_neighbours_in_a_network_are_shadowed_alike() -> None:
    """A scenario's standard deviation scales the field; users far closer than its distance see nearly the same."""
    flat = flat_network(40)
    network = replace(
        flat,
        stations=replace(flat.stations, placement=Stations(((0.0, 0.0), (1e4, 0.0)))),
        users=replace(flat.users, placement=Disc(60.0, 50.0)),
        channel=replace(flat.channel, shadowing_std_db=8.0, shadowing=CorrelatedShadowing(decorrelation_m=1e5)),
    )
    w = world(network)
    w.network.record_users()
    shadowing_db = [row["shadowing_db"] for row in w.rows("users")]
    # at most 120 m apart: the mean square difference is 2 * 64 * (1 - exp(-0.0012)) = 0.15 dB^2
    assert 0 < np.std(shadowing_db) < 1
    positions = [(row["x_m"], row["y_m"]) for row in w.rows("users")]
    expected = standard(CorrelatedShadowing(decorrelation_m=1e5), positions, 2, 7)
    assert shadowing_db == [8.0 * row[0] for row in expected]


@pytest.mark.parametrize("law", [UrbanMicro(), UrbanMacro()])
def test_each_link_has_the_decorrelation_distance_of_its_condition(law: UrbanMicro | UrbanMacro) -> None:
    """Users with and without a line of sight, outdoors and indoors, each to two sites."""
    flat, correlated = flat_network(40), CorrelatedShadowing(station_correlation=0.0)
    network = replace(
        flat,
        stations=replace(flat.stations, placement=Stations(((0.0, 0.0), (200.0, 0.0))), height_m=25.0),
        users=replace(flat.users, placement=Disc(150.0, 50.0), height_m=1.5),
        channel=replace(
            flat.channel, path_loss=law, shadowing=correlated, shadowing_std_db=8.0, buildings=Buildings(0.5)
        ),
    )
    w = world(network)
    w.network.record_users()
    streams, seen = Streams(7), set()
    for user, row in enumerate(w.rows("users")):
        indoors = network.channel.buildings and network.channel.buildings.indoors(user, streams)
        outdoors_m = {UrbanMicro(): (13.0, 10.0), UrbanMacro(): (50.0, 37.0)}[law][row["line_of_sight"]]
        decorrelation_m = 7.0 if indoors else outdoors_m
        place = row["x_m"], row["y_m"]
        expected = CorrelatedShadowing(station_correlation=0.0).standard(
            user, place, row["station"], streams, decorrelation_m
        )
        assert row["shadowing_db"] == 8.0 * expected
        seen.add(decorrelation_m)
    assert len(seen) == 3


def test_fields_of_unequal_distances_have_nothing_in_common() -> None:
    """Not even at the origin, where fields drawn alike would be one."""
    law = CorrelatedShadowing(waves=64)
    pairs = np.array(
        [[law.standard(0, (0.0, 0.0), 0, Streams(seed), own_m) for own_m in (10.0, 13.0)] for seed in range(WORLDS)]
    )
    assert_uncorrelated(pairs[:, 0], pairs[:, 1])
