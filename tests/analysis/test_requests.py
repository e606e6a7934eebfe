"""Requests in reports and measures: outcomes counted, latencies of the served ones alone."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import measures, report
from analysis.report import learning
from analysis.style import quantity
from analysis.totals import total
from learning.schemes.moe_inference import MoeInference
from moe_cells import Cell
from netsim.traffic import PeriodicArrivals
from netsim.values import ConstantPerUser
from scenarios import load, simulate

SCENARIO = """
network: {users: {count: 3}}
compute: {servers: {flops_per_s: 1.0e9, slots: 2, capacity: 3}, edge_servers: {flops_per_s: 1.0e9, slots: 3}}
traffic:
  duration_s: 40
  streams:
    chat: {arrivals: {name: poisson, rate_per_s: 1}, flops: {name: exponential, mean: 1.0e9},
           timeout_s: 1.5, at: central}
    rare: {arrivals: {name: periodic, period_s: 10}, flops: 1.0e9}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> analysis.Run:
    """Requests without learning, of all outcomes but lost."""
    folder = tmp_path_factory.mktemp("requests")
    (folder / "requests.yaml").write_text(SCENARIO)
    simulate(load(folder / "requests.yaml"), folder / "run")
    return analysis.load(folder / "run")


def test_outcomes_and_percentiles() -> None:
    rows = pd.DataFrame(
        {
            "stream": ["a"] * 5 + ["b"],
            "outcome": ["served"] * 3 + ["refused", "timed_out", "lost"],
            "latency_s": [1.0, 2.0, 6.0, 0.0, 9.0, 4.0],
        }
    )
    fared = measures.requests_by(rows, ["stream"])
    assert fared.loc["a", ["requested", "served", "refused", "timed_out", "lost"]].tolist() == [5, 3, 1, 1, 0]
    assert fared.loc["a", ["mean_s", "median_s", "p95_s", "p99_s"]].tolist() == pytest.approx([3.0, 2.0, 5.6, 5.92])
    assert fared.loc["b", "requested"] == 1
    assert np.isnan(fared.loc["b", "mean_s"])


def test_requests_are_grouped_by_any_columns_of_their_table(run: analysis.Run) -> None:
    """Given one by one or as a list, twice, or as the outcome itself; oracle: rows counted one by one."""
    pairs = Counter((row.stream, row.user) for row in run.requests.itertuples())
    for fared in (run.requests_by("stream", "user"), run.requests_by(["stream", "user"], "stream")):
        assert fared["requested"].to_dict() == pairs
    assert run.requests_by(["stream"]).equals(run.requests_by())
    own = run.requests_by("outcome")
    assert own["requested"].to_dict() == Counter(run.requests["outcome"])
    assert own.loc["refused", ["served", "refused"]].tolist() == [0, own.loc["refused", "requested"]]
    with pytest.raises(measures.NotRecorded, match=r"no column 'streams' to group by; the columns are: user, node, "):
        run.requests_by("streams")


def test_totals_of_requests_are_of_those_served(run: analysis.Run) -> None:
    latency_s = [row.latency_s for row in run.requests.itertuples() if row.outcome == "served"]
    assert total(run, "served_share") == len(latency_s) / len(run.requests) < 1
    assert total(run, "request_mean_s") == pytest.approx(sum(latency_s) / len(latency_s))
    slower = sum(each > total(run, "request_p95_s") for each in latency_s)
    assert slower == pytest.approx(len(latency_s) / 20, abs=1)
    assert np.isnan(total(run, "expert_hit_share"))


def test_a_run_of_requests_alone(run: analysis.Run) -> None:
    fared = run.requests_by()
    assert fared["requested"].sum() == len(run.requests)
    assert (fared.loc["chat", ["served", "refused", "timed_out"]] > 0).all()
    busy = run.computations.groupby("node")["service_s"].sum()
    used = run.utilisation().droplevel("node_kind")["utilisation"]
    end_s = run.computations["end_s"].max()
    assert used["server"] == pytest.approx(busy["server"] / 2 / end_s)
    assert used["server0"] == pytest.approx(busy["server0"] / 3 / end_s)
    assert run.energy_by_user()["idle_j"].gt(0).all()


