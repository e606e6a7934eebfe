"""What `python -m benchmarks.same_tables` says of two folders of runs."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.same_tables import cases, differences, left_out, names

THEN = {"user": [0, 1, 2], "cause": ["death", "memory", None], "dropped": [0.5, None, 2.0]}
RENAMED = {
    "tables": {"outages": "absences"},
    "columns": {"absences": {"dropped": "excluded"}},
    "values": {"absences.cause": {"memory": "out_of_memory"}},
}


def recorded(folder: Path, case: str, **tables: dict[str, list[Any]]) -> None:
    """A folder with what a comparison reads of a run."""
    hashes = {}
    for name, columns in tables.items():
        traces = folder / case / "traces" / name
        traces.mkdir(parents=True)
        pd.DataFrame(columns).to_parquet(traces / "part-0.parquet")
        rows = len(next(iter(columns.values())))
        hashes[name] = {"rows": rows, "sha256": sha256(repr(columns).encode()).hexdigest()}
    (folder / case / "run.json").write_text(json.dumps({"tables": hashes}))


def compared(folder: Path, now: dict[str, list[Any]], renamed: dict[str, Any], table: str = "outages") -> list[str]:
    recorded(folder / "then", "a", outages=THEN)
    recorded(folder / "now", "a", **{table: now})
    assert names(folder / "then", folder / "now") == ["a"]
    return list(differences(folder / "then", folder / "now", "a", renamed))


def test_equal_tables_do_not_differ(tmp_path: Path) -> None:
    assert compared(tmp_path, THEN, {}) == []


def test_the_first_value_that_differs_is_named(tmp_path: Path) -> None:
    assert compared(tmp_path, {**THEN, "dropped": [0.5, 1.0, 3.0]}, {}) == [
        "outages: dropped in row 1: nan has become 1.0"
    ]


def test_other_rows_and_columns_are_named(tmp_path: Path) -> None:
    fewer = {name: column[:2] for name, column in THEN.items()}
    assert compared(tmp_path / "rows", fewer, {}) == ["outages: 3 rows have become 2"]
    other = {"user": THEN["user"], "cause": THEN["cause"], "left": THEN["dropped"]}
    assert compared(tmp_path / "columns", other, {}) == ["outages: columns ['dropped', 'left'] are new or gone"]
    assert compared(tmp_path / "tables", THEN, {}, "absences") == ["table absences is new", "table outages is gone"]


def test_a_new_table_is_named_unless_it_has_no_rows(tmp_path: Path) -> None:
    recorded(tmp_path / "then", "a", outages=THEN)
    recorded(tmp_path / "now", "a", outages=THEN, calls={"user": []}, positions={"user": [0]})
    assert list(differences(tmp_path / "then", tmp_path / "now", "a", {})) == ["table positions is new"]


def test_what_was_only_renamed_is_the_same(tmp_path: Path) -> None:
    now = {"excluded": THEN["dropped"], "user": THEN["user"], "cause": ["death", "out_of_memory", None]}
    assert compared(tmp_path / "same", now, RENAMED, "absences") == []
    now["cause"] = ["death", "memory", None]
    assert compared(tmp_path / "differs", now, RENAMED, "absences") == [
        "absences: cause in row 1: out_of_memory has become memory"
    ]


def test_a_case_that_only_one_commit_has_is_named_and_not_compared(tmp_path: Path) -> None:
    for folder, cases_there in (("then", ("common", "old")), ("now", ("common", "new"))):
        for case in cases_there:
            recorded(tmp_path / folder, case, outages=THEN)
    assert names(tmp_path / "then", tmp_path / "now") == ["common"]
    assert left_out(tmp_path / "then", tmp_path / "now") == [
        "new: not compared, as the commit does not have it",
        "old: not compared, as only the commit has it",
    ]


def test_a_run_that_failed_is_named(tmp_path: Path) -> None:
    recorded(tmp_path / "then", "a", outages=THEN)
    failed = tmp_path / "now" / "a"
    failed.mkdir(parents=True)
    (failed / "error.txt").write_text("ValueError: no")
    assert list(differences(tmp_path / "then", tmp_path / "now", "a", {})) == ["now it failed, ValueError: no"]


def test_every_scheme_is_among_the_cases() -> None:
    from learning.schemes import SCHEMES

    assert set(SCHEMES) - {"flower"} <= set(cases())  # whose operations are those of an app
    assert all(file.exists() for file, _ in cases().values())
