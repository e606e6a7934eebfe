"""Every number in decibels has bounds, and within them nothing overflows; beyond them one sentence says so."""

import json
from collections.abc import Iterator
from math import inf, isfinite
from typing import Any

import numpy as np
import pytest

from netsim.radio.nr.adaptation import outer_loop
from runs import TINY, frame
from scenarios import ScenarioError, load, simulate
from scenarios.build import build, without_values
from scenarios.schema import json_schema

UNITS = ("_db", "_dbi", "_dbm", "_dbm_per_hz")


def numbers(schema: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field in decibels that is a number, anywhere in the schema."""
    if isinstance(schema, dict):
        for name, field in schema.get("properties", {}).items():
            if name.endswith(UNITS):
                choices = [one for one in field.get("anyOf", [field]) if one != {"type": "null"}]
                if [one.get("type") for one in choices] == ["number"]:  # else a number for each user, looked at below
                    yield f"{where}.{name}", choices[0]
        for key, value in schema.items():
            yield from numbers(value, f"{where}.{key}")
    elif isinstance(schema, list):
        for place, value in enumerate(schema):
            yield from numbers(value, f"{where}.{place}")


def test_every_number_in_decibels_has_bounds() -> None:
    found = dict(numbers(json.loads(json.dumps(json_schema()))))
    assert len(found) >= 12
    for where, field in found.items():
        low = field.get("minimum", field.get("exclusiveMinimum"))
        high = field.get("maximum", field.get("exclusiveMaximum"))
        assert low is not None, where
        assert high is not None, where
        assert -200 <= low < high <= 200, where


MOBILE = {
    "network.mobility": {"model": "random_waypoint"},
    "network.handover": {"hysteresis_db": 200},
    "network.interference": {},
}
STRONG: list[dict[str, Any]] = [
    {"network.stations.tx_power_dbm": 200},
    {"network.users.tx_power_dbm": 200, "network.channel.noise_dbm_per_hz": -200},
    {"network.stations.antenna_gain_db": 200, "network.users.antenna_gain_db": 200, "network.users.tx_power_dbm": 200},
    {"network.users.power_control": {"p0_dbm": 200}},
    {"network.channel.fading": {"name": "rician", "k_db": 200}},
    {"network.channel.fading": {"name": "rician", "k_db": -200}},
]
WEAK: list[dict[str, Any]] = [
    {"network.users.tx_power_dbm": -200, "network.stations.tx_power_dbm": -200},
    {"network.stations.antenna": {"name": "three_sectors", "element_gain_db": -200, "min_db": 200}},
    {"network.users.power_control": {"p0_dbm": -200, "alpha": 0}},
    {"network.channel.shadowing_std_db": 50},
    {"network.channel.rate": {"name": "shannon", "gap_db": 200}},
    {"network.stations.noise_figure_db": 200, "network.users.noise_figure_db": 200},
    {"network.channel.path_loss": {"name": "log_distance", "exponent": 1e6}},
    {"network.channel.carrier_ghz": 1000, "network.channel.path_loss": "free_space", "network.channel.buildings": {}},
    {"network.channel.path_loss": "free_space", "network.channel.noise_dbm_per_hz": 0},
]


@pytest.mark.parametrize("extreme", [*STRONG, *WEAK], ids=str)
@pytest.mark.parametrize("around", [{}, MOBILE], ids=["still", "mobile"])
def test_at_the_bounds_every_link_is_finite(extreme: dict[str, Any], around: dict[str, Any]) -> None:
    network = build(without_values(load(TINY, {**around, **extreme, "limits.simulated_time_s": 1e30}))).network
    for user in network.users:
        for radio in (user.uplink, user.downlink):
            assert 0 <= radio.gain_over_noise_hz_per_w < inf
            assert 0 <= radio.instantaneous_gain_over_noise_hz_per_w < inf


@pytest.mark.parametrize("extreme", STRONG, ids=str)
def test_so_are_the_tables_of_a_run(extreme: dict[str, Any]) -> None:
    short = {"learning.executor": "dry", "learning.stop": {"rounds": 1}}
    result = simulate(load(TINY, {**MOBILE, **short, **extreme}))
    for table in ("users", "transfers", "energy", "positions"):
        values = frame(result, table).select_dtypes("number").to_numpy().ravel()
        assert all(isfinite(value) or np.isnan(value) for value in values)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("network.stations.tx_power_dbm", 1e6, "network.stations.tx_power_dbm"),
        ("network.users.tx_power_dbm", 1e6, "the transmit power of user 0 is 1e+06 dBm; -200 to 200 is allowed"),
        ("network.users.tx_power_dbm", [20, 20, -1e4, 20], "the transmit power of user 2 is -10000 dBm"),
        ("network.channel.noise_dbm_per_hz", -1e5, "network.channel.noise_dbm_per_hz"),
        ("network.channel.rate", {"name": "shannon", "gap_db": 4000}, "gap_db"),
    ],
)
def test_beyond_the_bounds(field: str, value: Any, sentence: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        simulate(load(TINY, {field: value}))
    assert sentence in str(refused.value)
    assert "200" in str(refused.value)


def test_an_outer_loop_that_never_meets_a_lost_block_stays_finite() -> None:
    offset_db = np.zeros(2)
    for _ in range(10_000):
        offset_db = outer_loop(offset_db, np.array([False, True]), 0.5, 10.0)
    assert offset_db.tolist() == [200.0, -200.0]