def test_the_report_of_requests_alone(run: analysis.Run, tmp_path: Path) -> None:
    html = report.write(run.path, tmp_path / "report.html").read_text("utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", html) == ["Requests", "Servers", "Energy"]
    assert html.count('class="plot"') == 3
    assert "Timed out" in html
    used = run.utilisation().droplevel("node_kind")["utilisation"]
    assert all(f"<td>{node}</td>" in html and f"<td>{used[node]:.1%}</td>" in html for node in ("server", "server0"))
    assert "No round of this run" not in html


def test_runs_that_answer_requests_are_compared_by_their_answers(tmp_path: Path) -> None:
    """Their periods are no rounds of learning: no cost to a target, and no round latency."""
    cell = Cell(arrivals=PeriodicArrivals(ConstantPerUser(0.5)), duration_s=2.0, learning_s=2.0)
    for name, scheme in {"cloud": MoeInference(), "near": MoeInference(cloud="near")}.items():
        simulate(replace(cell.scenario(scheme), name=name), tmp_path / name)
    found = analysis.compare([tmp_path / "cloud", tmp_path / "near"])
    assert list(found.table.measure.unique()) == ["answer_value", "request_mean_s", "request_p95_s", "served_share"]
    rows = found.table.set_index(["measure", "arm"])
    for name in ("cloud", "near"):
        own = analysis.load(tmp_path / name)
        assert rows["mean"]["request_p95_s", name] == total(own, "request_p95_s")
        assert (len(own.rounds), len(own.critical_path)) == (1, 0)
        assert rows["mean"]["answer_value", name] == pytest.approx(total(own, "answer_accuracy"))
    text = str(found)
    assert "near serves requests" in text
    assert "has no accuracy on test" not in text


def test_the_report_of_answers_shows_how_many_were_right(tmp_path: Path) -> None:
    """By period, and over the whole run; nothing of it where a dry run computed no answers."""
    cell = Cell(arrivals=PeriodicArrivals(ConstantPerUser(0.5)), duration_s=4.0, learning_s=4.0)
    for executor in ("eager", "dry"):
        scenario = cell.scenario(MoeInference(period_s=2.0))
        simulate(replace(scenario, learning=replace(scenario.learning, executor=executor)), tmp_path / executor)
    run = analysis.load(tmp_path / "eager")
    answers = run.evaluations[(run.evaluations["split"] == "answers") & (run.evaluations["metric"] == "accuracy")]
    assert len(answers) == 2
    curves = learning.beside_requests(run)[0].views
    assert list(curves) == ["Accuracy", "Loss"]
    assert [list(trace.y) for trace in curves["Accuracy"].data] == [answers["value"].tolist()] * 2
    assert curves["Accuracy"].data[0].x.tolist() == answers["time_s"].tolist()
    html = report.write(run.path, tmp_path / "report.html").read_text("utf-8")
    share = np.average(answers["value"], weights=answers["samples"])
    assert f'Correct answers</div><div class="value">{share:.1%}<' in html
    assert re.findall(r"<h2>(.*?)</h2>", html)[:2] == ["Answers", "Requests"]
    dry = report.write(tmp_path / "dry", tmp_path / "dry.html").read_text("utf-8")
    assert "Answers</h2>" not in dry
    assert "Correct answers" not in dry


def test_a_report_of_requests_alone_has_headline_numbers_and_users(run: analysis.Run, tmp_path: Path) -> None:
    """Without rounds: time, energy, requests and their latency, and a row of each user."""
    html = report.write(run.path, tmp_path / "report.html").read_text("utf-8")
    values = dict(re.findall(r'<div class="label">(.*?)</div><div class="value">(.*?)</div>', html))
    assert list(values) == ["Simulated time", "Energy", "Requests", "Request latency"]
    assert values["Requests"] == f"{len(run.requests):,}"
    served = run.requests[run.requests["outcome"] == "served"]
    assert values["Request latency"] == quantity(served["latency_s"].mean(), "s")
    (users,) = re.findall(r"<summary>Users</summary>(.*?)</details>", html, re.S)
    assert users.count("<tr>") == 1 + 3
    assert "nan" not in users
