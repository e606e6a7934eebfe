"""Sweeps whose index, study or points are damaged, lost or foreign: one sentence each, and what can be read is read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up_sweep import MadeUp, write_sweep

import analysis
from analysis import report

Damage = Callable[[Path], object]
REFUSALS = (analysis.DamagedRun, analysis.NotARun, analysis.NotASweep, analysis.NotComparable, analysis.NotRecorded)


def index(content: bytes) -> Damage:
    return lambda sweep: (sweep / "sweep.json").write_bytes(content)


def field(name: str, value: Any) -> Damage:
    """The index with another value of one field of the first point."""

    def damage(sweep: Path) -> None:
        content = json.loads((sweep / "sweep.json").read_text())
        content["points"][0][name] = value
        (sweep / "sweep.json").write_text(json.dumps(content))

    return damage


def point(change: Damage) -> Damage:
    return lambda sweep: change(sweep / "points" / "a" / "seed-1")


def records_rounds(run: Path) -> None:
    """Let the record say that there is a table of rounds."""
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "tables": {"rounds": {"rows": 3}}}))


def folder_instead(sweep: Path) -> None:
    (sweep / "sweep.json").unlink()
    (sweep / "sweep.json").mkdir()


def twice(sweep: Path) -> None:
    content = json.loads((sweep / "sweep.json").read_text())
    content["points"].append(content["points"][0])
    (sweep / "sweep.json").write_text(json.dumps(content))


OF_INDEX: dict[str, Damage] = {
    "index empty": index(b""),
    "index of bytes": index(b"\xff\xfe{}"),
    "index nested deeply": index(b"[" * 100_000 + b"]" * 100_000),
    "index cut short": lambda sweep: (sweep / "sweep.json").write_bytes((sweep / "sweep.json").read_bytes()[:90]),
    "index a folder": folder_instead,
    "index lost": lambda sweep: (sweep / "sweep.json").unlink(),
    "points of numbers": index(b'{"points": [1, 2]}'),
    "a point without seed": index(b'{"points": [{"label": "a", "path": "points/a", "status": "complete"}]}'),
    "label a list": field("label", ["a"]),
    "label a number": field("label", 3),
    "seed of words": field("seed", "first"),
    "seed not finite": field("seed", float("nan")),
    "seed null": field("seed", None),
    "path a number": field("path", 7),
    "path null": field("path", None),
    "path with a null byte": field("path", "points/\0"),
    "path outside": field("path", "../.."),
    "path absolute": field("path", "/etc"),
    "status a list": field("status", ["complete"]),
    "overrides a list": field("overrides", [1]),
    "overrides of words": field("overrides", "network"),
    "error an object": field("error", {"why": 1}),
}
"""Damages after which the sweep is not read."""

OF_POINTS: dict[str, Damage] = {
    "point lost": point(shutil.rmtree),
    "point a file": point(lambda run: (shutil.rmtree(run), run.write_text("x"))),
    "record lost": point(lambda run: (run / "run.json").unlink()),
    "record of bytes": point(lambda run: (run / "run.json").write_bytes(b"\xff")),
    "traces lost": point(lambda run: (shutil.rmtree(run / "traces"), records_rounds(run))),
    "a table lost": point(lambda run: (shutil.rmtree(run / "traces" / "rounds"), records_rounds(run))),
    "table cut short": point(
        lambda run: [file.write_bytes(file.read_bytes()[:100]) for file in (run / "traces" / "rounds").iterdir()]
    ),
    "table empty": point(lambda run: [file.write_bytes(b"") for file in (run / "traces" / "evaluations").iterdir()]),
}
"""Damages that leave other points to show."""


@pytest.fixture
def sweep_dir(tmp_path: Path) -> Path:
    arms = {"a": {1: MadeUp(), 2: MadeUp()}, "b": {1: MadeUp(latency_s=2.0), 2: MadeUp(latency_s=2.0)}}
    return write_sweep(tmp_path / "sweep", arms)


def refused(command: Callable[[Path], object], path: Path) -> str:
    """The sentence by which a command refuses a sweep; empty if it does not."""
    try:
        command(path)
    except REFUSALS as refusal:
        return str(refusal)
    return ""


@pytest.mark.parametrize("damage", OF_INDEX.values(), ids=list(OF_INDEX))
def test_a_damaged_index_is_refused_in_one_sentence(sweep_dir: Path, damage: Damage) -> None:
    damage(sweep_dir)
    for command in (analysis.load_sweep, report.write, lambda path: analysis.compare([path])):
        sentence = refused(command, sweep_dir)
        assert str(sweep_dir) in sentence
        assert "\n" not in sentence


@pytest.mark.parametrize("damage", OF_POINTS.values(), ids=list(OF_POINTS))
def test_a_damaged_point_is_left_out_and_the_others_are_read(sweep_dir: Path, damage: Damage) -> None:
    damage(sweep_dir)
    compared = analysis.compare([sweep_dir], target=0.5)
    assert compared.arms == ["a", "b"]
    (warning,) = (warning for warning in compared.warnings if "points/a/seed-1 is left out" in warning)
    assert "\n" not in warning
    assert "points/a/seed-1 is left out" in report.write(sweep_dir).read_text("utf-8")
    assert len(analysis.load_sweep(sweep_dir).points) == 4


def test_a_point_that_is_listed_twice_is_refused(sweep_dir: Path) -> None:
    twice(sweep_dir)
    with pytest.raises(analysis.NotASweep, match=r"its sweep\.json lists a, seed 1 twice"):
        analysis.load_sweep(sweep_dir)
