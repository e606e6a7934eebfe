"""Processes that tests start: waited for by what they do, not by the clock, and ended whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
PATIENCE_S = 600.0
"""So that a test that hangs fails at last, on the slowest machine under load. Nothing else depends on it."""

Process = subprocess.Popen[str]


@contextmanager
def started(*arguments: object) -> Iterator[Process]:
    """`python ARGUMENTS` in a process group of its own, of which nothing is left when the block ends."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # of the group, whose other members may have lost their parent
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def until(condition: Callable[[], object], process: Process | None = None) -> None:
    """Wait for a condition, as long as the process lives that is to fulfil it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert process is None or process.poll() is None or condition(), process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def ended(process: Process) -> tuple[int, str, str]:
    """Wait for the end of a process: exit code, stdout, stderr."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def children(process_id: int | None = None) -> set[psutil.Process]:
    """Living processes below one (by default this one) that do work: those that Python keeps beside them do none."""
    if process_id is None and not _has_children():
        return set()  # at once: this is asked after every test
    with suppress(psutil.NoSuchProcess):
        return {child for child in psutil.Process(process_id).children(recursive=True) if _works(child)}
    return set()


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _works(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        words = " ".join(process.cmdline())
        helps = "resource_tracker" in words or "multiprocessing.forkserver" in words
        return process.status() != psutil.STATUS_ZOMBIE and not helps
    return False
