"""Loading runs: complete, growing, dead, and folders that are none."""

import shutil
from pathlib import Path

import pytest
from synthetic_run import COLUMNS, Synthetic, write_part

import analysis
from analysis import parquet


def test_every_table_is_an_attribute(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    for name, columns in COLUMNS.items():
        assert list(getattr(run, name)) == list(columns)
        assert name in dir(run)
    assert run.tables == sorted(COLUMNS)
    assert run.scenario["seed"] == run.info["seed"] == 7


def test_a_table_is_read_once(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    assert run.rounds is run.rounds


def test_absent_users_are_missing_integers(run_dir: Path) -> None:
    users = analysis.load(run_dir).computations["user"]
    assert str(users.dtype) == "Int64"
    assert users.isna().sum() == 2  # one aggregation a round belongs to nobody


def test_part_of_a_table(run_dir: Path) -> None:
    frame = analysis.load(run_dir).table("transfers", ["round", "bits"], where=[("round", "==", 2), ("bits", ">", 1e6)])
    assert frame.to_numpy().tolist() == [[2, 4e6]] * 6  # 3 users, the model down and up


def test_describe_tells_rows_units_and_meanings(run_dir: Path) -> None:
    table = analysis.load(run_dir).describe().set_index(["table", "column"])
    assert len(table) == sum(len(columns) for columns in COLUMNS.values())
    assert table.loc[("rounds", "latency_s")].to_dict() == {
        "rows": 2,
        "type": "double",
        "unit": "s",
        "meaning": "the latency_s of rounds",
    }


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "is not a folder"),
        (lambda path: (path / "run.json").unlink(), "is not a run: it has no run.json"),
        (lambda path: (path / "run.json").write_text("{"), "its run.json is not JSON"),
        (lambda path: (path / "run.json").write_text("[]"), "its run.json holds no object"),
        (lambda path: (path / "scenario.yaml").unlink(), "is not a run: it has no scenario.yaml"),
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
    assert not hasattr(run, "expert_calls")


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
    folder = path / "traces" / "decisions"
    write_part(folder, "decisions", [(2, None, "cut", 3.0)], "part-1")
    write_part(folder, "decisions", [(1, 0, "cut", 2.0)], "part-0")
    (folder / "part-2.parquet.tmp").write_bytes(b"half written")
    assert analysis.load(path).decisions["value"].tolist() == [2.0, 3.0]


def test_a_merge_in_the_middle_of_reading_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look at the folder sees a part that is gone when it is opened, as when a run ends just then."""
    folder = tmp_path / "run" / "traces" / "decisions"
    write_part(folder, "decisions", [(1, 0, "cut", 2.0)], "merged")
    looks = iter([[folder / "part-0.parquet"]])
    look = parquet._parts
    monkeypatch.setattr(parquet, "_parts", lambda folder: next(looks, None) or look(folder))
    assert parquet.read(folder)["value"].tolist() == [2.0]
