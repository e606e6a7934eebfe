"""`netsim check` builds what `netsim run` builds: the same refusals, the same exit codes, and a signal ends it."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from learning.reducers import TOKEN_REDUCERS
from learning.scheme import Scheme
from learning.schemes import SCHEMES
from scenarios import load
from scenarios.checks import default_of
from scenarios.field_errors import NETWORK_SECTIONS, offending_field
from scenarios.hints import hints
from scenarios.schema import parts

SCENARIOS = Path(__file__).parents[2] / "scenarios"


@dataclass(frozen=True)
class Fails(Scheme):
    """A scheme whose round `at` fails."""

    at: int = 0

    def run(self, world: Any) -> Iterator[Any]:
        for number in world.rounds():
            yield world.env.timeout(1.5)
            world.models(world.initial(world.whole))
            if number == self.at:
                raise ArithmeticError("no such sum")


@dataclass(frozen=True)
class ReadsAValue(Scheme):
    """A scheme that cannot go on without a value."""

    def run(self, world: Any) -> Iterator[Any]:
        for _ in world.rounds():
            yield world.env.timeout(1.5)
            model = world.initial(world.whole)
            world.executor.value(world.executor.submit(halved, model))
            world.models(model)


def halved(model: dict[str, Any]) -> dict[str, Any]:
    return {name: weight / 2 for name, weight in model.items()}


@dataclass(frozen=True)
class Signalled(Scheme):
    """A scheme that sends its process a signal, once, in rounds that compute values, or in those that do not."""

    number: int
    computes: bool

    def run(self, world: Any) -> Iterator[Any]:
        for _ in world.rounds():
            yield world.env.timeout(1.5)
            world.models(world.initial(world.whole))
            if self not in SENT and world.executor.computes == self.computes:
                SENT.append(self)
                os.kill(os.getpid(), self.number)


SENT: list[Signalled] = []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("computes", [False, True], ids=["dry rounds", "timed rounds"])
def test_the_first_signal_ends_a_check(
    computes: bool, number: signal.Signals, small: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an interrupted round came to is no cost."""
    monkeypatch.setitem(SCHEMES, "signalled", Signalled)
    SENT.clear()
    scheme = f"{{name: signalled, number: {int(number)}, computes: {str(computes).lower()}}}"
    assert netsim("check", small, "--set", f"learning.scheme={scheme}") == (130, "", "interrupted\n")
    assert len(SENT) == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            ["network.users.height_m=30"],
            "--set network.users.height_m=30: network.users.height_m: TR 38.901 UMi holds for 1.5 to 22.5 m",
        ),
        (
            ["traffic.streams.pictures.arrivals={name: recorded, file: gone.csv}"],
            f"traffic.streams.pictures: there is no file {SCENARIOS / 'gone.csv'}",
        ),
        (["network.handover={}"], "--set network.handover={}: network.handover: handover: users that stand still"),
        (["network.users.tx_power_dbm=1e29"], "--set network.users.tx_power_dbm=1.0e+29: network.users.tx_power_dbm"),
        (["network.users.count=3", "network.users.placement=[[0, 20]]"], "network.users.placement: 1 user positions"),
        (["compute.servers.station=7"], "compute.servers.station: server stands at station 7; there are 1, from 0"),
    ],
)
@pytest.mark.parametrize("alone", [False, True], ids=["with learning", "traffic alone"])
def test_what_run_refuses_check_refuses(
    alone: bool, settings: list[str], sentence: str, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fields that are fine one by one, on a scenario that has traffic, and learning or not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETSIM_DATA", str(tmp_path))
    without = ["learning=null", "traffic.duration_s=1"] if alone else []
    given = [word for setting in (*settings, *without) for word in ("--set", setting)]
    code, out, err = netsim("check", SCENARIOS / "serving.yaml", *given)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert sentence in err
    assert netsim("run", SCENARIOS / "serving.yaml", *given, "-o", tmp_path / "run") == (code, out, err)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("executor", ["dry", "eager"])
@pytest.mark.parametrize("limited", [False, True], ids=["any memory", "limited memory"])
def test_what_fails_in_the_first_rounds_fails_in_a_check(
    limited: bool, executor: str, small: Path, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCHEMES, "fails", Fails)
    given = ["--set", "learning.scheme=fails", "--set", f"learning.executor={executor}"]
    if limited:
        given += ["--set", "compute.devices.memory_bytes=1e9"]
    code, out, err = netsim("check", small, *given)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("failed ")
    assert "ArithmeticError: no such sum" in err
    again = netsim("run", small, *given, "-o", tmp_path / "run")
    assert (again.code, again.err.rstrip("\n").partition("; the traces so far")[0]) == (code, err.rstrip("\n"))


@pytest.mark.parametrize(("rounds", "code"), [(1, 0), (2, 1)])
def test_a_round_that_the_run_has_not_is_no_fault(
    rounds: int, code: int, small: Path, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second round fails: a run of one round does not come to it."""
    monkeypatch.setitem(SCHEMES, "fails", Fails)
    given = ["--set", "learning.scheme={name: fails, at: 1}", "--set", f"learning.stop.rounds={rounds}"]
    assert netsim("check", small, *given).code == code
    assert netsim("run", small, *given, "-o", tmp_path / "run").code == code


@pytest.mark.parametrize(("executor", "code"), [("eager", 0), ("dry", 1)])
def test_a_scheme_that_needs_values_has_no_cost_unless_it_has_to_do_without(
    executor: str, code: int, small: Path, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCHEMES, "reads", ReadsAValue)
    given = ["--set", "learning.scheme=reads", "--set", f"learning.executor={executor}"]
    said = netsim("check", small, *given)
    assert said.code == code
    assert "the dry executor computes no values" in (said.err if code else said.out)
    assert ("the cost is unknown: a trial round failed at simulated time 1.5 s" in said.out) is not bool(code)
    assert netsim("run", small, *given, "-o", tmp_path / "run").code == code


def written(part: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """The fields of sections, parts that are chosen by name taken as one: path, value, default."""
    kind: type = type(part)
    for field in fields(part):
        value = getattr(part, field.name)
        chosen = parts().family(hints(kind)[field.name]) is not None
        if is_dataclass(value) and not chosen:
            yield from written(value, (*path, field.name))
        else:
            yield (*path, field.name), value, default_of(field)


@pytest.mark.parametrize("file", ["serving.yaml", "edge_cloud.yaml", "many_cells.yaml", "recorded_drive.yaml"])
def test_any_field_at_fault_is_found(file: str) -> None:
    """The world cannot be built as long as one field, each in turn, has what the file says."""
    scenario = load(SCENARIOS / file)
    found = 0
    for section in NETWORK_SECTIONS:
        for path, value, default in written(getattr(scenario, section), (section,)):

            def build(variant: Any, path: tuple[str, ...] = path, value: Any = value) -> None:
                if reduce(getattr, path, variant) == value:
                    raise ValueError("this does not fit")

            assert offending_field(scenario, build) == (() if value == default else path)
            found += value != default
    assert found > 2


def test_a_field_whose_default_fails_in_another_way_explains_nothing() -> None:
    def build(variant: Any) -> None:
        raise ValueError("nothing fits") if variant == scenario else KeyError("no message for anybody")

    scenario = load(SCENARIOS / "many_cells.yaml")
    assert offending_field(scenario, build) == ()


CUT_LINKS = [name for name, scheme in SCHEMES.items() if "link" in {field.name for field in fields(scheme)}]


@pytest.mark.parametrize("reducer", TOKEN_REDUCERS)
@pytest.mark.parametrize("scheme", CUT_LINKS)
def test_tokens_of_a_model_that_has_none_are_refused(scheme: str, reducer: str, small: Path, netsim) -> None:
    """The model of the scenario is a perceptron."""
    for command in ("check", "run"):
        setting = f"learning.scheme={{name: {scheme}, link: {{tokens: {reducer}}}}}"
        code, _, err = netsim(command, small, "--set", setting)
        assert (code, err.count("\n")) == (2, 1)
        assert "tokens" in err
