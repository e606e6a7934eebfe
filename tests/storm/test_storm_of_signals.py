"""SIGINT and SIGTERM at random moments of every command: it ends with its result, or as interrupted, in one line."""

import json
import signal
import sys
import time
from functools import cache
from pathlib import Path

import pytest
from tries import draws, tries

from processes import Process, ended, started, until
from runs import TINY

DRY = ("--set", "learning.executor=dry", "--set", "learning.stop.rounds=30")
SWEEP = "base: {base}\ngrid: {{learning.executor: [dry], network.users.count: [4, 5]}}\nseeds: 2\n"
COMMANDS = ("run", "check", "sweep", "list", "schema", "compare", "describe", "report", "store")


def handles(process: Process) -> bool:
    """Whether a process handles SIGTERM, as Python alone does not: the command has begun."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return "SigCgt" in status and bool(int(status["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study, and a run and a sweep to be read."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "study.yaml").write_text(SWEEP.format(base=TINY))
    for command in (
        ("run", TINY, "-o", folder / "run", *DRY),
        ("sweep", folder / "study.yaml", "-o", folder / "sweep"),
    ):
        with started("-m", "scenarios", *command, "--no-store") as process:
            code, _, err = ended(process)
        assert code == 0, err
    return folder


def arguments(command: str, made: Path, out: Path) -> tuple[object, ...]:
    match command:
        case "run":
            return "run", TINY, "-o", out, "--store", out.parent / "store", *DRY
        case "check":
            return "check", TINY
        case "sweep":
            return "sweep", made / "study.yaml", "-o", out, "--store", out.parent / "store"
        case "list":
            return "list", "schemes"
        case "schema":
            return ("schema",)
        case "store":
            return "store", "info", "--store", made / "store"
        case "report":
            return "report", made / "run", "-o", out
        case "compare":
            return "compare", made / "sweep"
    return command, made / "run"


@cache
def duration_s(command: str, made: Path) -> float:
    """How long a command goes on that nobody interrupts, in s."""
    with started("-m", "scenarios", *arguments(command, made, made / f"timed {command}")) as process:
        until(lambda: handles(process), process)
        begun_s = time.monotonic()
        code, _, err = ended(process)
    assert code == 0, err
    return time.monotonic() - begun_s


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="nothing else shows when a command has begun")
@tries(90)
def test_storm_of_signals(number: int, made: Path, tmp_path: Path) -> None:
    rng, command = draws("signals", number), COMMANDS[number % len(COMMANDS)]
    which = signal.SIGINT if rng.random() < 0.5 else signal.SIGTERM
    moment_s = rng.uniform(0, duration_s(command, made))
    with started("-m", "scenarios", *arguments(command, made, tmp_path / "out")) as process:
        until(lambda: handles(process), process)
        time.sleep(moment_s)
        process.send_signal(which)
        code, _, err = ended(process)
    assert code in (0, 130), (command, which, moment_s, err)
    assert "Traceback" not in err
    assert not code or "interrupted" in err.splitlines()[-1]
    if command == "run" and (record := tmp_path / "out" / "run.json").exists():
        assert json.loads(record.read_text())["status"] in ("interrupted", "complete"), (which, moment_s)
