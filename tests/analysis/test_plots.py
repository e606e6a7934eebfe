"""What the figures for papers draw, and that they can be saved."""

from pathlib import Path

import numpy as np
import pytest
from synthetic_run import Synthetic

import analysis
from analysis import plots


def test_a_curve_goes_through_every_evaluation(run_dir: Path, tmp_path: Path) -> None:
    figure = plots.learning_curves({"ours": analysis.load(run_dir)})
    (line,) = figure.axes[0].lines
    assert line.get_xydata().tolist() == [[33.5, 0.5], [67.0, 0.75]]
    shown = figure.axes[0].get_xlim()
    assert shown[0] == 0
    assert 67.0 < shown[1] < 75.0
    for name in ("figure.pdf", "figure.png"):
        figure.savefig(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000


def test_runs_share_one_unit_of_time(run_dir: Path, tmp_path: Path) -> None:
    longer = analysis.load(Synthetic(rounds=40).write(tmp_path))
    axes = plots.learning_curves({"short": analysis.load(run_dir), "long": longer}, "loss").axes[0]
    assert axes.get_xlabel() == "Simulated time (min)"
    assert [line.get_xdata()[-1] for line in axes.lines] == pytest.approx([67 / 60, 40 * 33.5 / 60])


def test_stacked_causes_sum_to_the_mean_round(run_dir: Path, tmp_path: Path) -> None:
    runs = {"three": analysis.load(run_dir), "one": analysis.load(Synthetic(users=1, rounds=5).write(tmp_path))}
    axes = plots.round_time(runs).axes[0]
    ends = np.array([[bar.get_x() + bar.get_width() for bar in bars] for bars in axes.containers])
    assert ends.max(axis=0) == pytest.approx([33.5, 19.5])
