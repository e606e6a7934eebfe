"""The trace: readable while it is written, merged to the same bytes whatever the parts, hashed by content."""

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import netsim.trace
from netsim.tables import TABLES
from netsim.trace import Trace

DECISIONS = [(k // 7, None if k % 3 == 0 else k, f"choice {k % 5}", k / 7) for k in range(5000)]


def fill(trace: Trace, rows: list[tuple[object, ...]] = DECISIONS) -> Trace:
    for row in rows:
        trace.add("decisions", *row)
    return trace


def merged(directory: Path) -> bytes:
    return (directory / "decisions" / "decisions.parquet").read_bytes()


def test_rows_come_back_in_order(tmp_path: Path) -> None:
    on_disk, in_memory = fill(Trace(tmp_path)), fill(Trace(None))
    expected = [dict(zip(TABLES["decisions"].names, row, strict=True)) for row in DECISIONS]
    for trace in (on_disk, in_memory):
        assert trace.frame("decisions").to_pylist() == expected
        trace.close()
        assert trace.frame("decisions").to_pylist() == expected


def test_parts_are_readable_while_the_run_goes_on(tmp_path: Path) -> None:
    trace = fill(Trace(tmp_path))
    assert len(pd.read_parquet(tmp_path / "decisions")) == netsim.trace.PENDING_ROWS
    trace.flush()
    assert len(pd.read_parquet(tmp_path / "decisions")) == len(DECISIONS)


def test_rows_wait_no_longer_than_two_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(netsim.trace, "monotonic", lambda: now_s)
    trace = fill(Trace(tmp_path), DECISIONS[:3])
    trace.add("evaluations", 0, 1.0, "test", "accuracy", 0.5, 10, None)
    assert len(pd.read_parquet(tmp_path / "decisions")) == 0
    now_s += 2.1
    fill(trace, DECISIONS[3:4])
    assert len(pd.read_parquet(tmp_path / "decisions")) == 4
    assert len(pd.read_parquet(tmp_path / "evaluations")) == 1
    fill(trace, DECISIONS[4:5])  # and then they wait again
    assert len(pd.read_parquet(tmp_path / "decisions")) == 4


def test_rows_of_a_long_run_wait_for_a_thousandth_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(netsim.trace, "monotonic", lambda: now_s)
    trace = fill(Trace(tmp_path), DECISIONS[:1])
    now_s = 10_000.0
    fill(trace, DECISIONS[1:2])
    for now_s, row, written in ((10_009.0, 2, 2), (10_011.0, 3, 4)):  # noqa: B007  the clock reads it
        fill(trace, DECISIONS[row : row + 1])
        assert len(pd.read_parquet(tmp_path / "decisions")) == written


def test_parts_that_are_written_take_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netsim.trace, "PENDING_ROWS", 1)
    trace = fill(Trace(tmp_path, ["decisions"]), DECISIONS[:50])
    gc.collect()
    before = sys.getallocatedblocks()
    fill(trace, DECISIONS[50:350])
    gc.collect()
    # A path takes three blocks or more; the name of the file takes one for good where pathlib interns it (Python 3.12).
    assert sys.getallocatedblocks() - before < 2 * 300


def test_readers_do_not_see_a_part_that_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    write = pq.write_table

    def spying(table: pa.Table, where: Path) -> None:
        write(table, where)
        seen.append(len(pd.read_parquet(tmp_path / "decisions")))

    trace = fill(Trace(tmp_path), DECISIONS[:10])
    monkeypatch.setattr(pq, "write_table", spying)
    trace.flush()
    assert seen == [0]


def test_every_table_exists_from_the_beginning(tmp_path: Path) -> None:
    trace = Trace(tmp_path)
    for _ in ("open", "closed"):
        for table, schema in TABLES.items():
            assert list(pd.read_parquet(tmp_path / table).columns) == schema.names
        trace.close()


def test_a_table_that_is_dropped_takes_nothing_with_it(tmp_path: Path) -> None:
    everything, some = Trace(None), Trace(tmp_path, tables=["evaluations", "users"])
    for trace in (everything, some):
        fill(trace).add("evaluations", 0, 1.0, "test", "accuracy", 0.5, 10, None)
    whole = everything.close()
    assert some.close() == {table: whole[table] for table in ("users", "evaluations")}
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["evaluations", "users"]


def test_units_and_meanings_are_in_the_files(tmp_path: Path) -> None:
    trace = fill(Trace(tmp_path))
    trace.close()
    for table, schema in TABLES.items():
        (file,) = (tmp_path / table).iterdir()
        assert pq.read_schema(file).equals(schema, check_metadata=True)
        for field in pq.read_schema(file):
            assert field.metadata[b"meaning"]
            assert b"unit" in field.metadata


def test_merging_leaves_one_file_the_same_for_any_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netsim.trace, "GROUP_ROWS", 1000)
    whole = fill(Trace(tmp_path / "a")).close()
    monkeypatch.setattr(netsim.trace, "PENDING_ROWS", 7)
    parts = fill(Trace(tmp_path / "b")).close()
    assert [file.name for file in (tmp_path / "b" / "decisions").iterdir()] == ["decisions.parquet"]
    assert merged(tmp_path / "a") == merged(tmp_path / "b")
    assert whole == parts == fill(Trace(None)).close()
    assert whole["decisions"]["rows"] == 5000
    assert pq.ParquetFile(tmp_path / "a" / "decisions" / "decisions.parquet").num_row_groups == 5


