"""Files that scenarios name: where they are looked for, and that it does not matter from where a command is started."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from scenarios import load, simulate
from scenarios.build import build
from scenarios.errors import FieldError
from scenarios.hints import hints
from scenarios.parts import Parts
from scenarios.paths import _is_path
from scenarios.plan import plan
from scenarios.schema import Scenario, parts, resolved

SCENARIO = """
network: {users: {count: 1}}
traffic:
  duration_s: 9
  streams:
    s: {arrivals: {name: recorded, file: data/asked.csv}, flops: 1.0e+6}
"""


def asked(folder: Path, *times_s: int) -> Path:
    """A recording of requests in `folder`/data."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "asked.csv").write_text("".join(f"{each}\n" for each in ("time_s", *times_s)))
    return folder / "data" / "asked.csv"


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scenario file, beside the folder in which commands are started, where a file of that name lies, too."""
    monkeypatch.delenv("NETSIM_DATA", raising=False)
    asked(tmp_path / "started", 1, 2, 3, 4, 5)
    monkeypatch.chdir(tmp_path / "started")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.yaml").write_text(SCENARIO)
    return tmp_path / "mine" / "x.yaml"


def requests(scenario: Scenario) -> list[float]:
    return simulate(scenario).table("requests")["arrival_s"].to_pylist()


def test_paths_count_from_the_folder_of_the_scenario(scenario: Path) -> None:
    asked(scenario.parent, 1, 2)
    assert requests(load(scenario)) == [1, 2]
    assert requests(load(Path("..") / "mine" / "x.yaml")) == [1, 2]


def test_then_from_the_folder_of_data(scenario: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked(tmp_path / "store", 3)
    monkeypatch.setenv("NETSIM_DATA", str(tmp_path / "store"))
    assert requests(load(scenario)) == [3]
    asked(scenario.parent, 1, 2)
    assert requests(load(scenario)) == [1, 2]


def test_and_never_from_where_the_command_is_started(scenario: Path) -> None:
    sentence = (
        f"traffic.streams.s: there is no file {scenario.parent}/data/asked.csv; .* NETSIM_DATA names, which is not set"
    )
    with pytest.raises(FieldError, match=sentence):
        build(load(scenario))
    here = Path("data/asked.csv").resolve()
    assert requests(load(scenario, {"traffic.streams.s.arrivals.file": str(here)})) == [1, 2, 3, 4, 5]


def test_a_recorded_run_runs_again_from_anywhere(
    scenario: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = asked(scenario.parent, 1, 2)
    monkeypatch.chdir(scenario.parent)
    simulate(load("x.yaml"), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    again = load(tmp_path / "run" / "scenario.yaml")
    assert str(file) in resolved(again)
    assert requests(again) == [1, 2]


def test_paths_in_a_study_count_from_the_folder_of_its_base(scenario: Path, tmp_path: Path) -> None:
    """In the processes of a sweep, too: what they are handed is absolute."""
    asked(scenario.parent, 1, 2)
    (scenario.parent / "other.csv").write_text("time_s\n7\n")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "s.yaml").write_text(
        "base: ../mine/x.yaml\ngrid: {traffic.streams.s.arrivals.file: [data/asked.csv, other.csv]}\n"
    )
    assert [requests(point.scenario) for point in plan(tmp_path / "studies" / "s.yaml").points] == [[1, 2], [7]]


def test_lists_of_files_folders_and_what_is_no_path(scenario: Path) -> None:
    asked(scenario.parent)
    found = load(
        scenario,
        {
            "network.channel.uplink_recording": {"name": "mahimahi", "files": ["a.up", "/b.up"]},
            "learning": {
                "data": "digits",
                "data_folder": "sets",
                "model": {"name": "transformer", "folder": "package:weights"},
                "scheme": "fedavg",
                "stop": {"rounds": 1},
            },
        },
    )
    written = parts().plain(found, Scenario)
    assert written["network"]["channel"]["uplink_recording"]["files"] == [str(scenario.parent / "a.up"), "/b.up"]
    assert written["learning"]["data_folder"] == str(scenario.parent / "sets")
    assert written["learning"]["model"]["folder"] == "package:weights"


def test_every_field_that_names_a_file_or_folder_is_a_path() -> None:
    known: Parts = parts()
    named = {
        (part.__name__, field.name): _is_path(hints(part)[field.name])
        for part in {part for family in known.families.values() for part in family.values()} | described(Scenario)
        for field in fields(part)
        if re.search(r"(^|_)(files?|folders?|paths?|directory)$", field.name)
    }
    assert len(named) >= 8
    assert [field for field, is_path in named.items() if not is_path] == []


def described(part: type) -> set[type]:
    """The part and all sections in it that have no choice."""
    inner = {kind for hint in hints(part).values() for kind in classes(hint)}
    return {part}.union(*(described(kind) for kind in inner))


def classes(hint: object) -> set[type]:
    found = {hint} if isinstance(hint, type) and is_dataclass(hint) else set()
    return found.union(*(classes(inner) for inner in getattr(hint, "__args__", ())))
