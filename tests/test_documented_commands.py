"""Every command and every block of code in README, docs and the headers of shipped files, by the real command line.

Long ones are shortened, not replaced: a run takes one round without values, of a sweep every point is read and the
first setting is built. Folders of runs that a command reads are real ones, of the quickstart and of a small sweep.
"""

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from rich.console import Console

import scenarios
import scenarios.sweep as sweeps
from benchmarks.__main__ import BENCHMARKS
from netsim.recordings import DATA_FOLDER
from runs import NEEDS, TINY
from scenarios import load, simulate
from scenarios.cli import app, main
from scenarios.engines import ENGINES, PointOutcome
from scenarios.plan import plan
from scenarios.shipped import shipped
from scenarios.sweep import SweepRunner
from scenarios.sweep_display import SweepDisplay

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHIPPED = [*sorted((ROOT / "scenarios").rglob("*.yaml")), *sorted((ROOT / "examples").iterdir())]
EASY = ["--target", "0.0", "--round", "0"]
"""What figures of runs of two rounds have."""
SHORT = ["--set", "learning.executor=dry", "--set", "learning.stop={rounds: 1}", "--no-store", "--quiet", "--replace"]

LINE = re.compile(
    r"^(?: {4}|# *|)(?:NETSIM_DATA=\S+ )?((?:netsim|python|make) [^`]+?)(?: {2,}.*| +#.*|)$", re.MULTILINE
)
"""A command on a line of its own, with what is said of it behind two spaces."""
SPAN = re.compile(r"`((?:netsim|python|make) [^`]+)`")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands() -> dict[str, str]:
    """Each command once, and the file that names it first."""
    found: dict[str, str] = {}
    for file in [*PAGES, *SHIPPED]:
        if file.is_file():
            text = file.read_text()
            for pattern in (LINE, SPAN):
                for command in pattern.findall(text):
                    found.setdefault(" ".join(command.split()), str(file.relative_to(ROOT)))
    return found


COMMANDS = commands()


def whole(*names: str) -> list[str]:
    """Commands that can be typed as they stand: they say which file, folder, paper or kind they are about."""
    about = ["schemes", "profiles", *(Path(name).stem for name in shipped("reproductions"))]
    return [
        command
        for command in COMMANDS
        if (words := shlex.split(command))[0] == "netsim"
        and words[1:2]
        and words[1] in names
        and any("/" in word or word in about for word in words[2:])
    ]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user has it: the shipped files, and runs from before."""
    folder = tmp_path_factory.mktemp("workspace")
    for name in ("scenarios", "examples"):
        (folder / name).symlink_to(ROOT / name)
    simulate(load(ROOT / "scenarios" / "quickstart.yaml", {"learning.stop.rounds": 2}), folder / "runs" / "quickstart")
    shutil.copytree(
        folder / "runs" / "quickstart", folder / "runs" / "trained"
    )  # the former is run again, without values
    base = {"name": "small", "learning": {"scheme": "fedavg", "stop": {"rounds": 1}, "data": {"train_samples": 96}}}
    (folder / "small.yaml").write_text(yaml.safe_dump(base))
    study = {"base": "small.yaml", "list": [{"label": "a"}, {"label": "b", "network.users.count": 3}], "seeds": 2}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    sweep = SweepRunner(plan(folder / "study.yaml"), folder / "swept")
    sweep.run(ENGINES["local"](1), None, SweepDisplay(Console(quiet=True)))
    evaluated = {"learning.scheme.test_snr_db": [0, 10], "learning.stop.rounds": 1}
    simulate(load(TINY, {**NEEDS["token_comm"], **evaluated}), folder / "runs" / "token_comm")
    for command in whole("compare", "report", "describe", "export", "figure"):
        for word in shlex.split(command):
            if word.startswith("runs/") and not (folder / word).exists():
                (folder / word).symlink_to(folder / "swept")
    return folder


@pytest.fixture
def netsim(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[list[str]], int]:
    """Type a command there; its exit code. What needs data that this machine has not is skipped."""
    monkeypatch.chdir(workspace)

    def typed(words: list[str]) -> int:
        assert words[0] == "netsim"
        with pytest.raises(SystemExit) as exit:
            main(words[1:])
        err = capsys.readouterr().err
        if DATA_FOLDER not in os.environ and (" is missing: " in err or "there is no file" in err):
            pytest.skip(err)
        print(err)
        return int(str(exit.value.code))

    return typed


@pytest.mark.parametrize("command", whole("run"))
def test_a_documented_run_goes(command: str, netsim: Callable[[list[str]], int]) -> None:
    words = shlex.split(command)
    assert netsim(words if "--check" in words else [*words, *SHORT]) == 0


@pytest.mark.parametrize("command", whole("check", "report", "describe", "export", "list", "compare"))
def test_a_documented_look_goes(command: str, netsim: Callable[[list[str]], int]) -> None:
    assert netsim(shlex.split(command)) == 0


@pytest.mark.parametrize("command", whole("figure"))
def test_a_documented_figure_is_drawn(command: str, netsim: Callable[[list[str]], int]) -> None:
    assert netsim([*shlex.split(command), *EASY]) == 0


class Idle:
    """An engine whose points are over at once."""

    def __init__(self, jobs: int | None) -> None: ...

    def run(self, tasks: Any) -> Iterator[PointOutcome]:
        yield from (PointOutcome(task.number, "complete") for task in tasks)

    def close(self) -> None: ...


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=pytest.mark.slow) if command.startswith("netsim reproduce") else command
        for command in whole("sweep", "reproduce")  # those of papers are planned by test_reproduce, too
    ],
)
def test_a_documented_study_can_begin(
    command: str, tmp_path: Path, netsim: Callable[[list[str]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its points are read, and the first is built; other tests run the studies of papers, and judge them."""
    monkeypatch.setitem(ENGINES, "local", Idle)
    build = sweeps._check_buildable
    monkeypatch.setattr(sweeps, "_check_buildable", lambda points: build(points[:1]))
    monkeypatch.setattr("scenarios.reproduce.findings", lambda *_: [])
    monkeypatch.setattr("scenarios.reproduce.draw", lambda *_: [])
    words = [word for word in shlex.split(command) if not word.startswith(("-o", "runs/"))]
    assert netsim([*words, "-o", str(tmp_path / "sweep"), "--no-store"]) == 0


