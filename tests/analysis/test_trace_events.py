"""The timeline for Perfetto: the closed form of the synthetic run in the trace event format."""

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import Synthetic

import analysis
from analysis import trace_events

Event = dict[str, Any]


def exported(run: analysis.Run) -> tuple[list[Event], dict[tuple[int, int], str]]:
    """Events, and the names of process and thread by their numbers."""
    events = json.loads(trace_events.trace_events(run))["traceEvents"]
    named = {(e["name"], e["pid"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M"}
    threads = {(p, t): f"{named['process_name', p, 0]}/{name}" for (what, p, t), name in named.items() if t}
    return [event for event in events if event["ph"] != "M"], threads


def test_a_slice_is_the_time_in_service_of_an_activity(run_dir: Path) -> None:
    events, threads = exported(analysis.load(run_dir))
    slices = [e for e in events if e["ph"] == "X" and e["args"].get("user") == 1 and e["ts"] < 13.5e6]
    own = [(threads[e["pid"], e["tid"]], e["name"], e["ts"], e["dur"]) for e in slices if e["args"]["round"] == 0]
    assert [each for each in own if "path" not in each[0]] == [
        ("user1/downlink", "model", 0.0, 2e6),
        ("user 1/jobs", "client_forward", 2e6, 2e6),
        ("user1/uplink", "activation", 4e6, 2e6),
        ("server/jobs", "server_step", 6.5e6, 1e6),
        ("user1/downlink", "gradient", 7.5e6, 1e6),
        ("user 1/jobs", "client_backward", 8.5e6, 5e6),
    ]
    (step,) = (e for e in slices if e["name"] == "server_step")
    assert step["args"]["wait_s"] == 0.5
    assert "energy_j" not in step["args"]  # which has none


def test_slices_of_a_thread_do_not_overlap(tmp_path: Path) -> None:
    events, threads = exported(analysis.load(Synthetic(users=6).write(tmp_path)))
    spans = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            spans[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for place, each in spans.items():
        assert all(end <= later + 1e-3 for (_, end), (later, _) in pairwise(sorted(each))), place
    assert "server/jobs 2" in threads.values()


def test_rounds_paths_and_metrics_are_there(run_dir: Path) -> None:
    events, threads = exported(analysis.load(run_dir))
    by_thread = defaultdict(list)
    for event in events:
        by_thread[threads[event["pid"], event["tid"]]].append(event)
    assert [(e["name"], e["dur"]) for e in by_thread["rounds/rounds"]] == [("round 0", 33.5e6), ("round 1", 33.5e6)]
    assert sum(e["dur"] for e in by_thread["rounds/critical path"]) == pytest.approx(67e6)
    counters = [(e["name"], e["ts"], e["args"]) for e in by_thread["metrics/metrics"]]
    assert counters[0] == ("accuracy on test", 33.5e6, {"accuracy": 0.5})


def test_a_value_that_json_has_not_is_left_out(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    run.evaluations = run.evaluations.assign(value=[0.5, float("inf"), None, float("nan")])
    events, _ = exported(run)
    assert [e["args"] for e in events if e["ph"] == "C"] == [{"accuracy": 0.5}]


def test_messages_on_a_backhaul_are_at_its_end() -> None:
    row = {"direction": "backhaul", "node": "core", "user": 3}
    assert trace_events._place(row) == ("backhaul to core", "messages")
    assert trace_events._place({**row, "direction": None}) == ("core", "jobs")
