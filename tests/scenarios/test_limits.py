"""Work without end is rejected in one sentence: before a run from its numbers, or in its first moments."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from learning.scheme import Scheme
from learning.stop import Stop
from runs import TINY
from scenarios import RunFailed, ScenarioError, load, simulate, watch
from scenarios.build import build
from scenarios.cost import predict
from scenarios.errors import FieldError
from scenarios.limits import check_sizes
from scenarios.progress import RunningTotals
from scenarios.shipped import shipped
from scenarios.watch import Watch

DRY = {"learning.executor": "dry", "learning.scheme": {"name": "fedavg", "local_steps": 1}, "learning.stop.rounds": 2}
POISSON = {"name": "poisson", "rate_per_s": 1.0}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"network.channel.noise_dbm_per_hz": 174}, "found 174; a number >= -200 and <= 0 is allowed"),
        ({"network.sharing.uplink.bandwidth_mhz": 20e6}, "a number >= 0.0001 and <= 100000 is allowed"),
        ({"network.sharing.uplink.bandwidth_mhz": 2e-6}, "a number >= 0.0001 and <= 100000 is allowed"),
        ({"network.channel.fading.coherence_time_s": 1e-18}, "a number >= 1e-06 is allowed"),
        (
            {"network.channel.fading": {"name": "jakes", "speed_kmh": 1e9}},
            "network.channel.fading: a fading block lasts",
        ),
        ({"network.sharing.uplink.fidelity": {"name": "slot", "tti_s": 1e-12}}, "a number >= 1e-06 is allowed"),
        ({"network.mobility": {"interval_s": 1e-18}}, "a number >= 1e-06 is allowed"),
        ({"network.users.count": 10**9}, "found 1000000000 users, which take at least 1e+13 bytes"),
        ({"network.stations.placement": {"name": "hexagonal_grid", "rings": 10**9}}, "a whole number >= 0 and <= 50"),
        (
            {"learning.model.hidden": [100_000, 200_000]},
            "learning.model: found 2.001e+10 parameters, with a trained copy",
        ),
        ({"learning.scheme": {"name": "fedavg", "local_epochs": 2**31}}, "a number > 0 and <= 10000 is allowed"),
        ({"learning.data": {"name": "tones", "train_samples": 2**31}}, "a whole number >= 1 and <= 1000000 is allowed"),
        ({"learning.stop.rounds": 10**9}, "learning.stop.rounds: found 1000000000 rounds, which make about 2e+09"),
        ({"learning.scheme.local_steps": 10**9}, "learning.scheme.local_steps: found 1000000000 steps in 2 rounds"),
        (
            {"learning.stop.time_s": 1e18, "learning.stop.rounds": None},
            "stop.time_s: found 1e+18 s (3.17e+10 years)",
        ),
        (
            {"traffic": {"streams": {"x": {"arrivals": {**POISSON, "rate_per_s": 1e5}}}, "duration_s": 1e5}},
            "traffic.streams.x.arrivals: found about 4.",
        ),
        (
            {"traffic": {"streams": {"x": {"arrivals": {**POISSON, "rate_per_s": 1e12}}}}},
            "rate_per_s of user 0 is 1e+12; 0 to 1e+06 is allowed",
        ),
        (
            {"traffic": {"streams": {"x": {"arrivals": {"name": "periodic", "period_s": 1e-18}}}}},
            "the period of user 0 is 1e-18 s; it must be at least 1e-06 s",
        ),
        ({"network.users.tx_power_dbm": -200, "network.stations.height_m": 1e6}, "for one bit of any user"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_run_and_check_reject_it_at_once(settings: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    for attempt in (predict, lambda scenario: simulate(scenario, tmp_path / "run")):
        with pytest.raises(ScenarioError) as refused:
            attempt(load(TINY, {**DRY, "limits.memory_bytes": 1e9, **settings}))
        assert sentence in str(refused.value)
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_recording_in_the_wrong_unit_is_rejected_at_once(tmp_path: Path) -> None:
    (tmp_path / "drive.csv").write_text("time_s,rate_bps\n0,10\n60,20\n120,0\n")
    recording = {"name": "table", "file": str(tmp_path / "drive.csv"), "unit_bps": 1e-12}
    scenario = load(TINY, {**DRY, "network.channel.uplink_recording": recording})
    for attempt in (predict, simulate):
        with pytest.raises(ScenarioError, match=r"the uplink takes at least .* for one bit of any user"):
            attempt(scenario)


@pytest.mark.parametrize("file", shipped("scenarios"), ids=lambda file: file.stem)
def test_shipped_scenarios_stay_within_the_limits(file: Path) -> None:
    check_sizes(load(file, {"limits.memory_bytes": 4e9}))


@dataclass(frozen=True)
class Ticking(Scheme):
    """Lets simulated time pass in small steps, without end within a round."""

    step_s: float

    def run(self, world: Any) -> Iterator[Any]:
        for _ in world.rounds():
            while True:
                yield world.env.timeout(self.step_s)


def ticking(step_s: float, end_s: float | None = None) -> Any:
    scenario = load(TINY, {**DRY, **({"learning.stop.rounds": None, "learning.stop.time_s": end_s} if end_s else {})})
    assert scenario.learning is not None
    return replace(scenario, learning=replace(scenario.learning, scheme=Ticking(step_s)))


@pytest.mark.parametrize("step_s", [0.0, 1e-18, 1e-13])
def test_time_that_stands_still_ends_a_run(step_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MAX_AT_ONCE", 1000)
    monkeypatch.setattr(watch, "MAX_AT_ONCE_EACH", 100)
    with pytest.raises(RunFailed) as failed:
        simulate(ticking(step_s))
    assert "time stands still: 1408 events have happened at" in str(failed.value)
    assert "Ticking.run waits in Ticking.run (tests/scenarios/test_limits.py" in str(failed.value)


def test_events_are_extrapolated_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step each 0.1 s until 2e8 s are 2e9 events, twice as many as are allowed."""
    monkeypatch.setattr(watch, "FIRST_EVENTS", 1000)
    with pytest.raises(
        FieldError, match=r"found 2e\+08 s, which make about 2e\+09 events; limits.events allows 1e\+09"
    ) as found:
        simulate(ticking(0.1, end_s=2e8))
    assert found.value.path == ("learning", "stop", "time_s")


