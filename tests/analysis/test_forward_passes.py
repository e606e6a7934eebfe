"""Forward passes in measures and reports: means of parts that tile the passes, prefill apart from decode."""

import matplotlib as mpl
import pandas as pd
import pytest

from analysis import measures, plots
from analysis.figures import SMALL, WIDTHS_IN
from analysis.report import passes

CALLS = pd.DataFrame({"node": ["edge", "cloud", "edge", "edge"], "hit": [True, False, True, True]})
PASSES = pd.DataFrame(
    [
        ("chat", 0, 8, 4.0, 2.0, 0.0, 1.0, 2.0, 1.0),
        ("chat", 8, 1, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25),
        ("chat", 9, 1, 2.0, 0.5, 1.5, 0.5, 0.25, 0.25),
        ("maps", 0, 16, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    ],
    columns=["stream", "position", "tokens", *measures.PASS_PARTS],
)


def test_parts_are_means_of_a_phase_and_sum_to_the_time_of_a_pass() -> None:
    time = measures.pass_time_by(measures.with_phase(PASSES), ["stream", "phase"])
    assert list(time.index) == [("chat", "decode"), ("chat", "prefill"), ("maps", "prefill")]
    decode = time.loc["chat", "decode"]
    assert decode[["passes", "tokens", "mean_s", "trunk_s", "queue_s"]].tolist() == [2, 2, 4.0, 1.5, 1.0]
    assert decode["p95_s"] == pytest.approx(3.0 + 0.95 * 2.0)
    assert time.loc["chat", "prefill"][["passes", "tokens", "mean_s", "uplink_s"]].tolist() == [1, 8, 10.0, 2.0]
    assert time[measures.PASS_PARTS].sum(axis="columns").tolist() == pytest.approx(time["mean_s"].tolist())


def test_the_panel_shows_every_phase_and_the_hits() -> None:
    panel = passes.panel(PASSES, CALLS)
    bars = {bar.name: bar for bar in panel.views[""].data}
    assert list(bars["Uplink"].y) == ["decode of chat", "prefill of chat", "prefill of maps"]
    assert list(bars["Uplink"].x) == [0.5, 2.0, 0.0]
    assert panel.table is not None
    assert panel.table["Tokens"].tolist() == ["2", "8", "16"]
    assert list(panel.lines) == ["75.0% of 4 calls of experts were hits.", "Calls by site: edge 75.0%, cloud 25.0%."]


def test_without_calls_there_are_no_hits() -> None:
    assert passes.panel(PASSES, CALLS[:0]).lines == []


class Passes:
    """A run, as far as plots of passes need it."""

    def pass_time_by(self, *columns: str) -> pd.DataFrame:
        return measures.pass_time_by(measures.with_phase(PASSES), list(columns))


def test_the_legend_fits_into_one_column_of_a_journal() -> None:
    with mpl.rc_context(SMALL):
        figure = plots.pass_time({"moe_serving": Passes()})  # type: ignore[dict-item]
        figure.set_size_inches(WIDTHS_IN[1], figure.get_figheight())
        figure.canvas.draw()
    (legend,) = figure.legends
    drawn = legend.get_window_extent()
    assert drawn.x0 >= 0
    assert drawn.x1 <= figure.bbox.x1


def test_the_plot_stacks_the_parts_of_a_phase() -> None:
    axes = plots.pass_time({"a": Passes(), "b": Passes()}).axes[0]  # type: ignore[dict-item]
    assert axes.get_xlabel() == "Mean time of a decode pass (s)"
    assert [bars.get_label() for bars in axes.containers][:2] == ["Trunk on the device", "Uplink"]
    assert [bar.get_width() for bar in axes.containers[0]] == [1.5, 1.5]
    last = axes.containers[-1][1]
    assert last.get_x() + last.get_width() == pytest.approx(4.0)
