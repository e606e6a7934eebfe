"""Ways of users: stationary laws in closed form, exact places, and files that cannot be followed."""

from math import cos, exp, log, pi, radians, sin, sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import rayleigh

from netsim.mobility import GaussMarkov, Mobility, RandomWaypoint, RecordedPaths, Straight, Walk
from netsim.streams import Streams
from stats import assert_ks, assert_mean

STREAMS = Streams(11)
HUGE_M = 1e9


def places(
    law: Mobility, instants_s: list[float], users: int = 1, start: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """users x instants x 2."""
    walks = [Walk(law.legs(user, start, STREAMS), start) for user in range(users)]
    return np.array([[walk.at(instant_s) for instant_s in instants_s] for walk in walks])


def test_random_waypoint_in_the_long_run() -> None:
    """Where: in the unit disc the density goes as (1 - r^2) times the integral of sqrt(1 - r^2 cos^2) over angles
    (Hyytia, Lassila, Virtamo, IEEE TMC 5(6), 2006). How fast: uniform from 1 to 4 m/s becomes 3 / ln 4 on average."""
    law, users = RandomWaypoint(radius_m=100.0, min_speed_kmh=3.6, max_speed_kmh=14.4), 1500
    walks = [Walk(law.legs(user, (0.0, 0.0), STREAMS), (0.0, 0.0)) for user in range(users)]
    distances = np.array([np.hypot(*walk.at(600.0)) for walk in walks]) / 100.0
    grid = np.linspace(0, 1, 101)
    chords = [quad(lambda angle, r=r: sqrt(1 - (r * cos(angle)) ** 2), 0, pi)[0] for r in grid]
    shape = grid * (1 - grid**2) * np.array(chords)
    cumulative = np.concatenate([[0], np.cumsum((shape[1:] + shape[:-1]) / 2)])
    assert_ks(distances, lambda r: np.interp(r, grid, cumulative / cumulative[-1]))
    legs = [walk.leg for walk in walks]
    assert_mean([np.hypot(*np.subtract(leg.end, leg.start)) / (leg.end_s - leg.start_s) for leg in legs], 3 / log(4))


def test_random_waypoint_rests() -> None:
    law = RandomWaypoint(radius_m=100.0, min_speed_kmh=3.6, max_speed_kmh=3.6, pause_s=50.0)
    legs = law.legs(0, (10.0, 0.0), STREAMS)
    walk, rest, onward = next(legs), next(legs), next(legs)
    assert walk.end_s == pytest.approx(np.hypot(*np.subtract(walk.end, (10.0, 0.0))), rel=1e-12)  # at 1 m/s
    assert (rest.start, rest.end, rest.end_s) == (walk.end, walk.end, walk.end_s + 50.0)
    assert (onward.start, onward.start_s) == (walk.end, rest.end_s)
    with pytest.raises(ValueError, match="must not exceed"):
        RandomWaypoint(min_speed_kmh=5.0, max_speed_kmh=4.0)


def test_gauss_markov_remembers_its_velocity() -> None:
    law = GaussMarkov(radius_m=HUGE_M, speed_kmh=3.6, memory_s=5.0, step_s=1.0)
    velocities = np.diff(places(law, [float(k) for k in range(21)], users=1200), axis=1)
    scale = 1.0 / sqrt(pi / 2)
    for step in (0, 19):  # stationary from the beginning
        assert_ks(np.hypot(*velocities[:, step].T), lambda v: rayleigh.cdf(v, scale=scale))
    for lag in (1, 5, 15):
        for axis in (0, 1):
            assert_mean(velocities[:, 2, axis] * velocities[:, 2 + lag, axis], scale**2 * exp(-lag / 5.0))


def test_gauss_markov_stays_in_its_disc() -> None:
    law = GaussMarkov(radius_m=20.0, speed_kmh=7.2, memory_s=20.0)
    far = np.hypot(*np.moveaxis(places(law, [float(k) for k in range(400)], users=20), -1, 0))
    assert far.max() < 20.0 + 4 * 2.0  # no farther out than a fast step
    assert (far > 15.0).any()


@pytest.mark.parametrize("law", [RandomWaypoint(), GaussMarkov(), Straight()])
def test_places_follow_from_seed_user_and_instant(law: Mobility) -> None:
    often = places(law, [0.1 * k for k in range(3001)], users=3)
    assert np.array_equal(often[:2, [0, 777, 3000]], places(law, [0.1 * k for k in (0, 777, 3000)], users=2))
    assert np.hypot(*np.diff(often, axis=1).reshape(-1, 2).T).max() < 0.1 * 40 / 3.6  # nobody jumps


def test_to_and_fro() -> None:
    """Along a chord 60 m off the middle of a disc of 100 m: 160 m to and fro at 10 m/s."""
    law = Straight(radius_m=100.0, speed_kmh=36.0, heading_deg=30.0)
    along, beside = (cos(radians(30)), sin(radians(30))), (-sin(radians(30)), cos(radians(30)))
    seen = places(law, [0.0, 8.0, 16.0, 24.0, 25.0], start=(60 * beside[0], 60 * beside[1]))[0]
    for place, ahead in zip(seen, (0.0, 80.0, 0.0, -80.0, -70.0), strict=True):
        expected = (60 * beside[0] + ahead * along[0], 60 * beside[1] + ahead * along[1])
        assert tuple(place) == pytest.approx(expected, abs=1e-9)
    assert np.array_equal(places(Straight(5.0, heading_deg=0.0), [9.0], start=(0.0, 50.0))[0, 0], (0.0, 50.0))


def test_recorded_paths(tmp_path: Path) -> None:
    file = tmp_path / "paths.csv"
    file.write_text("user,time_s,x_m,y_m\n1,0,5,5\n1,10,15,5\n0,4,8,0\n1,20,15,25\n")
    law = RecordedPaths(str(file))
    law.check(3)
    seen = places(law, [0.0, 2.0, 5.0, 15.0, 99.0], users=3, start=(0.0, 0.0))
    assert seen[0].tolist() == [[0, 0], [4, 0], [8, 0], [8, 0], [8, 0]]
    assert seen[1].tolist() == [[5, 5], [7, 5], [10, 5], [15, 15], [15, 25]]
    assert seen[2].tolist() == [[0, 0]] * 5


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("2,0,0,0\n", "moves user 2, but there are 2 users"),
        ("0,-1,0,0\n", "must hold no negative times"),
        ("0,1,0,0\n0,1,5,0\n", "the times of user 0 .* must rise"),
        ("0,1,east,0\n", 'the column "x_m" .* holds no numbers'),
    ],
)
def test_paths_that_cannot_be_followed(rows: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "paths.csv"
    file.write_text("user,time_s,x_m,y_m\n" + rows)
    with pytest.raises(ValueError, match=sentence):
        RecordedPaths(str(file)).check(2)


def test_recorded_paths_that_were_changed_are_read_again(tmp_path: Path) -> None:
    file = tmp_path / "paths.csv"
    for x_m in (5.0, 70.0):
        file.write_text(f"user,time_s,x_m,y_m\n0,1,{x_m},0\n")
        (leg,) = RecordedPaths(str(file)).legs(0, (0.0, 0.0), Streams(1))
        assert leg.end == (x_m, 0.0)
