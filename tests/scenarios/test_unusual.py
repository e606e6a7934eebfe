"""Numbers in another unit. Oracle: the number of the right unit, written down beside each."""

from typing import Any

import pytest
from typer.testing import CliRunner

from runs import TINY
from scenarios import ScenarioError, load
from scenarios.catalogue import shipped
from scenarios.cli import app
from scenarios.schema import Scenario, parts
from scenarios.unusual import USUAL, advice, unusual

UPLINK = "network.sharing.uplink.bandwidth_mhz"


def warned(overrides: dict[str, Any]) -> list[str]:
    return unusual(parts().plain(load(TINY, overrides), Scenario))


@pytest.mark.parametrize(
    ("field", "value", "ending"),
    [
        (UPLINK, 20e6, "; did you mean 20 (20000000 Hz)?"),
        ("network.channel.carrier_ghz", 3500, "; did you mean 3.5 (3500 MHz)?"),
        ("network.channel.carrier_ghz", 2.4e9, "; did you mean 2.4 (2400000000 Hz)?"),
        ("network.channel.noise_dbm_per_hz", 174, "; did you mean -174 (174 dBm/Hz without its minus)?"),
        ("network.channel.noise_dbm_per_hz", 4e-21, "; did you mean -173.979 (4e-21 W/Hz)?"),
        ("network.stations.tx_power_dbm", 1000, "; did you mean 30 (1000 mW)?"),
        (UPLINK, -1, "is allowed"),
        (UPLINK, 10**400, "is allowed"),
        (UPLINK, float("nan"), "is allowed"),
    ],
)
def test_a_refusal_says_what_was_probably_meant(field: str, value: float, ending: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        load(TINY, {field: value})
    assert str(refused.value).endswith(ending)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        (UPLINK, 20_000, f"{UPLINK}: 20000 MHz is unusual, 0.001 to 10000 are usual; did you mean 20 (20000 kHz)?"),
        ("network.channel.carrier_ghz", 900, "did you mean 0.9 (900 MHz)?"),
        ("network.users.placement.radius_m", 0.5, "did you mean 500 (0.5 km)?"),
        ("network.users.tx_power_dbm", 200, "network.users.tx_power_dbm: 200 dBm is unusual"),
        ("network.users.tx_power_dbm", [20, 20, 100, 20], "did you mean 20 (100 mW)?"),
        ("network.backhaul", {"rate_bps": 100}, "network.backhaul.rate_bps: 100 bit/s is unusual"),
        ("network.backhaul", {"delay_s": 50}, "did you mean 0.05 (50 milliseconds)?"),
        ("compute.servers.flops_per_s", 8, "did you mean 8e+09 (8 GFLOP/s)?"),
        ("compute.devices.flops_per_s", {"name": "uniform", "low": 2, "high": 4}, "compute.devices.flops_per_s.low: 2"),
        ("compute.servers.storage_bytes", 64, "did you mean 6.4e+07 (64 MB)?"),
    ],
)
def test_a_number_that_is_allowed_and_unusual(field: str, value: Any, sentence: str) -> None:
    (first, *_) = warned({field: value})
    assert sentence in first


@pytest.mark.parametrize("field", USUAL)
def test_the_usual_range_has_its_ends(field: str) -> None:
    usual = USUAL[field]
    assert advice(field, usual.low) == advice(field, usual.high) == ""
    assert (advice(field, 0) == "") or not usual.zero
    assert all(advice(field, value) == "" for value in (True, None, "20", 2 * usual.high * 1e30))


@pytest.mark.parametrize("file", shipped("scenarios"), ids=str)
def test_shipped_scenarios_are_usual(file: Any) -> None:
    assert unusual(parts().plain(load(file), Scenario)) == []


def test_check_warns_and_goes_on() -> None:
    printed = CliRunner().invoke(app, ["check", str(TINY), "--set", f"{UPLINK}=20000"])
    assert printed.exit_code == 0
    assert f"warning: {UPLINK}: 20000 MHz is unusual" in printed.output
