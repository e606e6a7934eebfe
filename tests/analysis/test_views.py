"""Views and one-line answers, by the closed form of the synthetic run and by small tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_run import MODEL_BITS, Synthetic

import analysis
from analysis import measures, views
from learning.protocols.asynchronous import NAME_BITS, version_name
from netsim.tables import TABLES


def test_views_are_attributes_made_once(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    assert run.activities is run.activities
    assert {*views.VIEWS} <= {*dir(run)}
    assert not {*views.VIEWS} & {*run.tables}


def test_activities_have_the_transfers_and_jobs_in_the_order_of_their_beginning(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    rows = run.activities
    assert len(rows) == len(run.transfers) + len(run.computations)
    assert rows["start_s"].is_monotonic_increasing
    own = rows[(rows["user"] == 1) & (rows["start_s"] < 13.5)]
    assert own[["node", "kind", "cause", "start_s", "end_s", "wait_s", "service_s"]].to_numpy().tolist() == [
        ["station 0", "model", "airtime", 0.0, 2.0, 0.0, 2.0],
        ["user 1", "client_forward", "compute", 2.0, 4.0, 0.0, 2.0],
        ["station 0", "activation", "airtime", 4.0, 6.0, 0.0, 2.0],
        ["server", "server_step", "compute", 6.0, 7.5, 0.5, 1.0],
        ["station 0", "gradient", "airtime", 7.5, 8.5, 0.0, 1.0],
        ["user 1", "client_backward", "compute", 8.5, 13.5, 0.0, 5.0],
    ]
    assert own["direction"].astype(object).fillna("").tolist() == ["down", "", "up", "", "down", ""]
    assert rows["energy_j"].isna().sum() == len(run.computations)  # which have no energy model here


def test_straggling_is_what_exceeds_the_time_at_nominal_speed(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    jobs = run.computations.assign(slowdown=np.where(run.computations["kind"] == "server_step", 4.0, 0.5))
    rows = views.activities(run.transfers, jobs)
    assert rows.groupby("kind", observed=True)["straggle_s"].max().to_dict() == {
        "activation": 0.0,
        "aggregation": 0.0,  # faster than at nominal speed
        "client_backward": 0.0,
        "client_forward": 0.0,
        "gradient": 0.0,
        "model": 0.0,
        "server_step": 0.75,
    }


def test_what_lost_bits_or_was_abandoned_is_interrupted(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    lost = run.transfers.assign(lost=np.where(run.transfers["direction"] == "up", 1.0, 0.0))
    cut = run.computations.assign(interrupted=run.computations["node"] == "server")
    rows = views.activities(lost, cut)
    expected = (rows["direction"] == "up") | (rows["node"] == "server")
    assert rows["interrupted"].tolist() == expected.tolist()


def test_goodput_counts_waiting_and_what_was_lost(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    first = run.goodput.iloc[0]
    assert first[["delivered_bits", "goodput_bps", "mean_rate_bps"]].tolist() == [MODEL_BITS, 2e6, 2e6]
    waited = views.goodput(run.transfers.assign(start_s=run.transfers["start_s"] - 2, lost=MODEL_BITS / 4)).iloc[0]
    assert waited[["delivered_bits", "goodput_bps"]].tolist() == [0.75 * MODEL_BITS, 0.75 * MODEL_BITS / 4]
    assert views.goodput(run.transfers.assign(end_s=run.transfers["start_s"]))["goodput_bps"].isna().all()


def test_versions_are_text_that_names_them_exactly() -> None:
    names = [0, version_name(0, [(1, 2, 0)]), 2**NAME_BITS - 1]
    decisions = pd.DataFrame(
        {
            "round": [0, 1, 1, 2],
            "user": [4, 4, 4, 5],
            "name": ["weights_downloaded", "cut", "weights_used", "weights_downloaded"],
            "value": [float(names[0]), 3.0, float(names[1]), float(names[2])],
        }
    )
    rows = views.model_versions(decisions)
    assert rows["event"].tolist() == ["downloaded", "used", "downloaded"]
    assert rows["user"].tolist() == [4, 4, 5]
    assert [int(version, 16) for version in rows["version"]] == names
    assert {len(version) for version in rows["version"]} == {views.VERSION_DIGITS}
    assert views.model_versions(decisions.iloc[1:2]).empty


def test_units_are_those_of_the_tables(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    for name, schema in TABLES.items():
        units = {field.name: field.metadata[b"unit"].decode() for field in schema}
        assert getattr(run, name).attrs["units"] == units
    assert run.activities.attrs["units"]["service_s"] == "s"
    assert run.goodput.attrs["units"] == {
        **run.transfers.attrs["units"],
        "delivered_bits": "bit",
        "goodput_bps": "bit/s",
    }


def test_texts_of_few_values_are_categories(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    for frame in (run.transfers, run.computations, run.critical_path, run.activities):
        for name in {"direction", "kind", "node", "node_kind", "cause"} & {*frame}:
            assert isinstance(frame[name].dtype, pd.CategoricalDtype)


def test_the_value_within_a_budget_is_the_latest_one(run_dir: Path) -> None:
    """Two rounds of 33.5 s and 108 J end with accuracies 0.5 and 0.75."""
    run = analysis.load(run_dir)
    spent_j = run.rounds["energy_j"].tolist()
    assert run.value_at("accuracy", energy_j=spent_j[0]) == 0.5
    assert run.value_at("accuracy", energy_j=0.99 * spent_j[0]) is None
    assert run.value_at("accuracy", energy_j=sum(spent_j)) == 0.75
    assert run.value_at("loss", time_s=66.9) == 0.5
    bits = 3 * (4e6 + 2 * 1e6) + 4e6 + 3 * 2 * 8e5
    assert run.value_at("accuracy", bits=2 * bits) == 0.75
    assert run.value_at("accuracy", bits=2 * bits, time_s=33.5) == 0.5  # both limits hold
    assert run.value_at("accuracy") == 0.75
    with pytest.raises(analysis.NotRecorded):
        run.value_at("f1", time_s=1.0)


def test_what_is_spent_before_the_first_round_ends_is_nothing() -> None:
    rounds = pd.DataFrame({"end_s": [2.0, 4.0], "energy_j": [1.0, 2.0], "uplink_bits": 5.0, "downlink_bits": 1.0})
    spent = measures.with_spending(pd.DataFrame({"time_s": [0.0, 2.0, 3.9, 4.0]}), rounds)
    assert spent["energy_j"].tolist() == [0.0, 1.0, 1.0, 3.0]
    assert spent["bits"].tolist() == [0.0, 6.0, 6.0, 12.0]


def test_a_dry_run_has_no_value_at_any_cost(tmp_path: Path) -> None:
    assert analysis.load(Synthetic(values=False).write(tmp_path)).value_at("accuracy", time_s=1e9) is None


def test_the_queue_of_the_server_grows_and_shrinks_with_its_waits(run_dir: Path) -> None:
    """User k waits 0.5 k s for each of its steps: user 1 from 6 s on, user 2 from 7 s on."""
    length = analysis.load(run_dir).queue_length("server")
    assert length.loc[:8.0].to_dict() == {0.0: 0, 6.0: 1, 6.5: 0, 7.0: 1, 8.0: 0}
    assert length.index.name == "time_s"
    assert length.iloc[-1] == 0


def test_jobs_that_wait_at_once_are_counted_together() -> None:
    rows = pd.DataFrame({"node": "server", "start_s": [1.0, 1.0, 2.0, 3.0], "wait_s": [2.0, 4.0, 1.0, 0.0]})
    assert measures.queue_length(rows, "server").to_dict() == {0.0: 0, 1.0: 2, 2.0: 3, 3.0: 1, 5.0: 0}


def test_users_at_work_have_an_activity_under_way_or_waiting() -> None:
    """User 0 from 1 to 4 s in two that overlap, and from 6 to 7 s; user 1 from 2 to 6 s in two that adjoin."""
    spans = [(0, 1.0, 4.0), (0, 2.0, 3.0), (0, 6.0, 7.0), (1, 2.0, 3.0), (1, 3.0, 6.0), (None, 0.0, 9.0)]
    rows = pd.DataFrame(spans, columns=["user", "start_s", "end_s"]).astype({"user": "Int64"})
    length = measures.users_at_work(rows.sample(frac=1, random_state=1))
    assert length.to_dict() == {0.0: 0, 1.0: 1, 2.0: 2, 4.0: 1, 6.0: 1, 7.0: 0}


def test_a_node_that_there_is_not_is_named_with_those_there_are(run_dir: Path) -> None:
    with pytest.raises(
        analysis.NotRecorded, match=r"no activity at a node 'sever'; the nodes are: server, station 0, u"
    ):
        analysis.load(run_dir).queue_length("sever")