def test_only_the_first_moments_of_a_run_are_extrapolated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later a run is not ended any more. One that may end by its accuracy is not at all."""
    monkeypatch.setattr(watch, "FIRST_EVENTS", 100)
    scenario = ticking(0.1, end_s=1e9)
    simulation = build(scenario)
    simulation.env.run(1.0)

    def look_twice(stop: Any) -> None:
        learning = replace(scenario.learning, stop=stop, executor="eager")
        watched = Watch(replace(scenario, learning=learning), simulation.network, RunningTotals())
        watched.look()
        watched.look()

    with pytest.raises(FieldError, match=r"which make about 1\.3e"):
        look_twice(Stop(time_s=1e9))
    look_twice(Stop(time_s=1e9, accuracy=0.9))
    monkeypatch.setattr(watch, "LAST_EVENTS", 100)
    look_twice(Stop(time_s=1e9))


def test_check_extrapolates_the_events_of_its_rounds() -> None:
    with pytest.raises(FieldError, match=r"found 1e\+09 s, which make about \S+ events"):
        predict(load(TINY, {**DRY, "learning.stop.time_s": 1e9, "learning.stop.rounds": None}))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"compute.devices.flops_per_s": 1e-12}, "user 0 waits in Line.serve"),
        ({"network.stations.height_m": 1e9}, "bits of user 0 take at least"),
    ],
)
def test_centuries_are_too_long(settings: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    """Seen when a run has begun, in which nothing else happens before; its folder says that it has failed."""
    with pytest.raises(FieldError, match=r"limits.simulated_time_s allows 3.16e\+09 s \(100 years\)") as refused:
        simulate(load(TINY, {**DRY, **settings}), tmp_path / "run")
    assert sentence in str(refused.value)
    assert '"status": "failed"' in (tmp_path / "run" / "run.json").read_text()


def test_deadlines_end_what_would_take_centuries(monkeypatch: pytest.MonkeyPatch) -> None:
    """For more than an hour, after which transmissions are looked at; these have just begun."""
    monkeypatch.setattr("scenarios.run.BETWEEN_LOOKS", 1)
    policy = {"learning.policy": {"name": "deadline", "deadline_s": 100.0}, "learning.stop.rounds": 40}
    result = simulate(load(TINY, {**DRY, "network.stations.height_m": 1e9, **policy}))
    assert result.status == "complete"
    assert result.reached.dropped == 160


NEVER_MET = {"learning.policy": {"name": "deadline", "deadline_s": 1e-3}, "learning.scheme": "fedavg"}


def test_a_run_whose_deadline_nobody_meets_stalls(tmp_path: Path) -> None:
    endless = {"learning.stop": {"accuracy": 0.9}, "limits.empty_rounds": 40}
    with pytest.raises(RunFailed, match=r"no user has taken part in the last \d\d rounds.*limits\.empty_rounds"):
        simulate(load(TINY, {**NEVER_MET, **endless}), tmp_path)
    about = json.loads((tmp_path / "run.json").read_text())
    assert about["status"] == "stalled"
    assert 40 <= about["rounds"] < 80


@dataclass(frozen=True)
class NeverReports(Scheme):
    """Has rounds, and reports no model to be evaluated."""

    def run(self, world: Any) -> Iterator[Any]:
        for _ in world.rounds():
            yield from (world.env.timeout(1.0) for _ in range(watch.BETWEEN_LOOKS))
            world.report_participation(1, 1)


@pytest.mark.parametrize(
    ("stop", "awaited"),
    [
        (Stop(accuracy=0.9), "accuracy"),
        (Stop(patience=2), "loss"),
        (Stop(accuracy=0.9, rounds=60), ""),
        (Stop(patience=2, time_s=4e3), ""),
    ],
)
def test_a_run_that_awaits_an_evaluation_in_vain_stalls(stop: Stop, awaited: str, tmp_path: Path) -> None:
    scenario = load(TINY, {"limits.empty_rounds": 40})
    assert scenario.learning is not None
    learning = replace(scenario.learning, scheme=NeverReports(), stop=stop, evaluate_every=50)
    if not awaited:
        assert simulate(replace(scenario, learning=learning)).status == "complete"
        return
    with pytest.raises(RunFailed, match=rf"by the metric {awaited} of the test set, and 5\d rounds have given none"):
        simulate(replace(scenario, learning=learning), tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "stalled"


def test_a_run_without_participants_says_so() -> None:
    result = simulate(load(TINY, {"learning.executor": "dry", **NEVER_MET, "learning.stop": {"rounds": 3}}))
    assert result.status == "complete"
    assert result.warnings == ["no user took part in any of the 3 rounds, and 12 were dropped in all"]


def test_a_run_whose_devices_have_all_gone_says_so() -> None:
    gone = {"energy.battery": {"capacity_j": 1e-6}, "learning.stop": {"rounds": 50}}
    result = simulate(load(TINY, {"learning.executor": "dry", **gone}))
    assert any(sentence.startswith("all 4 devices were gone permanently at the end") for sentence in result.warnings)
