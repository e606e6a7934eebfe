"""Runs whose files are damaged, lost, or of another version: one sentence each, and what can be read is read."""

import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic_run import Synthetic

import analysis
from analysis import report
from analysis.columns import IS_OF, READ
from netsim.tables import TABLES

Damage = Callable[[Path], object]

REFUSALS = (analysis.NotARun, analysis.NotComparable, analysis.NotRecorded, analysis.NoSuchTable)


def part(run: Path, table: str) -> Path:
    return next((run / "traces" / table).glob("*.parquet"))


def without(table: str, column: str) -> Damage:
    def damage(run: Path) -> None:
        pq.write_table(pq.read_table(part(run, table), partitioning=None).drop_columns([column]), part(run, table))

    return damage


def with_text(table: str, column: str) -> Damage:
    def damage(run: Path) -> None:
        content = pq.read_table(part(run, table), partitioning=None)
        words = pa.array(["x"] * len(content))
        pq.write_table(content.set_column(content.schema.get_field_index(column), column, words), part(run, table))

    return damage


def overwritten(table: str, content: bytes) -> Damage:
    return lambda run: part(run, table).write_bytes(content)


def cut_short(table: str) -> Damage:
    return lambda run: part(run, table).write_bytes(part(run, table).read_bytes()[:200])


def zeroed(table: str) -> Damage:
    def damage(run: Path) -> None:
        content = part(run, table).read_bytes()
        part(run, table).write_bytes(content[:40] + bytes(100) + content[140:])

    return damage


def file(name: str, content: bytes) -> Damage:
    return lambda run: (run / name).write_bytes(content)


def folder_instead(name: str) -> Damage:
    return lambda run: ((run / name).unlink(), (run / name).mkdir())


def foreign_part(run: Path) -> None:
    shutil.copy(part(run, "users"), run / "traces" / "rounds" / "part-9.parquet")


def junk_table(run: Path) -> None:
    (run / "traces" / "junk").mkdir()
    (run / "traces" / "junk" / "a.parquet").write_bytes(b"x")


OF_TABLES: dict[str, Damage] = {
    "cut short": cut_short("transfers"),
    "empty file": overwritten("rounds", b""),
    "noise": overwritten("computations", b"PAR1" + bytes(range(256)) + b"PAR1"),
    "zeroed bytes": zeroed("transfers"),
    "a folder among the parts": lambda run: (run / "traces" / "rounds" / "x.parquet").mkdir(),
    "a part of another table": foreign_part,
    "lost time": without("rounds", "end_s"),
    "lost bits": without("transfers", "bits"),
    "lost metric": without("evaluations", "metric"),
    "lost user": without("users", "user"),
    "lost cause": without("critical_path", "cause"),
    "text for time": with_text("rounds", "start_s"),
    "text for truth": with_text("computations", "interrupted"),
    "scenario empty": file("scenario.yaml", b""),
    "scenario tagged": file("scenario.yaml", b"a: !!python/object:os.system [1]\n"),
    "scenario of words": file("scenario.yaml", b"hello world"),
    "scenario of bytes": file("scenario.yaml", b"\xff\xfe\x00"),
    "scenario lost": lambda run: (run / "scenario.yaml").unlink(),
    "scenario a folder": folder_instead("scenario.yaml"),
}
"""Damages that leave something to show."""

OF_ALL: dict[str, Damage] = {
    "a table of junk": junk_table,
    "no traces": lambda run: shutil.rmtree(run / "traces"),
    "traces a file": lambda run: (shutil.rmtree(run / "traces"), (run / "traces").write_text("x")),
    "table lost": lambda run: shutil.rmtree(run / "traces" / "energy"),
    "junk beside the tables": lambda run: (run / "traces" / "junk.txt").write_text("x"),
    "scenario of something else": file("scenario.yaml", b"network: 3\ncompute: null\n"),
    "record of bytes": file("run.json", b"\xff{}"),
    "record nested deeply": file("run.json", b"[" * 100_000 + b"]" * 100_000),
    "record a list": file("run.json", b"[]"),
    "record without fields": file("run.json", b"{}"),
    "record empty": file("run.json", b""),
    "record of other types": file("run.json", b'{"status": 3, "name": [1], "seed": "x"}'),
    "record of infinity": file("run.json", b'{"status": "complete", "seed": 1e999}'),
    "record a folder": folder_instead("run.json"),
}
"""Damages after which there may be nothing to show."""


