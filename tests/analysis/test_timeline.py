"""Stretches of work and waiting, and what is left out of crowded timelines."""

from pathlib import Path

import pandas as pd
import pytest
from synthetic_run import Synthetic

import analysis
from analysis import timeline
from analysis.report import gantt


def test_a_mini_batch_of_one_user_stretch_by_stretch(run_dir: Path) -> None:
    """User 1 in the first round, by the closed form of the synthetic run."""
    run = analysis.load(run_dir)
    bars = timeline.intervals(run.transfers, run.computations)
    own = bars[(bars["user"] == 1) & (bars["start_s"] < 13.5)]
    assert own[["activity", "start_s", "end_s"]].to_numpy().tolist() == [
        ["Model exchange", 0.0, 2.0],
        ["Device forward", 2.0, 4.0],
        ["Uplink", 4.0, 6.0],
        ["Server queue", 6.0, 6.5],
        ["Server compute", 6.5, 7.5],
        ["Downlink", 7.5, 8.5],
        ["Device backward", 8.5, 13.5],
    ]


def test_stretches_cover_all_the_time_of_every_job(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    bars = timeline.intervals(run.transfers, run.computations)
    jobs = pd.concat([run.transfers, run.computations])
    assert (bars["end_s"] - bars["start_s"]).sum() == pytest.approx((jobs["end_s"] - jobs["start_s"]).sum())
    assert set(bars["activity"]) <= set(timeline.ACTIVITIES)


def test_what_was_cut_off_is_marked_but_not_the_waiting_before_it(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    cut = run.computations.assign(interrupted=True)
    bars = timeline.intervals(run.transfers.assign(lost=1.0), cut)
    assert set(bars.loc[~bars["lost"], "activity"]) == {"Server queue"}


def test_rows_done_last_and_bars_that_are_longest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MAX_USERS", 2)
    monkeypatch.setattr(timeline, "MAX_BARS", 3)
    bars = pd.DataFrame({"row": [0, 0, 1, 1, 2, 2], "start_s": [0, 1, 0, 1, 0, 3], "end_s": [1, 2, 1, 9, 3, 4]})
    kept, notes = timeline.thinned(bars)
    assert sorted(kept.index) == [2, 3, 4]
    assert notes == [
        "Only the 2 users that finished last are drawn.",
        "Only the 3 longest intervals of a round are drawn.",
    ]


def test_few_rounds_are_all_shown_and_many_by_rank() -> None:
    latency_s = [5.0, 3.0, 9.0, 4.0, 6.0, 8.0, 7.0]
    rounds = pd.DataFrame({"round": range(1, 8), "latency_s": latency_s})
    assert gantt.representative(rounds.head(2)) == {"Round 1": 1, "Round 2": 2}
    assert gantt.representative(rounds) == {
        "Round 3 (slowest)": 3,
        "Round 5 (median latency)": 5,
        "Round 2 (fastest)": 2,
        "Round 1 (first)": 1,
        "Round 7 (last)": 7,
    }


def test_a_round_of_many_users_has_a_bounded_number_of_rows(tmp_path: Path) -> None:
    panel = gantt.panel(analysis.load(Synthetic(users=60, rounds=1).write(tmp_path)))
    rows = {row for trace in panel.views["Round 0"].data if trace.name != "Critical path" for row in trace.y}
    assert len(rows) == timeline.MAX_USERS
    assert "Only the 40 users" in panel.note