def test_the_hash_sees_every_cell() -> None:
    def content(*rows: tuple[object, ...]) -> int | str:
        return fill(Trace(None), list(rows)).close()["decisions"]["sha256"]

    base = (1, 2, "cut", 3.0)
    others = [
        ((0, 2, "cut", 3.0),),
        ((1, None, "cut", 3.0),),
        ((1, 0, "cut", 3.0),),
        ((1, 2, "cu", 3.0),),
        ((1, 2, "cut", 3.0000000000000004),),
        (),
        (base, base),
    ]
    hashes = {content(base), *(content(*rows) for rows in others)}
    assert len(hashes) == 1 + len(others)
    two = ((1, 2, "ab", 0.0), (1, 2, "c", 0.0)), ((1, 2, "a", 0.0), (1, 2, "bc", 0.0))
    assert content(*two[0]) != content(*two[1])


def test_a_new_trace_replaces_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    fill(Trace(tmp_path)).flush()
    note = tmp_path / "decisions" / "note.txt"
    note.write_text("mine")
    fill(Trace(tmp_path), DECISIONS[:2]).close()
    assert len(pd.read_parquet(tmp_path / "decisions" / "decisions.parquet")) == 2
    Trace(tmp_path)
    assert sorted(file.name for file in (tmp_path / "decisions").iterdir()) == ["note.txt", "part-000000.parquet"]


def test_a_row_of_the_wrong_width_is_refused() -> None:
    trace = Trace(None)
    trace.add("decisions", 1, 2, "cut", 3.0)
    trace.add("decisions", 1, 2, "cut")
    with pytest.raises(ValueError, match="shorter"):
        trace.flush()


def test_parts_survive_a_kill(tmp_path: Path) -> None:
    """The process dies by SIGKILL after 10,000 rows: all but the last, unfinished part can be read."""
    program = (
        "import os, pathlib, sys\nfrom netsim.trace import Trace\ntrace = Trace(pathlib.Path(sys.argv[1]))\n"
        "for k in range(10_000): trace.add('decisions', 0, k, 'cut', 1.0)\nos.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], env={**os.environ, "PYTHONPATH": str(root)}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    users = pd.read_parquet(tmp_path / "decisions")["user"].tolist()
    assert len(users) >= 2 * netsim.trace.PENDING_ROWS
    assert users == list(range(len(users)))
