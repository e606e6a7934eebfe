"""The report: one file that needs nothing else, of runs of every shape and state."""

import json
import re
from html import escape
from pathlib import Path

import pytest
import yaml
from synthetic_run import SCENARIO, Synthetic, write_part

from analysis import report
from netsim.tables import TABLES, CriticalPathRow, DecisionRow, TransferRow


def views(html: str) -> dict[str, list[dict]]:
    """The pictures in a report, by panel."""
    return json.loads(re.search(r'<script type="application/json" id="views">(.*?)</script>', html, re.S)[1])


def without_plotly(html: str) -> str:
    return re.sub(r"<script>.*?</script>", "", html, flags=re.S)


def test_one_file_that_loads_nothing(run_dir: Path, tmp_path: Path) -> None:
    out = report.write(run_dir, tmp_path / "new" / "report.html")
    html = out.read_text("utf-8")
    assert not re.search(r"""(src|href)\s*=|url\(|@import""", without_plotly(html))
    assert html.count("plotly.js v") == 1
    assert html.count('class="plot"') == len(views(html)) == 7


def test_it_lies_in_the_run_directory_unless_told_otherwise(tmp_path: Path) -> None:
    path = Synthetic(rounds=1).write(tmp_path / "run")
    assert report.write(path) == path / "report.html"
    assert (path / "report.html").is_file()


def test_headline_numbers_are_those_of_the_closed_form(run_dir: Path, tmp_path: Path) -> None:
    html = report.write(run_dir, tmp_path / "report.html").read_text("utf-8")
    values = re.findall(r'<div class="label">(.*?)</div><div class="value">(.*?)</div>', html)
    assert values == [
        ("Test accuracy", "75.0%"),
        ("Simulated time", "67.0 s"),
        ("Round latency", "33.5 s"),
        ("Energy", "216 J"),
        ("Uplink", "36.0 Mbit"),
        ("Downlink", "17.6 Mbit"),
        ("Participants", "3.00"),
    ]


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", "<b>& $name"])
def test_names_are_shown_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(SCENARIO, "name", name)
    run = Synthetic(rounds=1)
    run.rows["transfers"].append(TransferRow(1, 0, "s", "up", name, 1.0, 0.0, 1.0, 0.0, 1.0, 1, 0.0, 0.0, 1.0, 1.0, 1))
    path = run.write(tmp_path)
    (path / "run.json").write_text(json.dumps({"name": name, "status": name}))
    html = report.write(path).read_text("utf-8")
    assert name not in html
    assert len(views(html)) == 7


def test_a_dry_run_says_that_it_has_no_values(tmp_path: Path) -> None:
    html = report.write(Synthetic(values=False).write(tmp_path)).read_text("utf-8")
    assert "This run has no values" in html
    assert "Test accuracy" not in html
    assert "learning" not in views(html)


def test_a_run_without_an_evaluations_table_is_like_a_dry_one(tmp_path: Path) -> None:
    path = Synthetic().write(tmp_path)
    (path / "traces" / "evaluations" / "part-000000.parquet").unlink()
    assert "This run has no values" in report.write(path).read_text("utf-8")


@pytest.mark.parametrize("written", [True, False])
def test_a_run_that_died_in_its_first_round_says_so(tmp_path: Path, written: bool) -> None:
    path = Synthetic(rounds=0, status="running").write(tmp_path)
    if not written:
        for name in TABLES:
            (path / "traces" / name / "part-000000.parquet").unlink()
    html = report.write(path).read_text("utf-8")
    assert "No round of this run has ended." in html
    assert views(html) == {}


def test_a_round_that_has_not_reached_every_table_waits(tmp_path: Path) -> None:
    """After kill -9 some tables may lack the rows that were still pending."""
    path = Synthetic(status="running").write(tmp_path)
    write_part(path, "critical_path", [])
    assert "No round of this run has ended." in report.write(path).read_text("utf-8")


def test_an_empty_table_of_jobs_is_no_hindrance(tmp_path: Path) -> None:
    path = Synthetic(rounds=1).write(tmp_path)
    write_part(path, "computations", [])
    assert len(views(report.write(path).read_text("utf-8"))) == 7


