"""Analysis of a run that the simulator really made: laws of conservation seen through the tables, and the report."""

from pathlib import Path

import pytest

import analysis
from analysis import measures, report
from netsim.tables import TABLES
from scenarios import load, simulate

TINY = Path(__file__).parents[1] / "tiny.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> analysis.Run:
    """Two rounds in which the first two of four users are enough."""
    overrides = {"network.users.count": 4, "learning.stop.rounds": 2, "learning.policy": {"name": "first_k", "k": 2}}
    out = tmp_path_factory.mktemp("real")
    simulate(load(TINY, overrides), out=out)
    return analysis.load(out)


def test_two_of_four_users_are_dropped(run: analysis.Run) -> None:
    assert run.participation().to_dict() == {"participants": 2.0, "dropped": 4.0, "dropped_share": 0.5}
    assert run.info["status"] == "complete"
    assert run.scenario["learning"]["scheme"]["name"] == "sfl_v1"


def test_critical_paths_sum_to_the_latencies(run: analysis.Run) -> None:
    assert run.time_by_cause()["duration_s"].sum() == pytest.approx(run.rounds["latency_s"].sum(), rel=1e-9)
    assert run.time_by_user()["duration_s"].sum() == pytest.approx(run.rounds["latency_s"].sum(), rel=1e-9)


def test_users_energies_sum_to_the_rounds(run: analysis.Run) -> None:
    assert run.energy_by_user()["total_j"].sum() == pytest.approx(run.rounds["energy_j"].sum(), rel=1e-9)


def test_delivered_bits_sum_to_the_rounds(run: analysis.Run) -> None:
    bits = measures.bits_by(run.transfers, ["direction"])
    assert bits["up"] == pytest.approx(run.rounds["uplink_bits"].sum(), rel=1e-9)
    assert bits["down"] == pytest.approx(run.rounds["downlink_bits"].sum(), rel=1e-9)


def test_nobody_is_busier_than_time_allows(run: analysis.Run) -> None:
    assert run.utilisation()["utilisation"].between(0, 1).all()


def test_what_the_last_evaluation_reached_was_reached_by_the_end(run: analysis.Run) -> None:
    accuracy = run.evaluations.query("metric == 'accuracy'")["value"]
    reached = run.time_to("accuracy", accuracy.max())
    assert reached in set(run.rounds["end_s"])
    assert run.energy_to("accuracy", accuracy.max()) <= run.rounds["energy_j"].sum()


def test_every_column_is_described(run: analysis.Run) -> None:
    table = run.describe()
    assert set(table["table"]) == set(TABLES)
    assert (table["meaning"] != "").all()
    assert table.drop_duplicates("table").set_index("table")["rows"].to_dict() == {
        name: about["rows"] for name, about in run.info["tables"].items()
    }


def test_the_report_shows_who_was_cut_off(run: analysis.Run, tmp_path: Path) -> None:
    html = report.write(run.path, tmp_path / "report.html").read_text("utf-8")
    assert html.count('class="plot"') == 7
    assert '"shape":["' in html.replace(" ", "")
    assert '"/"' in html
