"""Workers of a sweep: interrupted, orphaned, killed, and on Ray."""

import os
import signal
import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import psutil
import pytest
from sweeps import BANDS, index, records

from processes import ROOT, Process, children, ended, started, until
from scenarios import engines, load
from scenarios.directory import record
from scenarios.engines import LocalEngine, PointOutcome, Task
from scenarios.plan import plan


def sweeping(study: Path, sweep: Path, *more: str) -> AbstractContextManager[Process]:
    """A sweep in a process of its own."""
    return started("-m", "scenarios", "sweep", study, "-o", sweep, "--jobs", 2, *more)


def written(run: Path) -> bool:
    """Whether a point has rows on the disk."""
    return len(list(run.glob("traces/rounds/part-*.parquet"))) >= 2


@pytest.fixture
def endless(study: Path) -> Path:
    """A point that ends, and one that goes on for ever, on another band."""
    file = study.parent / "endless.yaml"
    long = f"learning.stop.rounds: {10**9}, limits.events: 1.0e+15, {BANDS}: 1"
    file.write_text(f"base: small.yaml\nlist:\n- {{}}\n- {{label: long, {long}}}\n")
    return file


def interrupted(process: Process, signals: list[int]) -> tuple[set[psutil.Process], tuple[int, str, str]]:
    """Send signals to a sweep and wait until it and its workers have ended; these, its exit code, stdout and stderr."""
    workers = children(process.pid)
    for number in signals:
        process.send_signal(number)
    said = ended(process)
    until(lambda: not any(map(lives, workers)))
    return workers, said


TWICE = pytest.param([signal.SIGTERM, signal.SIGINT], id="twice", marks=pytest.mark.slow)


@pytest.mark.parametrize("signals", [pytest.param([signal.SIGINT], id="once"), TWICE])
def test_an_interrupted_sweep_says_how_far_it_came(signals: list[int], endless: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    with sweeping(endless, sweep) as process:
        until(lambda: written(sweep / "points" / "long" / "seed-3"), process)
        until(lambda: index(sweep)["points"][0]["status"] == "complete", process)
        workers, (code, out, err) = interrupted(process, signals)
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted: 1 of 2 points have ended; the same command goes on with the others"
    assert "Traceback" not in err, err
    assert workers
    said = index(sweep)
    assert (said["status"], [p["status"] for p in said["points"]]) == ("interrupted", ["complete", "pending"])
    assert len(pd.read_parquet(sweep / "points" / "long" / "seed-3" / "traces" / "rounds")) > 0


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT] * 2], ids=["once", "twice"])
def test_a_sweep_whose_workers_are_just_starting_leaves_none_behind(
    signals: list[int], endless: Path, tmp_path: Path
) -> None:
    with sweeping(endless, tmp_path / "sweep") as process:
        until(lambda: any("--process-name" in child.cmdline() for child in children(process.pid)), process)
        _, (code, out, err) = interrupted(process, signals)
    assert (code, out) == (130, "")
    assert err == "interrupted: 0 of 2 points have ended; the same command goes on with the others\n"


def lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_workers_end_when_their_sweep_is_killed(endless: Path, tmp_path: Path) -> None:
    """The one with a run ends it in order, the one without work ends too."""
    run = tmp_path / "sweep" / "points" / "long" / "seed-3"
    with sweeping(endless, tmp_path / "sweep") as process:
        until(lambda: written(run), process)
        until(lambda: index(tmp_path / "sweep")["points"][0]["status"] == "complete", process)
        workers = children(process.pid)
        assert len(workers) == 2
        process.kill()
        until(lambda: not any(map(lives, workers)))
        assert (record(run) or {})["status"] == "interrupted"


def fatal(task: Task) -> PointOutcome:
    """A worker dies at its second task."""
    if task.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return PointOutcome(task.number, "complete")


@pytest.mark.slow
def test_a_worker_that_dies_is_one_failed_point(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(engines, "work", fatal)
    point = plan(study).points[0]
    tasks = [Task(number, point.scenario, tmp_path / str(number), None) for number in range(5)]
    workers = LocalEngine(2)
    try:
        outcomes = {outcome.number: outcome for outcome in workers.run(tasks)}
    finally:
        workers.close()
    assert {number: outcome.status for number, outcome in outcomes.items()} == {
        number: "failed" if number == 1 else "complete" for number in range(5)
    }
    assert outcomes[1].error == "its process died; did the machine run out of memory?"


def test_a_task_knows_whether_its_sweep_lives(small: Path, tmp_path: Path) -> None:
    task = Task(0, load(small), tmp_path, None)
    assert not task.orphaned
    assert not replace(task, driver=os.getpid()).orphaned
    assert not replace(task, driver=os.getppid()).orphaned
    with started("-c", "") as gone:
        ended(gone)
    assert replace(task, driver=gone.pid).orphaned


def test_ray_that_is_missing_is_one_sentence(
    study: Path, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    said = netsim("sweep", study, "-o", tmp_path / "sweep", "--engine", "ray")
    assert said == (2, "", "netsim: the engine ray needs the package ray; install netsim-learning[ray]\n")
    assert not (tmp_path / "sweep").exists()
    code, _, err = netsim("sweep", study, "--engine", "spark")
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="the extra netsim-learning[ray] is not installed")
def test_ray_runs_the_same_points(study: Path, tmp_path: Path, netsim) -> None:
    with sweeping(study, Path(os.path.relpath(tmp_path / "ray", ROOT)), "--engine", "ray") as process:
        code, out, err = ended(process)
    assert code == 0, err
    assert "6 of 6 complete" in out
    netsim("sweep", study, "-o", tmp_path / "local", "--jobs", 1, "--no-store")
    ray, local = records(tmp_path / "ray"), records(tmp_path / "local")
    assert {point: about["tables"] for point, about in ray.items()} == {p: a["tables"] for p, a in local.items()}
    assert sum(about["operations"]["run"] > 0 for about in ray.values()) == 2