def test_rounds_of_the_server_alone(tmp_path: Path) -> None:
    """As in centralised training under a timer: nothing is sent, no user works, and part of the path is waiting."""
    run = Synthetic(rounds=1, users=1)
    path = run.write(tmp_path)
    write_part(path, "transfers", [])
    write_part(path, "computations", [row for row in run.rows["computations"] if row.user is None])
    waiting = CriticalPathRow(0, 0, None, None, None, "wait", 0.0, 19.0, 19.0)
    write_part(path, "critical_path", [waiting, run.rows["critical_path"][-1]])
    html = report.write(path).read_text("utf-8")
    assert "Nothing was sent." in html
    assert escape("No user's work was on a critical path.") in html
    bars = views(html)["time-of-all-rounds"][0]["data"]
    assert [bar["y"] for bar in bars] == [["Aggregation", "Nothing"]] * 2
    assert "waiting 97.4%, compute 2.6%" in html


def test_an_unfinished_round_is_left_out(tmp_path: Path) -> None:
    run = Synthetic(rounds=1, status="interrupted")
    run.rows["transfers"].append(
        TransferRow(2, 0, "s", "up", "model", 1.0, 40.0, 50.0, 0.0, 10.0, 1, 0.5, 0.0, 1.0, 1.0, 1)
    )
    html = report.write(run.write(tmp_path)).read_text("utf-8")
    assert '<span class="status">interrupted</span>' in html
    assert len(views(html)["round-timeline"]) == 1


def test_long_runs_are_averaged_and_say_so(tmp_path: Path) -> None:
    path = Synthetic(users=1, rounds=500, steps=1).write(tmp_path)
    out = report.write(path)
    html = out.read_text("utf-8")
    assert "Each bar is the mean of 3 consecutive rounds." in html
    assert "4 of 500 rounds can be selected." in html
    assert out.stat().st_size < 8e6


def test_a_run_of_one_user_and_one_round_has_every_picture(tmp_path: Path) -> None:
    html = report.write(Synthetic(users=1, rounds=1).write(tmp_path)).read_text("utf-8")
    assert len(views(html)) == 7
    assert "mean of 1 user;" in html


def test_parts_written_meanwhile_show_in_the_next_report(tmp_path: Path) -> None:
    path = Synthetic(status="running").write(tmp_path)
    report.write(path)
    later = (3, 100.0, "test", "accuracy", 0.9, 360, None)
    write_part(path, "evaluations", [later], "part-000001")
    assert "90.0%" in report.write(path).read_text("utf-8")


def test_the_error_of_a_failed_run_comes_first(tmp_path: Path) -> None:
    path = Synthetic(status="failed").write(tmp_path)
    (path / "run.json").write_text(json.dumps({"name": "a", "status": "failed", "error": "ValueError: <too> small"}))
    first, *others = re.findall(r"<h2>(.*?)</h2>.*?</section>", report.write(path).read_text("utf-8"), re.S)
    assert first == "Error"
    assert "Learning" in others
    assert "<li>ValueError: &lt;too&gt; small</li>" in report.write(path).read_text("utf-8")


def test_a_run_that_did_not_fail_has_no_error(run_dir: Path, tmp_path: Path) -> None:
    assert "<h2>Error</h2>" not in report.write(run_dir, tmp_path / "report.html").read_text("utf-8")


def test_the_header_says_what_was_simulated(tmp_path: Path) -> None:
    path = Synthetic(rounds=1).write(tmp_path)
    learning = {
        "scheme": {"name": "fedavg"},
        "policy": {"name": "deadline", "deadline_s": 2.0},
        "data": {"name": "digits"},
        "partition": {"name": "dirichlet"},
        "model": {"name": "mlp"},
        "executor": "eager",
    }
    (path / "scenario.yaml").write_text(yaml.safe_dump({"network": {"users": {"count": 3}}, "learning": learning}))
    facts = "Scheme fedavg · policy deadline · data digits · partition dirichlet · model mlp · 3 users · eager executor"
    assert f"{facts} · seed 7" in report.write(path).read_text("utf-8")
    learning |= {"towers": {"image": {}, "text": {}}}
    (path / "scenario.yaml").write_text(yaml.safe_dump({"learning": learning}))
    assert "partition dirichlet · towers image, text · eager" in report.write(path).read_text("utf-8")


def test_an_asynchronous_run_shows_staleness_and_users_at_work(tmp_path: Path, run_dir: Path) -> None:
    run = Synthetic()
    run.rows["decisions"] += [DecisionRow(0, user, "weights_downloaded", float(user)) for user in (0, 1, 2)]
    html = report.write(run.write(tmp_path / "run")).read_text("utf-8")
    assert "Users took 3 versions of the server&#x27;s model" in html
    staleness, at_work = views(html)["asynchronous-updates"]
    assert staleness["data"][0]["type"] == "bar"
    assert at_work["data"][0]["type"] == "scatter"
    assert "asynchronous-updates" not in views(report.write(run_dir, tmp_path / "report.html").read_text("utf-8"))
