"""Scalars for TensorBoard: the tables of the synthetic run, read back from the event file."""

import sys
from pathlib import Path

import pytest

import analysis
from analysis.tensorboard import MissingTensorBoard, Scalar, scalars, write_tensorboard


def test_scalars_are_those_of_the_tables(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    found = list(scalars(run))
    test = run.evaluations.query("split == 'test' and metric == 'accuracy' and user.isna()")
    accuracy = [each for each in found if each.tag == "test/accuracy"]
    assert accuracy == [Scalar("test/accuracy", *row) for row in test[["value", "round", "time_s"]].to_numpy().tolist()]
    latency = [(each.value, each.round, each.time_s) for each in found if each.tag == "rounds/latency_s"]
    assert latency == [tuple(row) for row in run.rounds[["latency_s", "round", "end_s"]].to_numpy().tolist()]


def test_tensorboard_reads_simulated_time(run_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    run = analysis.load(run_dir)
    write_tensorboard(run, tmp_path / "board")
    (file,) = (tmp_path / "board").iterdir()
    read = [
        (value.tag, value.tensor.float_val[0], event.step, event.wall_time)
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    ]
    expected = [tuple(each) for each in scalars(run)]
    assert [(tag, step, time) for tag, _, step, time in read] == [(tag, step, time) for tag, _, step, time in expected]
    assert [value for _, value, _, _ in read] == pytest.approx([value for _, value, _, _ in expected], rel=1e-6)


def test_without_tensorboard_the_remedy_is_said(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    with pytest.raises(MissingTensorBoard, match=r"pip install 'netsim-learning\[tensorboard\]'"):
        write_tensorboard(analysis.load(run_dir), tmp_path / "board")


def test_values_of_single_users_and_those_that_are_not_known_are_left_out(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    every = len(list(scalars(run)))
    table = run.evaluations.copy()
    table.loc[0, "value"] = None
    table.loc[1, "user"] = 0
    run.__dict__["evaluations"] = table
    assert len(list(scalars(run))) == every - 2
