"""Runs and their folders: what is recorded, replaced, refused, and left behind by failures and signals."""

import errno
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from learning.scheme import Scheme
from learning.schemes import SCHEMES
from netsim.tables import TABLES
from netsim.trace import Trace
from processes import Process, ended, started, until
from scenarios import RunFailed, ScenarioError, load, simulate

ROOT = Path(__file__).parents[2]


def record(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "run.json").read_text())
    return content


def contents(run: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}


@dataclass(frozen=True)
class Breaks(Scheme):
    """A scheme that fails in its second round, two processes deep."""

    def run(self, world: Any) -> Any:
        for number in world.rounds():
            yield world.env.process(self.outer(world, number))
            world.models(world.initial(world.whole))

    def outer(self, world: Any, number: int) -> Any:
        yield world.env.process(self.inner(world, number))

    def inner(self, world: Any, number: int) -> Any:
        yield world.env.timeout(1.5)
        if number == 1:
            error = ArithmeticError("the sum\nof it all")
            error.add_note("in operation adding")
            raise error


def test_a_run_is_recorded(small: Path, tmp_path: Path) -> None:
    result = simulate(load(small), tmp_path / "run")
    said = record(tmp_path / "run")
    assert {key: said[key] for key in ("name", "seed", "status", "rounds")} == {
        "name": "small",
        "seed": 3,
        "status": "complete",
        "rounds": 2,
    }
    assert set(said["versions"]) == {"python", "netsim", "numpy", "pyarrow", "scipy", "simpy", "torch"}
    assert said["operations"]["asked"] >= said["operations"]["run"] > 0
    assert said["operations"]["stored"] == 0
    assert said["wall_time_s"] > 0
    assert list(said["tables"]) == list(TABLES)
    for name, about in said["tables"].items():
        assert pq.read_table(tmp_path / "run" / "traces" / name).num_rows == about["rows"]
    rounds = pd.read_parquet(tmp_path / "run" / "traces" / "rounds")
    assert said["simulated_time_s"] == rounds["end_s"].iloc[-1] == result.simulated_time_s
    assert result.reached.uplink_bits == rounds["uplink_bits"].sum()
    assert result.reached.energy_j == pytest.approx(rounds["energy_j"].sum(), rel=1e-12)
    accuracy = pd.read_parquet(tmp_path / "run" / "traces" / "evaluations").query("metric == 'accuracy'")["value"]
    assert result.accuracy == accuracy.iloc[-1]
    assert load(tmp_path / "run" / "scenario.yaml") == load(small)


