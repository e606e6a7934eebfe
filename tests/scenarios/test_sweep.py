"""Sweeps: which points run, which are not run twice, and what is left when one fails."""

import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyarrow import parquet
from rich.console import Console
from sweeps import BANDS, index, records

from learning.scheme import Scheme
from learning.schemes import SCHEMES
from netsim.tables import RoundRow
from netsim.trace import Trace
from scenarios import load, simulate
from scenarios.cost import predict
from scenarios.engines import PointOutcome, Task
from scenarios.plan import plan
from scenarios.sweep import SweepRunner
from scenarios.sweep_display import SweepDisplay

ROOT = Path(__file__).parents[2]


def test_learning_runs_once_for_each_seed(study: Path, small: Path, tmp_path: Path, netsim) -> None:
    """The bandwidth study in miniature, by two workers; its tables are those of runs without a store."""
    code, out, err = netsim("sweep", study, "-o", tmp_path / "sweep", "--jobs", 2)
    assert code == 0
    assert "6 of 6 complete" in out
    assert len(err.splitlines()) == 6
    done = records(tmp_path / "sweep")
    ran = {point: about["operations"]["run"] for point, about in done.items()}
    assert list(ran) == [(f"bandwidth_mhz={band}", seed) for band in ("0.5", "1", "4") for seed in (3, 4)]
    alone = {seed: simulate(load(small, {"seed": seed})).operations["run"] for seed in (3, 4)}
    assert ran == {(label, seed): alone[seed] if label == "bandwidth_mhz=0.5" else 0 for label, seed in ran}
    for (label, seed), about in done.items():
        scenario = load(small, {BANDS: float(label.rpartition("=")[2]), "seed": seed})
        assert about["tables"] == simulate(scenario).tables
        assert about["tables"]["rounds"]["rows"] == 2
    assert len({json.dumps(about["tables"]["transfers"]) for about in done.values()}) == 6


def test_looking_ahead_pretrains_nothing(study: Path, small: Path, tmp_path: Path, monkeypatch) -> None:
    """Points are built before the first one runs, untrained; to tell what they cost a few steps are tried at most."""

    def pretrain(pretrainer: Any, _: Any, precision: Any) -> Any:
        assert pretrainer.described.steps <= 20, "a pretraining of minutes"
        return pretrainer.whole.initial(pretrainer.streams, precision)

    monkeypatch.setattr("learning.pretraining.Pretrainer.trained", pretrain)
    model = "  model: {name: vit, width: 8, depth: 1, heads: 2}\n  adapter: {rank: 2}\n"
    pretrained = f"learning:\n  pretraining: {{data: digits, steps: 100000}}\n{model}"
    small.write_text(small.read_text().replace("learning:\n", pretrained, 1))
    assert len(SweepRunner(plan(study), tmp_path / "sweep").points) == 6
    assert predict(load(small)).wall_time_s is not None


@pytest.mark.parametrize("stop", ["{accuracy: 0.99}", "{accuracy: 0.99, rounds: 2}", "{time_s: 1, accuracy: 0.99}"])
def test_points_that_stop_at_an_accuracy_can_be_looked_at(stop: str, study: Path, small: Path, tmp_path: Path) -> None:
    small.write_text(small.read_text().replace("{rounds: 2}", stop))
    assert len(SweepRunner(plan(study), tmp_path / "sweep").points) == 6


def test_the_folder_of_a_sweep(study: Path, tmp_path: Path, netsim) -> None:
    sweep = tmp_path / "sweep"
    assert netsim("sweep", study, "-o", sweep, "--jobs", 1).code == 0
    said = index(sweep)
    assert (said["name"], said["status"], len(said["points"])) == ("band", "complete", 6)
    assert said["points"][3] == {
        "label": "bandwidth_mhz=1",
        "overrides": {BANDS: 1},
        "seed": 4,
        "path": "points/bandwidth_mhz=1/seed-4",
        "status": "complete",
        "error": None,
    }
    assert [point.scenario for point in plan(sweep / "study.yaml").points] == [p.scenario for p in plan(study).points]
    rounds = pd.read_parquet(sweep / said["points"][3]["path"] / "traces" / "rounds")
    assert len(rounds) == 2
    assert netsim("run", "--check", sweep / said["points"][3]["path"]).out == "identical\n"
    assert netsim("compare", sweep).code == 0


