"""Signals that arrive within an event that takes long. Oracle: the clock of this machine, with much room."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from processes import ended, started, until
from runs import TINY
from scenarios.signals import EVENT_S, interruptions

BUSY = """
import sys, time
from dataclasses import dataclass, replace
from pathlib import Path
from learning.scheme import Scheme
from scenarios import load, simulate

@dataclass(frozen=True)
class Busy(Scheme):
    def run(self, world):
        for number in world.rounds():
            yield world.env.timeout(1.0)
            if number == 2:
                Path(sys.argv[2], "inside").touch()
                while True:
                    time.sleep(0.01)

scenario = load(sys.argv[1], {"learning.executor": "dry", "learning.stop.rounds": 4})
scenario = replace(scenario, learning=replace(scenario.learning, scheme=Busy()))
print(simulate(scenario, Path(sys.argv[2], "run")).status)
"""


def test_the_first_signal_ends_a_long_event(tmp_path: Path) -> None:
    """Also where `simulate` was called from Python."""
    with started("-c", BUSY, TINY, tmp_path) as process:
        until(lambda: (tmp_path / "inside").exists(), process)
        process.send_signal(signal.SIGTERM)
        assert ended(process) == (0, "interrupted\n", "")
    assert len(pd.read_parquet(tmp_path / "run" / "traces" / "rounds")) == 2


def wait(seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_raises_at_once(number: signal.Signals) -> None:
    with interruptions(lambda: False) as interrupted:
        os.kill(os.getpid(), number)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


def test_nothing_is_raised_while_rows_are_written() -> None:
    busy = [True]
    with interruptions(lambda: busy[0]) as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        wait(0.3)
        assert interrupted()
        busy[0] = False
        with pytest.raises(KeyboardInterrupt):
            wait(60)


def test_nothing_is_raised_after_the_run() -> None:
    before, threads = signal.getsignal(signal.SIGINT), threading.active_count()
    with interruptions(lambda: False) as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
    assert threading.active_count() == threads
    wait(1.2 * EVENT_S)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("asked", [True, False])
def test_a_signal_that_was_not_noticed_is_passed_on(asked: bool) -> None:
    """As when tables are closed after the last round."""

    def run() -> None:
        with interruptions(lambda: True) as interrupted:
            assert not (asked and interrupted())
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run()


CLOSING = """
import os, signal, sys
from netsim.trace import Trace
from scenarios.__main__ import main

def signalled(trace, close=Trace.close):
    os.kill(os.getpid(), signal.SIGTERM)
    return close(trace)

Trace.close = signalled
main()
"""


def test_tables_are_closed_before_a_signal_ends_a_command(tmp_path: Path) -> None:
    """The run is whole by then, but not what the command does afterwards."""
    out = tmp_path / "run"
    with started("-c", CLOSING, "run", TINY, "-o", out, "--no-store", "--quiet") as process:
        assert ended(process) == (130, "", "interrupted\n")
    assert json.loads((out / "run.json").read_text())["status"] == "complete"
    assert [file.name for file in (out / "traces" / "rounds").iterdir()] == ["rounds.parquet"]
