"""The report of a sweep: its arms side by side in one file."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_sweep import MadeUp, write_sweep
from test_report import views, without_plotly

import analysis
from analysis import report, sweep_plots
from analysis.comparison.arms import arms
from analysis.report.learning import values_on_test
from analysis.seeds import over_seeds

ARMS = {
    "slow": {seed: MadeUp(float(seed)) for seed in range(1, 7)},
    "fast": {seed: MadeUp(0.5 * seed) for seed in range(1, 7)},
}


def accuracies(run: Path) -> pd.DataFrame:
    history = values_on_test(analysis.load(run))
    return history[history["metric"] == "accuracy"]


def test_one_file_that_loads_nothing(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "sweep", ARMS)
    out = report.write(path)
    html = out.read_text("utf-8")
    assert out == path / "report.html"
    assert not re.search(r"""(src|href)\s*=|url\(|@import""", without_plotly(html))
    assert list(views(html)) == ["learning", "cost-of-learning", "final-value-and-latency"]
    assert html.count('class="plot"') == 3
    assert re.findall(r'<div class="value">(.*?)</div>', html) == ["2", "6", "12", "90% accuracy"]
    assert "<li>fast reaches 90% accuracy 50.0% sooner than slow (95% CI 50.0 to 50.0%, 6 paired seeds).</li>" in html
    assert "<td>5.25\n-50.0%\n-50.0 to -50.0%</td>" in html  # 3 rounds of 3.5 s, halved


def test_dots_stand_at_means_and_seeds(tmp_path: Path) -> None:
    html = report.write(write_sweep(tmp_path / "sweep", ARMS)).read_text("utf-8")
    seeds, mean, *_ = views(html)["cost-of-learning"][0]["data"]
    assert seeds["customdata"] == [1, 2, 3, 4, 5, 6] or "bdata" in seeds["customdata"]
    assert mean["x"] == [pytest.approx(10.5)]
    row = analysis.compare([tmp_path / "sweep"], target=0.9).rows[0]
    assert mean["error_x"]["array"] == [pytest.approx(row.mean_high - row.mean)]


def test_curves_last_as_long_as_all_seeds(tmp_path: Path) -> None:
    """Two seeds evaluated at 1, 2, 3 and at 2, 4, 6 s: from 2 to 3 s both have a value, 0.8 and 0.5 at 2 s."""
    runs = [MadeUp(float(seed)).write(tmp_path / str(seed), seed) for seed in (1, 2)]
    curve = over_seeds([accuracies(run) for run in runs])
    assert (curve.index[0], curve.index[-1]) == (2.0, 3.0)
    assert curve.iloc[0].to_dict() == pytest.approx({"mean": 0.65, "min": 0.5, "max": 0.8})
    assert curve.iloc[-1].to_dict() == pytest.approx({"mean": 0.775, "min": 0.65, "max": 0.9})


@pytest.mark.parametrize("along", sweep_plots.ALONG)
def test_pictures_show_their_curves_to_the_end(along: str, tmp_path: Path) -> None:
    found, _ = arms([analysis.load_sweep(write_sweep(tmp_path / "sweep", {"a": {1: MadeUp(1.0), 2: MadeUp(1.5)}}))])
    (axes,) = sweep_plots.curves(found, "accuracy", along).axes
    (line,) = axes.lines
    first, last = axes.get_xlim()
    ends = np.asarray(line.get_xdata())
    assert first <= ends.min() <= ends.max() < last < 1.1 * ends.max()


def test_seeds_that_never_overlap_have_no_curve(tmp_path: Path) -> None:
    runs = [MadeUp(latency).write(tmp_path / str(latency), 1) for latency in (1.0, 10.0)]
    assert over_seeds([accuracies(run) for run in runs]).empty
    html = report.write(write_sweep(tmp_path / "sweep", {"a": {1: MadeUp(1.0), 2: MadeUp(10.0)}})).read_text("utf-8")
    assert views(html)["learning"][0]["data"] == []


def test_a_single_arm_has_a_page_without_differences(tmp_path: Path) -> None:
    html = report.write(write_sweep(tmp_path / "sweep", {"alone": {1: MadeUp()}})).read_text("utf-8")
    assert len(views(html)) == 3
    assert "<li>" not in html


def test_dry_runs_have_their_pace(tmp_path: Path) -> None:
    arm = {seed: MadeUp(accuracies=(None, None)) for seed in (1, 2)}
    html = report.write(write_sweep(tmp_path / "sweep", {"a": arm, "b": arm})).read_text("utf-8")
    assert list(views(html)) == ["final-value-and-latency"]
    assert "These runs have no values." in html


def test_a_sweep_without_a_complete_point_says_so(tmp_path: Path) -> None:
    html = report.write(write_sweep(tmp_path / "sweep", {}, broken={("a", 1): "no <power>"})).read_text("utf-8")
    assert "Nothing to show yet" in html
    assert "a, seed 1 (failed: no &lt;power&gt;)" in html
    assert "<power>" not in html
    assert views(html) == {}


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", "<b>& $name"])
def test_labels_are_shown_not_run(tmp_path: Path, name: str) -> None:
    path = write_sweep(tmp_path / "sweep", {"a": {1: MadeUp()}, "b": {1: MadeUp()}})
    info = json.loads((path / "sweep.json").read_text())
    info["name"] = info["points"][0]["label"] = name
    (path / "sweep.json").write_text(json.dumps(info))
    assert name not in report.write(path).read_text("utf-8")


def test_many_arms_are_shaded_in_their_order(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep", {str(arm): {1: MadeUp()} for arm in range(12)})
    lines = views(report.write(sweep).read_text("utf-8"))["learning"][0]["data"][1::2]
    assert len({line["line"]["color"] for line in lines}) == 12
    assert np.all([line["name"] == str(arm) for arm, line in enumerate(lines)])


def test_a_report_and_a_comparison_have_one_default_target(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "sweep", ARMS)
    assert f">{analysis.compare([path]).goal}<" in report.write(path).read_text("utf-8")