@pytest.mark.parametrize("damage", [*OF_TABLES.values(), *OF_ALL.values()], ids=[*OF_TABLES, *OF_ALL])
def test_commands_read_a_damaged_run_or_refuse_it_in_one_sentence(tmp_path: Path, damage: Damage) -> None:
    path, other = Synthetic().write(tmp_path / "run"), Synthetic(rounds=3).write(tmp_path / "other")
    damage(path)
    for command in (report.write, described, partial(compared, other)):
        refusal = refused(command, path)
        assert not refusal or str(path) in refusal
        assert "\n" not in refusal


def described(path: Path) -> pd.DataFrame:
    return analysis.load(path).describe()


def compared(other: Path, path: Path) -> analysis.Comparison:
    return analysis.compare([path, other])


def refused(command: Callable[[Path], object], path: Path) -> str:
    """The sentence by which a command refuses a run; empty if it does not."""
    try:
        command(path)
    except REFUSALS as refusal:
        return str(refusal)
    return ""


@pytest.mark.parametrize("damage", OF_TABLES.values(), ids=list(OF_TABLES))
def test_the_report_names_damaged_files_and_shows_the_rest(tmp_path: Path, damage: Damage) -> None:
    path = Synthetic().write(tmp_path / "run")
    damage(path)
    html = report.write(path).read_text("utf-8")
    assert "<h2>Damaged files</h2>" in html
    assert re.search(rf"<li>{path}[^<]*</li>", html)
    assert 3 <= html.count('class="plot"') <= 7


def test_the_report_of_a_sound_run_names_no_damage(run_dir: Path, tmp_path: Path) -> None:
    assert "Damaged files" not in report.write(run_dir, tmp_path / "report.html").read_text("utf-8")


def test_a_damaged_table_raises_and_the_others_are_read(tmp_path: Path) -> None:
    path = Synthetic().write(tmp_path / "run")
    cut_short("transfers")(path)
    run = analysis.load(path)
    with pytest.raises(analysis.DamagedRun, match=r"traces/transfers/.*\.parquet is damaged"):
        _ = run.transfers
    assert len(run.rounds) == 2
    described = run.describe().set_index("table")["meaning"]
    assert "is damaged" in described["transfers"]


def test_a_comparison_leaves_damaged_runs_out(tmp_path: Path) -> None:
    paths = [Synthetic(rounds=rounds).write(tmp_path / f"run{rounds}") for rounds in (2, 3, 4)]
    for number, path in enumerate(paths):
        scenario = (path / "scenario.yaml").read_text()
        (path / "scenario.yaml").write_text(scenario.replace("slots: 4", f"slots: {number + 1}"))
    without("rounds", "end_s")(paths[1])
    compared = analysis.compare(paths, target=0.5)
    assert len(compared.arms) == 2
    assert any(re.search(r"run3 is left out: .* has no column 'end_s'", warning) for warning in compared.warnings)


def test_columns_that_analysis_reads_are_those_of_the_simulator() -> None:
    for table, kinds in READ.items():
        for kind, names in kinds.items():
            for name in names.split():
                assert IS_OF[kind](TABLES[table].field(name).type), (table, name)


@pytest.mark.parametrize("table", ["users", "transfers", "computations", "rounds", "critical_path", "energy"])
def test_no_figure_needs_a_column_that_is_not_declared(
    tmp_path: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report.run_page, "document", lambda *parts: "")
    path = Synthetic().write(tmp_path / "run")
    read = {name for names in READ[table].values() for name in names.split()}
    unread = [name for name in TABLES[table].names if name not in read]
    content = pq.read_table(part(path, table), partitioning=None)
    pq.write_table(content.drop_columns(unread), part(path, table))
    report.write(path)
    run = analysis.load(path)
    run.utilisation(), run.time_by_user(), run.participation(), run.energy_by_user()


def test_a_link_in_a_run_is_not_followed_by_the_report(tmp_path: Path) -> None:
    path = Synthetic().write(tmp_path / "run")
    precious = tmp_path / "precious.txt"
    precious.write_text("keep")
    os.symlink(precious, path / "report.html")
    report.write(path)
    assert precious.read_text() == "keep"
    assert not (path / "report.html").is_symlink()
