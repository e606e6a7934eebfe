"""Runs with users at the edge of 5G NR's reach: beyond it the run says so in one sentence, at it users are dropped."""

from pathlib import Path
from typing import Any

import pytest

from runs import TINY, frame, run
from scenarios import load, simulate
from scenarios.errors import RunFailed
from scenarios.run import Result
from scenarios.sanity import beyond_reach

REACH = {
    "network.channel.path_loss": {"name": "umi", "condition": "nlos"},
    "network.channel.rate": "adaptive_modulation",
    "network.channel.shadowing_std_db": 0,
    "network.sharing.uplink.bandwidth_mhz": 10,
    "network.sharing.downlink.bandwidth_mhz": 10,
    "network.sharing.downlink.fidelity": "slot",
    "learning.executor": "dry",
    "learning.stop.rounds": 2,
}


def at_m(distances_m: list[float]) -> dict[str, Any]:
    places = [[distance_m, 0] for distance_m in distances_m]
    return {
        "network.users": {"count": len(places), "placement": {"name": "list", "positions_m": places}},
        **REACH,
    }


def dotted(overrides: dict[str, Any]) -> dict[str, Any]:
    return {name.replace(".", "__"): value for name, value in overrides.items()}


@pytest.mark.parametrize("fidelity", ["flow", "slot"])
@pytest.mark.parametrize("scheme", ["fedavg", "sl"])
def test_a_run_with_a_user_out_of_range_says_so(fidelity: str, scheme: str) -> None:
    overrides = at_m([50, 4900, 60]) | {"network.channel.fading": "none", "learning.scheme": scheme}
    downlink = {"network.sharing.downlink.fidelity": fidelity, "network.sharing.uplink.fidelity": fidelity}
    with pytest.raises(RunFailed, match=r"user 1 is out of range: SNR -\d+ dB, the lowest code needs about -13 dB; "):
        run(**dotted(overrides | downlink))


@pytest.mark.parametrize("fidelity", ["flow", "slot"])
def test_requests_alone_say_so_too(tmp_path: Path, fidelity: str) -> None:
    """23 dBm over 4,900 m of a street canyon without a line of sight: a loss of 164 dB, and -99 dBm of noise."""
    scenario = tmp_path / "far.yaml"
    scenario.write_text("""
name: far
network:
  users: {count: 1, placement: {name: list, positions_m: [[4900, 0]]}}
  channel: {path_loss: {name: umi, condition: nlos}, fading: none, shadowing_std_db: 0, rate: adaptive_modulation}
traffic:
  duration_s: 2
  streams: {s: {arrivals: {name: periodic, period_s: 1}, uplink_bits: 1.0e+5}}
""")
    with pytest.raises(RunFailed, match="user 0 is out of range: SNR -42 dB, the lowest code needs about -13 dB; "):
        simulate(load(scenario, {"network.sharing.uplink.fidelity": fidelity}))


@pytest.mark.parametrize(
    ("scheme", "policy"),
    [
        ("fedavg", "wait_for_all"),
        ("sfl_v1", "wait_for_all"),
        ("sl", "wait_for_all"),
        ("fedavg", {"name": "buffered", "size": 2}),
    ],
)
def test_whose_radio_link_fails_is_dropped_from_the_round(scheme: str, policy: str | dict[str, Any]) -> None:
    """Fading reaches user 1 once in a million blocks: its radio link fails in every round, which goes on without it."""
    result: Result = run(
        **dotted(
            at_m([50, 1600, 60])
            | {
                "network.sharing.uplink.fidelity": "slot",
                "learning.scheme": scheme,
                "learning.policy": policy,
                "learning.stop.rounds": 2,
            }
        )
    )
    assert result.status == "complete"
    rounds, outages = frame(result, "rounds"), frame(result, "outages")
    if policy == "wait_for_all":
        assert rounds["participants"].tolist() == [2, 2]
        assert rounds["dropped"].tolist() == [1, 1]
        assert outages[["user", "cause"]].to_numpy().tolist() == [[1, "radio_link"]] * 2
        lost = frame(result, "transfers").query("lost > 0")
        assert (lost["failed"] == lost["attempts"]).all()
    else:
        assert rounds["participants"].tolist() == [2, 2]


def test_a_check_tells_who_is_out_of_range_before_anything_runs() -> None:
    fields = at_m([50, 4900, 60, 4000]) | {"network.channel.fading": "rayleigh"}
    assert beyond_reach(load(TINY, fields)) == [
        "uplink: user 1 is out of range: mean SNR -42 dB, the lowest code needs about -13 dB, alone on the band "
        "(2 of 4 users)",
        "downlink: user 1 is out of range: mean SNR -39 dB, the lowest code needs about -13 dB, alone on the band "
        "(2 of 4 users)",
    ]
    assert beyond_reach(load(TINY, fields | {"network.channel.rate": "shannon"})) == []
    assert beyond_reach(load(TINY, fields | {"network.mobility": {"model": "random_waypoint"}})) == []
