"""Loading sweeps: complete, with points missing, and folders that are none."""

import json
import shutil
from pathlib import Path

import pytest
from made_up_sweep import MadeUp, write_sweep

import analysis


@pytest.fixture
def sweep_dir(tmp_path: Path) -> Path:
    arms = {"a": {1: MadeUp(), 2: MadeUp(latency_s=2.0)}, "b": {1: MadeUp()}}
    return write_sweep(tmp_path / "sweep", arms, broken={("b", 2): "no power", ("b", 3): None})


def test_points_tell_what_became_of_them(sweep_dir: Path) -> None:
    points = analysis.load_sweep(sweep_dir).points
    assert list(points) == ["label", "seed", "status", "path", "error", "network.bandwidth"]
    assert points["status"].tolist() == ["complete", "complete", "complete", "failed", "pending"]
    assert points["error"].tolist() == ["", "", "", "no power", ""]
    assert points["network.bandwidth"].tolist() == ["a", "a", "b", "b", "b"]
    assert points["path"][1] == sweep_dir / "points" / "a" / "seed-2"


def test_runs_are_those_of_the_complete_points(sweep_dir: Path) -> None:
    sweep = analysis.load_sweep(sweep_dir)
    assert list(sweep.runs) == [("a", 1), ("a", 2), ("b", 1)]
    assert sweep.runs["a", 2].rounds["latency_s"].tolist() == [2.0, 2.0, 2.0]


def test_a_complete_point_without_a_run_is_named(sweep_dir: Path) -> None:
    shutil.rmtree(sweep_dir / "points" / "b" / "seed-1")
    with pytest.raises(analysis.NotARun, match="seed-1 is not a folder"):
        _ = analysis.load_sweep(sweep_dir).runs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"is not a sweep: it has no sweep\.json"),
        ("{", r"its sweep\.json is not JSON"),
        ("[]", r"its sweep\.json holds no object"),
        ('{"points": 3}', r"its sweep\.json lists no points"),
        ('{"points": [{"label": "a", "seed": 1}]}', r"a point in its sweep\.json has no path and no status"),
    ],
)
def test_a_folder_that_is_no_sweep_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(analysis.NotASweep, match=message) as error:
        analysis.load_sweep(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(analysis.NotASweep, match="is not a folder"):
        analysis.load_sweep(tmp_path / "nowhere")


def test_an_empty_sweep_has_no_runs(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({"points": []}))
    sweep = analysis.load_sweep(tmp_path)
    assert sweep.points.empty
    assert sweep.runs == {}
    assert sweep.name == tmp_path.name
