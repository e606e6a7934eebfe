"""Figures for papers: each kind, its size, and what it draws, by closed forms."""

from pathlib import Path
from typing import get_args

import matplotlib as mpl
import numpy as np
import pytest
from made_up_sweep import MadeUp, write_sweep
from matplotlib.figure import Figure
from synthetic_run import Synthetic

import analysis
from analysis import plots, sweep_plots
from analysis.comparison.arms import arms
from analysis.comparison.outcomes import Goal
from analysis.figures import KINDS, Choice, draw, save
from netsim.tables import EvaluationRow
from scenarios.cli_results import Kind

ARMS = {"slow": {1: MadeUp(4.0), 2: MadeUp(2.0)}, "fast": {1: MadeUp(1.0, energy_j=9.0)}, "both": {1: MadeUp(5.0)}}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep(tmp_path_factory.mktemp("studies") / "sweep", ARMS)


def test_the_command_line_knows_all_kinds() -> None:
    assert list(get_args(Kind)) == list(KINDS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("pass-time", "metric-over-snr")])
def test_every_kind_is_drawn_of_a_run_and_saved(kind: str, run_dir: Path, tmp_path: Path) -> None:
    figure = draw([run_dir], kind, Choice(Goal(target=0.5)))
    assert figure.get_figwidth() == 3.5
    for name in ("figure.pdf", "figure.svg", "figure.png"):
        save(figure, tmp_path / "new" / name)
        assert (tmp_path / "new" / name).stat().st_size > 1000
    assert (tmp_path / "new" / "figure.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("name", ["figure.pdf", "figure.svg"])
def test_equal_runs_give_equal_files(name: str, run_dir: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        save(draw([run_dir], "metric-over-time"), tmp_path / folder / name)
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_two_columns_are_as_wide_as_a_page_and_settings_are_left_alone(run_dir: Path) -> None:
    before = mpl.rcParams["font.size"]
    assert draw([run_dir], "round-time", columns=2).get_figwidth() == 7.16
    assert mpl.rcParams["font.size"] == before


def test_the_title_of_an_axis_is_whole_beside_long_labels(tmp_path: Path) -> None:
    long = {"Half of all of the tokens over chosen shares of it": {1: MadeUp(4.0)}, "b": {1: MadeUp(1.0)}}
    figure = draw([write_sweep(tmp_path / "sweep", long)], "last-metric")
    save(figure, tmp_path / "figure.png")
    (axes,) = figure.axes
    title, labels = axes.xaxis.label.get_window_extent(), axes.get_tightbbox()
    assert labels is not None
    assert max(title.x1, labels.x1) <= figure.bbox.x1
    assert min(title.x0, labels.x0) >= figure.bbox.x0


def test_curves_of_a_sweep_have_a_band_for_each_setting(sweep: Path) -> None:
    (axes,) = draw([sweep], "metric-over-time").axes
    assert [line.get_label() for line in axes.lines] == list(ARMS)
    assert len(axes.collections) == len(ARMS)


def test_dots_of_last_values_are_means_over_seeds_with_their_range(sweep: Path) -> None:
    (axes,) = draw([sweep], "last-metric").axes
    ranges, dots = axes.lines[::2], axes.lines[1::2]
    for label, line, dot in zip(ARMS, ranges, dots, strict=True):
        last = _last_values(sweep, label)
        np.testing.assert_allclose(line.get_xdata(), [min(last), max(last)])
        np.testing.assert_allclose(dot.get_xdata(), np.mean(last))
        assert list(dot.get_ydata()) == [label]


def _last_values(sweep: Path, label: str) -> list[float]:
    found, _ = arms([sweep])
    runs = next(arm for arm in found if arm.label == label).runs.values()
    return [run.evaluations.query("metric == 'accuracy' and split == 'test'")["value"].iloc[-1] for run in runs]


def test_settings_can_be_chosen_by_label_and_in_an_order(sweep: Path) -> None:
    (axes,) = draw([sweep], "metric-over-time", Choice(arms=("both", "slow"))).axes
    assert [line.get_label() for line in axes.lines] == ["both", "slow"]
    with pytest.raises(analysis.NothingToDraw, match="no setting 'slo' to draw; there are slow, fast, both"):
        draw([sweep], "metric-over-time", Choice(arms=("slo",)))


def test_the_last_value_is_drawn_over_the_ratio_of_the_test_channel(tmp_path: Path) -> None:
    """Ratios are in the order of numbers, -6, 0 and 12, and not of their names; the plain split is left out."""
    run = Synthetic()
    for round_, gain in ((0, 0.0), (1, 0.1)):
        for snr_db, value in ((12, 0.8), (-6, 0.3), (0, 0.5)):
            run.rows["evaluations"].append(
                EvaluationRow(round_, 1.0 + round_, f"test_{snr_db}_db", "accuracy", value + gain, 360)
            )
    (axes,) = draw([run.write(tmp_path / "run")], "metric-over-snr").axes
    (line,) = axes.lines
    np.testing.assert_allclose(line.get_xydata(), [[-6, 0.4], [0, 0.6], [12, 0.9]])


def test_answers_count_alike_in_whatever_period_they_were_given(tmp_path: Path) -> None:
    """A last period with a single answer does not speak for all of the run."""
    run = Synthetic()
    for round_, value, samples in ((0, 0.5, 30), (1, 1.0, 10)):
        run.rows["evaluations"].append(EvaluationRow(round_, 1.0 + round_, "answers", "accuracy", value, samples))
    (axes,) = draw([run.write(tmp_path / "run")], "last-metric", Choice(Goal(split="answers"))).axes
    np.testing.assert_allclose(axes.lines[1].get_xdata(), [0.625])
    assert axes.get_xlabel() == "Mean accuracy, answers"


def test_without_given_ratios_there_is_nothing_to_draw_over_them(run_dir: Path) -> None:
    with pytest.raises(analysis.NothingToDraw, match="no scheme had `test_snr_db`"):
        draw([run_dir], "metric-over-snr")


def test_a_run_that_has_not_ended_is_drawn_alone(tmp_path: Path) -> None:
    path = Synthetic(status="interrupted").write(tmp_path / "run")
    assert draw([path], "round-time").axes
    with pytest.raises(analysis.NothingToDraw, match=r"no complete run is left; .*: it is interrupted, not complete"):
        draw([path, path], "round-time")


def test_the_front_is_what_nothing_beats_in_both() -> None:
    points = [(3.0, 1.0), (1.0, 5.0), (2.0, 5.0), (2.0, 2.0), (3.0, 0.5), (4.0, 0.5)]
    assert sweep_plots.front(points) == [(1.0, 5.0), (2.0, 2.0), (3.0, 0.5)]


def test_dots_of_a_pareto_figure_are_means_over_seeds(sweep: Path) -> None:
    """At the second of three rounds accuracy is 0.8; a round of `slow` takes 4 or 2 s, and 2 J."""
    found, _ = arms([sweep])
    axes = sweep_plots.pareto(found, Goal(target=0.8)).axes[0]
    *dots, line = axes.lines
    assert [dot.get_xydata().tolist() for dot in dots] == [[[6.0, 4.0]], [[2.0, 18.0]], [[10.0, 4.0]]]
    assert line.get_xydata().tolist() == [[2.0, 18.0], [6.0, 4.0]]


def test_a_setting_of_which_a_seed_misses_the_target_has_no_dot(tmp_path: Path) -> None:
    missed = {"a": {1: MadeUp(), 2: MadeUp(accuracies=(0.5,))}, "b": {1: MadeUp()}}
    found, _ = arms([write_sweep(tmp_path / "sweep", missed)])
    assert sweep_plots.pareto(found, Goal()).axes[0].lines[0].get_label() == "b"
    with pytest.raises(analysis.NothingToDraw, match="no setting reaches 95% accuracy with all of its seeds"):
        sweep_plots.pareto(found, Goal(target=0.95))


def test_a_distribution_function_rises_to_one_at_the_largest_value(run_dir: Path) -> None:
    """Uplink: 1 Mbit in 2 s twice for each user and round, 4 Mbit in 1 s once."""
    (line,) = plots.goodput(analysis.load(run_dir)).axes[0].lines
    x, shares = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert (x[0], shares[0]) == (0.5, 0.0)
    assert shares[x == 0.5].max() == pytest.approx(2 / 3)
    assert (x[-1], shares[-1]) == (4.0, 1.0)


def test_latency_is_that_of_rounds_where_there_are_no_requests(run_dir: Path) -> None:
    (axes,) = plots.latency(analysis.load(run_dir)).axes
    assert axes.get_xlabel() == "Latency of rounds (s)"
    assert axes.lines[0].get_xdata().tolist() == [33.5] * 3


def test_shares_of_staleness_add_up_to_one(tmp_path: Path) -> None:
    late = Synthetic(rounds=4).write(tmp_path / "run")
    run = analysis.load(late)
    run.rounds = run.rounds.assign(staleness_mean=[0.0, 2.0, 2.4, 2.0])
    (patch,) = plots.staleness(run).axes[0].patches
    assert patch.get_data().values.tolist() == [0.25, 0.0, 0.75]


def test_a_timeline_has_a_row_for_each_user_and_the_server(run_dir: Path) -> None:
    (axes,) = plots.gantt(analysis.load(run_dir), 1).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Server", "User 0", "User 1", "User 2"]
    ends = [bar.get_x() + bar.get_width() for bars in axes.containers for bar in bars]
    assert max(ends) == pytest.approx(33.5)
    assert min(bar.get_x() for bars in axes.containers for bar in bars) == 0.0
    path = axes.collections[0].get_segments()
    assert sum(end[0] - start[0] for start, end in path) == pytest.approx(33.5)


def test_the_slowest_round_is_drawn_unless_another_is_named(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    run.rounds = run.rounds.assign(latency_s=[1.0, 2.0])
    assert "round 1" in plots.gantt(run).axes[0].get_xlabel()
    with pytest.raises(analysis.NothingToDraw, match="the rounds are 0 to 1"):
        plots.gantt(run, 2)


@pytest.mark.parametrize("function", [plots.gantt, plots.round_time, plots.learning_curves, plots.goodput])
def test_given_axes_are_drawn_on(function, run_dir: Path) -> None:
    figure = Figure()
    axes = figure.subplots(1, 2)[1]
    assert function(analysis.load(run_dir), ax=axes) is figure
    assert axes.has_data()
    assert not figure.axes[0].has_data()


def test_a_notebook_shows_a_figure(run_dir: Path) -> None:
    assert plots.round_time(analysis.load(run_dir))._repr_png_().startswith(b"\x89PNG")


def test_a_format_that_there_is_not_is_named(run_dir: Path, tmp_path: Path) -> None:
    figure = draw([run_dir], "round-time")
    with pytest.raises(analysis.NothingToDraw, match=r"figure.docx: figures cannot be written as .docx; .* \.pdf, "):
        save(figure, tmp_path / "figure.docx")


def test_runs_sweeps_and_comparisons_are_short_and_have_a_table_in_notebooks(run_dir: Path, sweep: Path) -> None:
    run, study = analysis.load(run_dir), analysis.load_sweep(sweep)
    compared = analysis.compare([study])
    for each in (run, study, compared):
        assert len(repr(each)) < 200
    assert "synthetic: complete" in run._repr_html_()
    assert "4 complete" in study._repr_html_()
    assert compared._repr_html_().startswith("<pre>")
    run.info["status"] = "<b>"
    assert "&lt;b&gt;" in run._repr_html_()