def test_equal_scenarios_give_equal_tables(small: Path, tmp_path: Path) -> None:
    """In a folder, in memory, from the resolved scenario, and whatever number of threads torch was told to use."""
    first = simulate(load(small), tmp_path / "run")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = simulate(load(tmp_path / "run" / "scenario.yaml"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert again.tables == first.tables
    assert again.table("transfers").equals(pq.read_table(tmp_path / "run" / "traces" / "transfers"))
    other = simulate(load(small, {"seed": 4}))
    assert other.tables["transfers"] != first.tables["transfers"]


def test_a_network_without_learning_places_its_users(tmp_path: Path) -> None:
    (tmp_path / "cell.yaml").write_text("network: {users: {count: 5}}\n")
    result = simulate(load(tmp_path / "cell.yaml"))
    assert (result.status, result.simulated_time_s) == ("complete", 0)
    assert result.table("users")["samples"].to_pylist() == [None] * 5


def test_a_new_run_replaces_an_old_one_as_a_whole(small: Path, tmp_path: Path) -> None:
    simulate(load(small, {"learning.stop.rounds": 3}), tmp_path / "run")
    (tmp_path / "run" / "traces" / "rounds" / "part-999999.parquet").write_bytes(b"left behind")
    (tmp_path / "run" / "traces" / "older_table").mkdir()
    result = simulate(load(small, {"learning.stop.rounds": 1}), tmp_path / "run")
    assert len(pd.read_parquet(tmp_path / "run" / "traces" / "rounds")) == 1
    assert sorted(folder.name for folder in (tmp_path / "run" / "traces").iterdir()) == sorted(TABLES)
    assert record(tmp_path / "run")["tables"] == result.tables


def test_what_is_refused_touches_no_older_run(small: Path, tmp_path: Path) -> None:
    simulate(load(small), tmp_path / "run")
    before = contents(tmp_path / "run")
    for wrong in ({"learning.cut": 9}, {"compute.devices.flops_per_s": [1.0]}, {"network.users.count": 97}):
        with pytest.raises(ScenarioError):
            simulate(load(small, wrong), tmp_path / "run")
    assert contents(tmp_path / "run") == before


def test_autocast_is_refused(small: Path) -> None:
    """Equal scenarios would have other values under it, and so would cached results."""
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(ScenarioError, match=r"autocast.*codec cast"):
        simulate(load(small))


@pytest.mark.parametrize("name", [".lock", ".run.json.tmp", ".scenario.yaml.tmp", "run.json", "scenario.yaml"])
def test_a_link_in_a_folder_is_replaced_or_refused_but_not_followed(small: Path, tmp_path: Path, name: str) -> None:
    simulate(load(small), tmp_path / "run")
    link, elsewhere = tmp_path / "run" / name, tmp_path / "elsewhere"
    elsewhere.write_text((tmp_path / "run" / "run.json").read_text())
    before = elsewhere.read_text()
    link.unlink(missing_ok=True)
    link.symlink_to(elsewhere)
    with suppress(ScenarioError):
        simulate(load(small, {"seed": 5}), tmp_path / "run")
    assert elsewhere.read_text() == before


def test_a_linked_folder_of_tables_is_not_emptied(small: Path, tmp_path: Path) -> None:
    simulate(load(small), tmp_path / "run")
    (tmp_path / "run" / "traces").rename(tmp_path / "elsewhere")
    (tmp_path / "run" / "traces").symlink_to(tmp_path / "elsewhere")
    before = contents(tmp_path / "elsewhere")
    with pytest.raises(ScenarioError, match=r"cannot be written there \(.*symbolic link"):
        simulate(load(small, {"seed": 5}), tmp_path / "run")
    assert contents(tmp_path / "elsewhere") == before


def test_a_folder_with_something_else_is_refused(small: Path, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.tex").write_text("years of work")
    for run, words in {
        thesis: "the folder is not empty and holds no run of this program",
        small: "this is a file; name a folder",
        small / "run": "the run cannot be written there",
        Path("/proc/run"): "the run cannot be written there",
    }.items():
        with pytest.raises(ScenarioError) as caught:
            simulate(load(small), run)
        assert str(caught.value).startswith(f"{run}: {words}")
    assert contents(thesis) == {thesis / "chapter.tex": b"years of work"}


def test_a_failure_is_recorded_with_time_and_round(
    small: Path, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCHEMES, "breaks", Breaks)
    code, _, err = netsim("run", small, "-o", tmp_path / "run", "--set", "learning.scheme.name=breaks")
    assert code == 1
    assert err == (
        "failed at simulated time 3 s in round 1: ArithmeticError: the sum of it all in operation adding; "
        f"the traces so far are in {tmp_path / 'run' / 'traces'}\n"
    )
    said = record(tmp_path / "run")
    assert (said["status"], said["error"]) == ("failed", "ArithmeticError: the sum of it all in operation adding")
    assert "in inner\n" in said["traceback"]
    assert pd.read_parquet(tmp_path / "run" / "traces" / "rounds")["end_s"].tolist() == [1.5]


@pytest.mark.parametrize(("table", "at"), [("users", "0 s"), ("evaluations", r"[\d.]+ s in round 0")])
def test_a_full_disk_is_one_sentence(
    table: str, at: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Trace.add

    def full(self: Trace, name: str, *values: Any) -> None:
        if name == table:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(self, name, *values)

    monkeypatch.setattr(Trace, "add", full)
    with pytest.raises(RunFailed, match=rf"^failed at simulated time {at}: OSError: .*No space left on device; the"):
        simulate(load(small), tmp_path / "run")
    assert record(tmp_path / "run")["status"] == "failed"


@dataclass(frozen=True)
class Waits(Scheme):
    """A scheme that waits for what never happens."""

    def run(self, world: Any) -> Any:
        for _ in world.rounds():
            yield world.env.event()


def test_a_scheme_that_waits_for_ever_has_stalled(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEMES, "waits", Waits)
    stuck = r"in round 0: nothing is going to happen .*: Waits.run waits in Waits.run \(.*\) for an event"
    with pytest.raises(RunFailed, match=stuck):
        simulate(load(small, {"learning.scheme.name": "waits"}), tmp_path / "run")
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (about["status"], about["error"][:27]) == ("stalled", "nothing is going to happen ")


def test_tables_that_are_left_out_change_no_other(small: Path, tmp_path: Path) -> None:
    whole = simulate(load(small))
    some = simulate(load(small, {"trace.tables": ["rounds", "energy"]}), tmp_path / "run")
    assert some.tables == {name: whole.tables[name] for name in ("rounds", "energy")}
    assert sorted(folder.name for folder in (tmp_path / "run" / "traces").iterdir()) == ["energy", "rounds"]


def test_a_run_that_died_before_it_wrote_its_record_leaves_the_folder_free(small: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").touch()
    (run / ".run.json.tmp").write_text("{")
    assert simulate(load(small), run).status == "complete"


def test_a_dead_run_is_replaced_as_a_whole(small: Path, tmp_path: Path) -> None:
    """Its record says running, and parts of its tables lie about, of tables that are no longer recorded too."""
    dead, fresh = tmp_path / "dead", tmp_path / "fresh"
    with running(small, dead):
        pass  # it is killed
    scenario = load(small, {"trace.tables": ["rounds", "users"]})
    assert simulate(scenario, dead).tables == simulate(scenario, fresh).tables
    assert set(contents(dead / "traces")) == {dead / "traces" / t / f"{t}.parquet" for t in ("rounds", "users")}
    for file in sorted(fresh.glob("traces/*/*.parquet")):
        assert (dead / file.relative_to(fresh)).read_bytes() == file.read_bytes()


def test_two_processes_do_not_write_one_folder(small: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with running(small, run):
        rows = len(pd.read_parquet(run / "traces" / "rounds"))
        with pytest.raises(ScenarioError) as caught:
            simulate(load(small), run)
        assert str(caught.value).startswith(f"{run}: another process is writing a run there; ")
        assert record(run)["status"] == "running"
        assert len(pd.read_parquet(run / "traces" / "rounds")) >= rows
    assert simulate(load(small), run).status == "complete"  # a dead process holds nothing


@contextmanager
def running(small: Path, run: Path) -> Iterator[Process]:
    """A run without end in a process of its own, once it has written rows."""
    settings = ("--set", f"learning.stop.rounds={10**9}", "--set", "limits.events=1e15")
    with started("-m", "scenarios", "run", small, "-o", run, *settings) as process:
        until(lambda: len(list(run.glob("traces/rounds/part-*.parquet"))) >= 2, process)
        yield process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_run_in_order(number: signal.Signals, small: Path, tmp_path: Path) -> None:
    with running(small, tmp_path / "run") as process:
        assert record(tmp_path / "run")["status"] == "running"
        assert len(pd.read_parquet(tmp_path / "run" / "traces" / "rounds")) > 0  # readable while it goes on
        process.send_signal(number)
        code, out, err = ended(process)
    last = err.splitlines()[-1]
    assert last.startswith("interrupted at simulated time ")
    assert last.endswith(f"the traces so far are in {tmp_path / 'run' / 'traces'}")
    assert "Traceback" not in err
    assert (code, out) == (130, "")
    said = record(tmp_path / "run")
    assert said["status"] == "interrupted"
    rounds = pd.read_parquet(tmp_path / "run" / "traces" / "rounds")
    assert len(rounds) == said["tables"]["rounds"]["rows"] == said["rounds"] > 0


def test_a_killed_run_leaves_readable_tables_and_can_be_repeated(small: Path, tmp_path: Path) -> None:
    with running(small, tmp_path / "run"):
        pass  # it is killed
    assert record(tmp_path / "run")["status"] == "running"
    assert len(pd.read_parquet(tmp_path / "run" / "traces" / "rounds")) > 0
    result = simulate(load(small), tmp_path / "run")
    assert record(tmp_path / "run")["tables"] == result.tables
    assert len(pd.read_parquet(tmp_path / "run" / "traces" / "rounds")) == 2
