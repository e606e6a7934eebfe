"""`netsim run --check`: a recorded run is repeated and compared cell by cell. Oracle: changes made here."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from netsim.tables import TABLES
from scenarios import load, simulate
from scenarios.repeat import ABSENT, Difference, compare


@pytest.fixture
def run(small: Path, tmp_path: Path) -> Path:
    """A recorded run."""
    simulate(load(small), tmp_path / "run")
    return tmp_path / "run"


def change(run: Path, table: str, how: Callable[[pa.Table], pa.Table]) -> None:
    file = run / "traces" / table / f"{table}.parquet"
    pq.write_table(how(pq.read_table(file)), file)


def test_an_unchanged_run_is_identical(run: Path, store: Path, netsim) -> None:
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    assert netsim("run", "--check", run) == (0, "identical\n", "")
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before
    assert not list(store.iterdir())  # it does not trust a store


def test_the_last_bit_of_a_cell_is_found(run: Path, netsim) -> None:
    def nudge(table: pa.Table) -> pa.Table:
        cells = table["energy_j"].to_pylist()
        cells[3] = math.nextafter(cells[3], math.inf)
        return table.set_column(table.column_names.index("energy_j"), table.field("energy_j"), pa.array(cells))

    before = pq.read_table(run / "traces" / "transfers")["energy_j"][3].as_py()
    change(run, "transfers", nudge)
    change(run, "rounds", lambda table: table.slice(1))  # a later table in the order of tables
    code, out, err = netsim("run", "--check", run)
    assert (code, err) == (1, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["different:", "table", "transfers,", "row", "3"]
    assert ["*", "energy_j", str(math.nextafter(before, math.inf)), str(before)] in lines
    assert [line[1] for line in lines if line[0] == "*"] == ["energy_j"]
    assert len(lines) == 2 + len(TABLES["transfers"])


ROWS: list[dict[str, Any]] = [
    {"a": 1, "b": 0.5, "c": "x"},
    {"a": None, "b": None, "c": None},
    {"a": 3, "b": 1.0, "c": ""},
]
TYPES = pa.schema([("a", pa.int64()), ("b", pa.float64()), ("c", pa.string())])


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, TYPES)


@pytest.mark.parametrize(
    ("row", "change"),
    [
        (0, {"a": 2}),
        (0, {"b": -0.5}),
        (0, {"c": "y"}),
        (1, {"a": 0}),
        (1, {"b": 0.0}),
        (1, {"c": ""}),
        (2, {"a": None}),
        (2, {"b": math.nan}),
        (2, {"c": None}),
    ],
)
def test_every_kind_of_cell_is_compared(row: int, change: dict[str, Any]) -> None:
    now = [{**each, **(change if number == row else {})} for number, each in enumerate(ROWS)]
    found = compare("some", table(ROWS), table(now))
    assert isinstance(found, Difference)
    assert (found.table, found.row) == ("some", row)
    assert [cell.column for cell in found.cells if cell.differs] == list(change)


def test_equal_tables_have_no_difference_whatever_their_parts() -> None:
    rows = [*ROWS, {"a": 4, "b": math.nan, "c": "z"}]
    parts = pa.concat_tables([table(rows[:1]), table(rows[1:])])
    assert compare("some", table(rows), parts) is None
    assert compare("some", table([]), table([])) is None


def test_zero_is_not_minus_zero() -> None:
    found = compare("some", table([{"b": 0.0}]), table([{"b": -0.0}]))
    assert found is not None
    assert [(cell.recorded, cell.now) for cell in found.cells if cell.differs] == [("0.0", "-0.0")]


def test_a_missing_row_and_a_missing_column_are_differences() -> None:
    fewer = compare("some", table(ROWS), table(ROWS[:2]))
    assert fewer is not None
    assert fewer.row == 2
    assert [cell.now for cell in fewer.cells] == [ABSENT] * 3
    other = compare("some", table(ROWS).drop_columns(["b"]), table(ROWS))
    assert other is not None
    assert other.row == 0
    assert [(cell.column, cell.recorded, cell.now) for cell in other.cells if cell.differs] == [("b", ABSENT, "0.5")]


def test_only_complete_runs_are_checked(run: Path, small: Path, tmp_path: Path, netsim) -> None:
    for folder, words in {tmp_path: "found no run there", small: "found no run there"}.items():
        code, _, err = netsim("run", "--check", folder)
        assert (code, err.startswith(f"{folder}: {words}")) == (2, True)
    record = run / "run.json"
    record.write_text(record.read_text().replace('"complete"', '"interrupted"'))
    assert netsim("run", "--check", run) == (
        2,
        "",
        f"{run}: the run there is interrupted; only a complete one can be checked\n",
    )


def test_a_table_that_cannot_be_read_is_one_sentence(run: Path, netsim) -> None:
    (run / "traces" / "users" / "users.parquet").write_bytes(b"PAR1 and then nothing")
    code, out, err = netsim("run", "--check", run)
    assert (code, out) == (2, "")
    assert err == f"{run / 'traces' / 'users'}: the recorded table cannot be read; run the scenario again\n"


@pytest.mark.parametrize("more", [["-o", "x"], ["--seed", "0"], ["--set", "seed=1"], ["--store", "x"]])
def test_check_takes_nothing_else(run: Path, more: list[str], netsim) -> None:
    code, _, err = netsim("run", "--check", run, *more)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("netsim: run --check takes")


def test_a_run_of_another_processor_is_named(run: Path, netsim) -> None:
    about = json.loads((run / "run.json").read_text())
    here = about["processor"]
    changed = {**about, "processor": {**here, "name": "Another CPU", "onednn": "AVX2"}}
    (run / "run.json").write_text(json.dumps(changed))
    code, out, _ = netsim("run", "--check", run)
    assert code == 0
    assert out == (
        "warning: this processor may compute other last bits than the one that recorded the run: name Another CPU, now "
        f"{here['name']}; onednn AVX2, now unlimited\nidentical\n"
    )