def test_the_folder_is_named_after_the_study(
    study: Path, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert netsim("sweep", study.name, "--jobs", 1).code == 0
    assert index(tmp_path / "runs" / "band")["status"] == "complete"


def test_what_is_finished_is_skipped(study: Path, tmp_path: Path, netsim) -> None:
    """Not run again: neither an equal point, nor one whose study has grown; a changed or unfinished one is."""
    sweep = tmp_path / "sweep"
    netsim("sweep", study, "-o", sweep, "--jobs", 1)
    times = {file: file.stat().st_mtime_ns for file in sweep.glob("points/*/*/run.json")}

    def rewritten() -> set[str]:
        netsim("sweep", study, "-o", sweep, "--jobs", 1)
        new = {
            str(f.parent.relative_to(sweep / "points"))
            for f in sweep.glob("points/*/*/run.json")
            if times.get(f) != f.stat().st_mtime_ns
        }
        times.update({file: file.stat().st_mtime_ns for file in sweep.glob("points/*/*/run.json")})
        return new

    assert rewritten() == set()
    study.write_text(study.read_text().replace("seeds: 2", "seeds: [4, 9]"))
    assert rewritten() == {f"bandwidth_mhz={band}/seed-9" for band in ("0.5", "1", "4")}
    dead = sweep / "points" / "bandwidth_mhz=1" / "seed-4" / "run.json"
    dead.write_text(dead.read_text().replace('"complete"', '"running"'))
    assert rewritten() == {"bandwidth_mhz=1/seed-4"}
    base = study.parent / "small.yaml"
    base.write_text(base.read_text().replace("rounds: 2", "rounds: 1"))
    assert len(rewritten()) == 6
    assert "6 of them before" in netsim("sweep", study, "-o", sweep).out


@dataclass(frozen=True)
class Breaks(Scheme):
    """A scheme that fails in its first round."""

    def run(self, world: Any) -> Any:
        yield world.env.timeout(1.5)
        raise ArithmeticError("no such sum")


def test_a_point_that_fails_stops_no_other(
    small: Path, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its scheme fails, or something else than a run lies in its folder."""
    monkeypatch.setitem(SCHEMES, "breaks", Breaks)
    study, sweep = tmp_path / "study.yaml", tmp_path / "sweep"
    study.write_text("base: small.yaml\nlist: [{label: a, learning.scheme: breaks}, {label: b}, {label: c}]\n")
    thesis = sweep / "points" / "b" / "seed-3" / "chapter.tex"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("years of work")
    (sweep / "sweep.json").write_text('{"status": "complete", "points": []}')
    code, out, err = netsim("sweep", study, "-o", sweep, "--jobs", 1)
    assert code == 1
    assert "1 of 3 complete" in out
    failures = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert len(failures) == 2
    assert failures[0].startswith("failed: a, seed 3: failed at simulated time 1.5 s: ArithmeticError: no such")
    assert failures[1].startswith(f"failed: b, seed 3: {thesis.parent}: the folder is not empty and holds no run")
    said = index(sweep)
    assert said["status"] == "failed"
    assert [point["status"] for point in said["points"]] == ["failed", "failed", "complete"]
    assert said["points"][0]["error"] == failures[0].removeprefix("failed: a, seed 3: ")
    thesis.unlink()
    assert netsim("sweep", study, "-o", sweep, "--jobs", 1).code == 1  # failed points are tried again
    assert [point["status"] for point in index(sweep)["points"]] == ["failed", "complete", "complete"]


def test_pilots_go_ahead_of_the_points_that_share_their_learning(small: Path, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(
        "base: small.yaml\nseeds: 2\n"
        f"grid: {{learning.scheme: [sl, psl], {BANDS}: [1, 2], network.channel.fading: [none, rician]}}\n"
    )
    waves: list[list[Task]] = []

    class Recording:
        def __init__(self, jobs: int | None) -> None: ...

        def run(self, tasks: Any) -> Any:
            waves.append(list(tasks))
            yield from (PointOutcome(task.number, "complete") for task in tasks)

        def close(self) -> None: ...

    SweepRunner(plan(tmp_path / "study.yaml"), tmp_path / "out").run(Recording(None), None, quiet())
    pilots, others = waves
    assert Counter(
        (task.scenario.seed, task.scenario.learning.scheme) for task in pilots if task.scenario.learning
    ) == {(task.scenario.seed, task.scenario.learning.scheme): 1 for task in pilots if task.scenario.learning}
    assert (len(pilots), len(others)) == (4, 12)
    assert sorted(task.number for wave in waves for task in wave) == list(range(16))


def quiet() -> SweepDisplay:
    return SweepDisplay(Console(file=io.StringIO()))


def test_another_folder_is_refused(study: Path, tmp_path: Path, netsim) -> None:
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.tex").write_text("years of work")
    simulate(load(study.parent / "small.yaml"), tmp_path / "run")
    for folder in (thesis, tmp_path / "run"):
        code, out, err = netsim("sweep", study, "-o", folder)
        assert (code, out) == (2, "")
        assert (
            err == f"{folder}: the folder is not empty and holds no sweep of this program; name another one with -o\n"
        )
    assert [file.name for file in thesis.iterdir()] == ["chapter.tex"]


def test_the_table_of_points_is_live_on_a_terminal(study: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=30)
    sweep = SweepRunner(plan(study), tmp_path / "sweep")
    display = SweepDisplay(console)
    display.begun(sweep)
    for number, status in enumerate(["complete", "complete", "failed"]):
        sweep.points[number].status = status
    (tmp_path / "sweep" / sweep.points[3].path).mkdir(parents=True)
    (tmp_path / "sweep" / sweep.points[3].path / "run.json").write_text('{"status": "running"}')
    console.print(display._picture())
    assert isinstance(console.file, io.StringIO)
    text = Console(file=io.StringIO(), width=100)
    text.print(display._picture())
    assert isinstance(text.file, io.StringIO)
    lines = [" ".join(line.split()) for line in text.file.getvalue().splitlines()]
    assert lines == [
        "band: 1 running, 1 failed, 2 pending, 2 complete",
        "bandwidth_mhz=0.5 2 complete",
        "bandwidth_mhz=1 1 running, 1 failed",
        "bandwidth_mhz=4 2 pending",
    ]
    assert "\x1b[" in console.file.getvalue()


def test_a_running_point_shows_its_rounds(study: Path, tmp_path: Path) -> None:
    """As soon as its tables have some; a part that is being written or merged is passed over."""
    sweep = SweepRunner(plan(study), tmp_path / "sweep")
    display = quiet()
    display.begun(sweep)
    folder = tmp_path / "sweep" / sweep.points[3].path
    trace = Trace(folder / "traces")
    (folder / "run.json").write_text('{"status": "running"}')

    def shown() -> list[str]:
        text = Console(file=io.StringIO(), width=100)
        text.print(display._picture())
        assert isinstance(text.file, io.StringIO)
        return [" ".join(line.split()) for line in text.file.getvalue().splitlines() if "running" in line][1:]

    assert shown() == ["bandwidth_mhz=1 1 running, 1 pending"]
    for number in range(3):
        trace.add("rounds", *RoundRow(number, number, number + 0.5, 0.5, 3, 0, 0.0, 1.0, 1.0, 1.0))
    trace.flush()
    (folder / "traces" / "rounds" / "part-000009.parquet").write_bytes(b"")
    (running,) = shown()
    seed, rounds = sweep.points[3].seed, sweep.horizon(3).rounds
    assert running == f"bandwidth_mhz=1 1 running, 1 pending seed {seed}: round 3/{rounds}, 2.5 s"


def test_the_time_left_of_a_sweep_is_that_of_its_pace_after_set_up(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set-up takes 100 s; then a point of three rounds takes 3 s, of which there are six in all, one after another."""
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    study.write_text(study.read_text().replace("base:", "every: {learning.stop.rounds: 3}\nbase:", 1))
    sweep = SweepRunner(plan(study), tmp_path / "sweep")
    assert [sweep.horizon(number).rounds for number in range(6)] == [3] * 6
    display = quiet()
    display.begun(sweep)
    first = tmp_path / "sweep" / sweep.points[0].path
    trace = Trace(first / "traces")
    (first / "run.json").write_text('{"status": "running"}')
    read: list[Path] = []
    table = parquet.read_table
    monkeypatch.setattr(
        "scenarios.sweep_display.parquet.read_table", lambda part, **more: (read.append(part), table(part, **more))[1]
    )

    def left(rounds: int) -> str:
        for number in range(rounds):
            trace.add("rounds", *RoundRow(number, number, number + 0.5, 0.5, 3, 0, 0.0, 1.0, 1.0, 1.0))
        trace.flush()
        text = Console(file=io.StringIO(), width=100)
        text.print(display._picture())
        assert isinstance(text.file, io.StringIO)
        return text.file.getvalue().splitlines()[0].partition(" to go")[0].rpartition(", about ")[2]

    assert "6 pending" not in left(0)
    now = 101.0
    assert "running" in left(1)  # the first part of all: no pace yet
    now = 102.0
    assert left(2) == "16 s"
    assert left(0) == "16 s"
    assert len(read) == len(set(read)) == 3  # an empty part and two, each once
    now = 103.0
    sweep.points[0].status = "complete"
    display.ended(sweep.points[0], PointOutcome(0, "complete"))
    assert isinstance(display._console.file, io.StringIO)
    assert display._console.file.getvalue().splitlines()[-1].endswith(", complete, about 15 s to go")
