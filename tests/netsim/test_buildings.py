"""Users inside buildings: wall losses worked out from table 7.4.3-2 of TR 38.901, and the laws of the draws."""

from dataclasses import replace
from math import log10

import numpy as np
import pytest
from scipy.stats import norm
from worlds import flat_network, world

from netsim.radio.pathloss import Path, UrbanMacro, UrbanMicro
from netsim.radio.pathloss.buildings import Buildings, Indoors
from netsim.streams import Streams
from stats import assert_ks, assert_proportion

STREAMS = Streams(5)
USERS = 3000


def outdoor(carrier_ghz: float) -> Path:
    return Path(100.0, 25.0, 1.5, carrier_ghz * 1e9)


def test_wall_losses() -> None:
    """At 3.5 GHz plain glass takes 2.7 dB, coated 24.05 dB, concrete 19 dB; both laws add 5 dB."""
    low = 5 - 10 * log10(0.3 * 10**-0.27 + 0.7 * 10**-1.9)
    high = 5 - 10 * log10(0.7 * 10**-2.405 + 0.3 * 10**-1.9)
    assert Indoors(0.0, "low_loss", 0.0).loss_db(outdoor(3.5)) == pytest.approx(low)
    assert Indoors(0.0, "high_loss", 0.0).loss_db(outdoor(3.5)) == pytest.approx(high)
    assert (low, high) == pytest.approx((12.70, 26.84), abs=0.01)


def test_rooms_and_deviations_add() -> None:
    bare = Indoors(0.0, "low_loss", 0.0).loss_db(outdoor(28.0))
    assert Indoors(8.0, "low_loss", 0.0).loss_db(outdoor(28.0)) == pytest.approx(bare + 4.0)
    assert Indoors(0.0, "low_loss", -1.0).loss_db(outdoor(28.0)) == pytest.approx(bare - 4.4)
    coated = [Indoors(0.0, "high_loss", z).loss_db(outdoor(28.0)) for z in (0.0, 1.0)]
    assert coated[1] - coated[0] == pytest.approx(6.5)


def test_laws_of_the_draws() -> None:
    users = [Buildings(0.8, 0.3, 25.0).indoors(user, STREAMS) for user in range(USERS)]
    inside = [user for user in users if user is not None]
    assert_proportion(len(inside), USERS, 0.8)
    assert_proportion(sum(user.walls == "high_loss" for user in inside), len(inside), 0.3)
    assert_ks([user.depth_m for user in inside], lambda d: 1 - (1 - np.clip(d / 25.0, 0, 1)) ** 2)  # lesser of two
    assert_ks([user.deviation for user in inside], norm.cdf)


def test_degenerate_shares() -> None:
    assert {Buildings(indoor_share=0.0).indoors(user, STREAMS) for user in range(50)} == {None}
    everybody = [Buildings(1.0, 1.0).indoors(user, STREAMS) for user in range(50)]
    assert {user.walls for user in everybody if user} == {"high_loss"}
    assert None not in everybody


def test_the_street_ends_at_the_wall() -> None:
    """The probability of a line of sight counts the distance outside alone; the loss counts all of it."""
    path = Path(40.0, 25.0, 1.5, 3.5e9)
    inside = replace(path, inside_m=25.0)
    for law in (UrbanMicro(), UrbanMacro()):
        assert law.line_of_sight(inside, 1 - 2.0**-53)  # 15 m outside are certain
        assert not law.line_of_sight(path, 1 - 2.0**-53)
        assert law.loss_db(inside, True) == law.loss_db(path, True)


def test_buildings_of_a_network() -> None:
    """Walls come on top of the path loss of a user, whatever station serves it; nobody else's number changes."""
    flat = flat_network(6)
    channel = replace(flat.channel, buildings=Buildings(indoor_share=0.5))
    bare, built = (world(network) for network in (flat, replace(flat, channel=channel)))
    for each in (bare, built):
        each.network.record_users()
    path = Path(100.0, 5.0, 5.0, 1e9)
    rows = zip(bare.rows("users"), built.rows("users"), strict=True)
    added = [after["path_loss_db"] - before["path_loss_db"] for before, after in rows]
    places = [channel.buildings and channel.buildings.indoors(user, Streams(7)) for user in range(6)]
    assert added == pytest.approx([place.loss_db(path) if place else 0.0 for place in places])
    assert 0 < sum(place is None for place in places) < 6


def test_floors() -> None:
    """Of 4 to 8 floors any, all buildings equally likely: P(floor k) = sum over n >= k of 1 / 5n."""
    users = [Buildings(1.0, floors=True).indoors(user, Streams(4)) for user in range(4000)]
    heights = np.array([user.above_ground_m for user in users if user])
    for floor in range(8):
        expected = sum(1 / (5 * n) for n in range(4, 9) if n > floor)
        assert_proportion(int((heights == 3.0 * floor).sum()), 4000, expected)
    ground = Buildings(1.0).indoors(0, Streams(4))
    assert ground is not None
    assert ground.above_ground_m == 0.0
    assert ground._replace(above_ground_m=heights[0]) == users[0]  # nothing else moves
