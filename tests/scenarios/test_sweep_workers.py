"""Workers of a sweep: interrupted, orphaned, killed, and on Ray."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from sweeps import BANDS, index, records

from scenarios import engines, load
from scenarios.directory import record
from scenarios.engines import Local, Outcome, Task
from scenarios.plan import plan

ROOT = Path(__file__).parents[2]


def command(study: Path, sweep: Path, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "scenarios", "sweep", str(study), "-o", str(sweep), "--jobs", "2", *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def when_running(process: "subprocess.Popen[str]", run: Path) -> None:
    """Wait until a point has written rows."""
    deadline = time.monotonic() + 60
    while len(list(run.glob("traces/rounds/part-*.parquet"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_interrupted_sweep_says_how_far_it_came(study: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    long = study.parent / "long.yaml"
    long.write_text(f"base: small.yaml\nlist:\n- {{}}\n- {{label: long, learning.stop.rounds: 100000, {BANDS}: 1}}\n")
    process = command(long, sweep)
    when_running(process, sweep / "points" / "long" / "seed-3")
    while index(sweep)["points"][0]["status"] != "complete":
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted: 1 of 2 points have ended; the same command goes on with the others"
    assert "Traceback" not in err
    said = index(sweep)
    assert (said["status"], [p["status"] for p in said["points"]]) == ("interrupted", ["complete", "pending"])
    assert len(pd.read_parquet(sweep / "points" / "long" / "seed-3" / "traces" / "rounds")) > 0


def test_workers_end_when_their_sweep_is_killed(small: Path, tmp_path: Path) -> None:
    study, sweep = tmp_path / "study.yaml", tmp_path / "sweep"
    study.write_text("base: small.yaml\nlist: [{label: long, learning.stop.rounds: 100000}]\n")
    run = sweep / "points" / "long" / "seed-3"
    process = command(study, sweep)
    when_running(process, run)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while (record(run) or {})["status"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (record(run) or {})["status"] == "interrupted"
    for pipe in (process.stdout, process.stderr):  # not read to their end: a worker without work lingers for minutes
        assert pipe
        pipe.close()


def fatal(task: Task) -> Outcome:
    """A worker dies at its second task."""
    if task.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(task.number, "complete")


def test_a_worker_that_dies_is_one_failed_point(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(engines, "work", fatal)
    point = plan(study).points[0]
    tasks = [Task(number, point.scenario, tmp_path / str(number), None) for number in range(5)]
    outcomes = {outcome.number: outcome for outcome in Local(2).run(tasks)}
    assert {number: outcome.status for number, outcome in outcomes.items()} == {
        number: "failed" if number == 1 else "complete" for number in range(5)
    }
    assert outcomes[1].error == "its process died; did the machine run out of memory?"


def test_a_task_knows_whether_its_sweep_lives(small: Path, tmp_path: Path) -> None:
    task = Task(0, load(small), tmp_path, None)
    assert not task.orphaned
    assert not replace(task, driver=os.getpid()).orphaned
    assert not replace(task, driver=os.getppid()).orphaned
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert replace(task, driver=gone.pid).orphaned


def test_ray_that_is_missing_is_one_sentence(
    study: Path, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    said = netsim("sweep", study, "-o", tmp_path / "sweep", "--engine", "ray")
    assert said == (2, "", "netsim: --engine ray needs the package ray; install netsim[ray]\n")
    assert not (tmp_path / "sweep").exists()
    code, _, err = netsim("sweep", study, "--engine", "spark")
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="the extra netsim[ray] is not installed")
def test_ray_runs_the_same_points(study: Path, tmp_path: Path, netsim) -> None:
    process = command(study, Path(os.path.relpath(tmp_path / "ray", ROOT)), "--engine", "ray")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "6 of 6 complete" in out
    netsim("sweep", study, "-o", tmp_path / "local", "--jobs", 1, "--no-store")
    ray, local = records(tmp_path / "ray"), records(tmp_path / "local")
    assert {point: about["tables"] for point, about in ray.items()} == {p: a["tables"] for p, a in local.items()}
    assert sum(about["operations"]["run"] > 0 for about in ray.values()) == 2
