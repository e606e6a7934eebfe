"""Warnings of what a scenario says and hardly means: recordings of which a run sees nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from scenarios import load, simulate
from scenarios.cli import main
from scenarios.engines import Task, perform
from scenarios.sanity import Span, unasked, warnings
from scenarios.shipped import SCENARIOS

SCENARIO = """
network: {users: {count: 1, placement: {name: list, positions_m: [[100, 0]]}}}
traffic:
  duration_s: 100
  streams: {s: {arrivals: {name: periodic, period_s: 10}, flops: 1.0e+6}}
"""

RECORDED = {"name": "recorded", "file": "seven.csv"}
LAWS: dict[str, dict[str, Any]] = {
    "network.mobility.model": RECORDED,
    "network.faults.availability": RECORDED,
    "traffic.streams.s.arrivals": RECORDED,
    "network.channel.uplink_recording": {"name": "table", "file": "seven.csv", "time_origin": "zero"},
}
ARRIVALS = "traffic.streams.s.arrivals"


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """Beside a recording of ten seconds from seven o'clock on."""
    rows = [f"0,{25200 + each},{100 + 10 * each},0,{each % 2},1e6" for each in range(11)]
    (tmp_path / "seven.csv").write_text("\n".join(["user,time_s,x_m,y_m,state,rate_bps", *rows]))
    (tmp_path / "x.yaml").write_text(SCENARIO)
    return tmp_path / "x.yaml"


GONE = ["all 1 devices were gone permanently at the end, 100 s"]
"""Said where a recording of availability ends while the device is away."""


@pytest.mark.parametrize("where", LAWS)
def test_a_recording_that_begins_after_the_run(scenario: Path, where: str) -> None:
    """Users stand still, nobody asks, nothing is away, the link is silent: that is said, and how to change it."""
    (warning,) = simulate(load(scenario, {where: LAWS[where]})).warnings
    seen = f"the recording {scenario.parent}/seven.csv begins at 25200 s, and the run ends at 100 s"
    assert warning.startswith(f"{where}: {seen}; time_origin says which recorded time is the beginning of the run")
    assert simulate(load(scenario, {where: {**LAWS[where], "time_origin": "first_row"}})).warnings in ([], GONE)


@pytest.mark.parametrize(("first_s", "last_s", "told"), [(0, 0, 0), (9, 99, 0), (10, 99, 1), (-9, 0, 0), (-9, -1, 1)])
def test_a_run_of_ten_seconds(first_s: float, last_s: float, told: int) -> None:
    assert len(warnings([Span(("x",), "x.csv", first_s, last_s)], 10.0)) == told


def test_a_recording_that_is_over_before_the_run(scenario: Path) -> None:
    (warning,) = simulate(load(scenario, {ARRIVALS: {**RECORDED, "time_origin": 26000}})).warnings
    assert warning.endswith("seven.csv is over 790 s before its time_origin")


def test_where_warnings_are_told(scenario: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """By run, in its summary and in run.json; by check, where the end is known; by the points of a sweep."""
    outcome = perform(Task(0, load(scenario, {ARRIVALS: RECORDED}), tmp_path / "point", None))
    (kept,) = json.loads((tmp_path / "point" / "run.json").read_text())["warnings"]
    assert list(outcome.notes) == [f"warning: {kept}"]
    recorded = f"--set={ARRIVALS}={{name: recorded, file: seven.csv}}"
    for command in (["run", "-o", str(tmp_path / "run"), "--no-store"], ["check"]):
        with pytest.raises(SystemExit, match="0"):
            main([*command, str(scenario), recorded])
        assert f"warning: {kept}" in capsys.readouterr().out.splitlines()


def test_a_run_whose_end_is_not_stated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rounds of learning end long before a device goes away: when they have ended, and as far as check can foresee."""
    away = tmp_path / "away.csv"
    away.write_text("user,time_s,state\n" + "".join(f"{user},86400,0\n" for user in range(4)))
    tiny = Path(__file__).parents[1] / "tiny.yaml"
    law = {"name": "recorded", "file": str(away)}
    (warning,) = simulate(load(tiny, {"network.faults.availability": law, "learning.executor": "dry"})).warnings
    beginning = f"network.faults.availability: the recording {away} begins at 86400 s, and the run ends at"
    assert warning.startswith(beginning)
    with pytest.raises(SystemExit, match="0"):
        main(["check", str(tiny), f"--set=network.faults.availability={{name: recorded, file: {away}}}"])
    assert f"warning: {beginning}" in capsys.readouterr().out


def test_a_model_that_is_never_asked() -> None:
    asked = SCENARIOS / "moe_serving.yaml"
    assert unasked(load(asked)) == []
    (sentence,) = unasked(load(asked, {"traffic": None}))
    assert "no stream of traffic.streams has answered_by: model" in sentence
    assert unasked(load(SCENARIOS / "quickstart.yaml")) == []