def test_commands_and_options_that_are_mentioned_exist() -> None:
    known: Any = typer.main.get_command(app)
    for command in COMMANDS:
        words = shlex.split(command)
        while words[1:2] == ["--import"]:
            del words[1:3]
        if words[0] != "netsim" or len(words) == 1:
            continue
        if words[1].startswith("--"):
            assert words[1] in {option for parameter in known.params for option in parameter.opts}, command
            continue
        assert words[1] in known.commands, command
        inner = known.commands[words[1]]
        if words[1] == "store":
            assert {word for word in words[2:] if word.isalpha()} <= set(inner.commands), command
        options = {option for parameter in inner.params for option in parameter.opts} | {"--help"}
        assert {word for word in words[2:] if word.startswith("-")} <= options, command


def test_no_run_and_no_sweep_are_written_in_one_folder() -> None:
    """By the commands of one file, in any order: a scenario and its study may have the same name."""
    runs = {Path(shlex.split(command)[2]).stem for command in whole("run") if " -o " not in command}
    sweeps = {Path(shlex.split(command)[2]).stem for command in whole("sweep") if " -o " not in command}
    assert not runs & sweeps


def test_targets_and_modules_that_are_mentioned_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in COMMANDS:
        match command.split():
            case ["make", target]:
                assert target in targets, command
            case ["python", "-m", "benchmarks", *names]:
                assert set(names) <= set(BENCHMARKS), command
            case ["python", "-m", module, *_]:
                assert find_spec(module), command
            case ["python", file, *_]:
                assert (ROOT / file).is_file(), command


def blocks(language: str) -> list[str]:
    found = (FENCE.findall(page.read_text()) for page in PAGES if page.parent.name != "tutorials")  # see test_site
    return [code for page in found for name, code in page if name == language]


@pytest.mark.parametrize("code", blocks("yaml"))
def test_a_documented_scenario_can_be_run(code: str, tmp_path: Path, netsim: Callable[[list[str]], int]) -> None:
    """A part of one, whose recordings nobody has, is read."""
    file = tmp_path / "block.yaml"
    file.write_text(code)
    if code.startswith("name:"):
        assert netsim(["netsim", "run", str(file), "-o", str(tmp_path / "run"), *SHORT]) == 0
    else:
        load(file)


@pytest.mark.usefixtures("netsim", "own_parts")
@pytest.mark.parametrize("code", [code for code in blocks("python") if "analysis" in code or "scenarios" in code])
def test_documented_python_runs(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"learning.executor": "dry", "learning.stop.rounds": 1}
    monkeypatch.setattr(scenarios, "load", lambda file, changed=(): load(file, {**dict(changed), **short}))
    exec(compile(code, "block", "exec"), {})


def test_there_is_something_to_test() -> None:
    assert len(COMMANDS) > 50
    assert blocks("yaml")
    assert len(blocks("python")) >= 2
