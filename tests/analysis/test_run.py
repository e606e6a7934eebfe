"""Loading runs: complete, growing, dead, and folders that are none."""

import shutil
from pathlib import Path

import pytest
from synthetic_run import Synthetic, write_part

import analysis
from analysis import parquet
from netsim.tables import TABLES


def test_every_table_is_an_attribute(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    for name, schema in TABLES.items():
        assert list(getattr(run, name)) == schema.names
        assert name in dir(run)
    assert run.tables == sorted(TABLES)
    assert run.scenario["seed"] == run.info["seed"] == 7


def test_a_table_is_read_once(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    assert run.rounds is run.rounds


def test_absent_users_are_missing_integers(run_dir: Path) -> None:
    users = analysis.load(run_dir).computations["user"]
    assert str(users.dtype) == "Int64"
    assert users.isna().sum() == 2  # one aggregation a round belongs to nobody


def test_part_of_a_table(run_dir: Path) -> None:
    frame = analysis.load(run_dir).table("transfers", ["round", "bits"], where=[("round", "==", 1), ("bits", ">", 1e6)])
    assert frame.to_numpy().tolist() == [[1, 4e6]] * 6  # 3 users, the model down and up


def test_describe_tells_rows_units_and_meanings(run_dir: Path) -> None:
    table = analysis.load(run_dir).describe().set_index(["table", "column"])
    assert len(table) == sum(map(len, TABLES.values()))
    assert table.loc[("rounds", "latency_s")].to_dict() == {
        "rows": 2,
        "type": "double",
        "unit": "s",
        "meaning": "end minus start",
    }


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "is not a folder"),
        (lambda path: (path / "run.json").unlink(), "is not a run: it has no run.json"),
        (lambda path: (path / "run.json").write_text("{"), "its run.json is not JSON"),
        (lambda path: (path / "run.json").write_text("[]"), "its run.json holds no object"),
    ],
)
def test_a_folder_that_is_no_run_is_named(tmp_path: Path, spoil, message: str) -> None:
    path = Synthetic().write(tmp_path / "run")
    spoil(path)
    with pytest.raises(analysis.NotARun, match=message) as error:
        analysis.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_table_is_an_error_that_lists_those_there_are(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    with pytest.raises(analysis.NoSuchTable, match=r"has no table 'transfer'; the tables it has: .*, transfers, users"):
        _ = run.transfer
    assert not hasattr(run, "no_such_table")


def test_a_table_without_a_file_is_no_table_yet(tmp_path: Path) -> None:
    path = Synthetic().write(tmp_path / "run")
    for part in (path / "traces").glob("*/*.parquet"):
        part.rename(part.with_suffix(".tmp"))
    run = analysis.load(path)
    assert run.tables == []
    assert run.describe().empty
    with pytest.raises(analysis.NoSuchTable, match="none so far"):
        _ = run.rounds


def test_parts_are_read_in_order_while_a_run_goes_on(tmp_path: Path) -> None:
    path = Synthetic(status="running").write(tmp_path / "run")
    write_part(path, "decisions", [(2, None, "cut", 3.0)], "part-000002")
    write_part(path, "decisions", [(1, 0, "cut", 2.0)], "part-000001")
    (path / "traces" / "decisions" / ".part-000003.parquet").write_bytes(b"half written")
    assert analysis.load(path).decisions["value"].tolist() == [2.0, 3.0]


def test_a_merge_in_the_middle_of_reading_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends removes the parts before the merged file appears; a reader sees the parts, then neither."""
    part = write_part(tmp_path, "decisions", [(1, 0, "cut", 2.0)])
    merged = part.with_name("decisions.parquet")
    hidden = part.rename(part.with_name(".decisions.parquet"))
    looks = [[part]]  # gone when it is opened
    look, pauses = parquet._parts, []
    monkeypatch.setattr(parquet, "_parts", lambda folder: looks.pop() if looks else look(folder))

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            hidden.rename(merged)

    monkeypatch.setattr(parquet, "sleep", pause)
    assert parquet.read(part.parent)["value"].tolist() == [2.0]
    assert len(pauses) == 2
