"""Handling of SIGINT and SIGTERM, which end a run, or a command and all processes that it has started."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import psutil

from scenarios.errors import INTERRUPTED

SIGNALS = (signal.SIGINT, signal.SIGTERM)

GRACE_S = 3.0
"""Wall time between SIGTERM and SIGKILL for a process that is to end."""

EVENT_S = 1.0
"""Wall time that the present event of a run gets to end after the first signal."""

POLL_INTERVAL_S = 0.1
"""Wall time between two checks of the processes."""


@contextmanager
def exiting_on_signal() -> Iterator[None]:
    """Context in which a signal ends the process immediately, for imports at the beginning of a command.

    A KeyboardInterrupt in the middle of the import of a package such as torch would be swallowed there, and show as
    another error later.
    """

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        os.write(2, b"interrupted\n")
        os._exit(INTERRUPTED)

    with _handled_by(leave):
        yield


def end_process(code: int) -> NoReturn:
    """End this process with an exit code, whatever signals come while Python ends, which would kill it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


@contextmanager
def interruptions(busy: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """Context of a function that returns True after a signal.

    If the context is not left within EVENT_S, KeyboardInterrupt is raised in it, and so it is at a second signal.
    Only the main thread receives signals; in other threads the function always returns False.

    Args:
        busy: returns True while no exception may be raised; it is then raised as soon as that is over.
    """
    received: list[int] = []
    left = threading.Event()

    def insist() -> None:
        while not left.wait(POLL_INTERVAL_S if len(received) > 1 else EVENT_S):
            _thread.interrupt_main(SIGNALS[0])

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            insistent.start()
        elif not (busy() or left.is_set()):
            del received[1:]  # another chance to end by itself
            raise KeyboardInterrupt

    insistent = threading.Thread(target=insist, daemon=True)
    with _handled_by(receive):
        try:
            yield lambda: bool(received)
        finally:
            left.set()


@contextmanager
def ending_children() -> Iterator[Callable[[], bool]]:
    """Context in which the first signal raises KeyboardInterrupt and ends all processes that this one has started.

    Its value is a function that returns True after that signal. Later signals have no effect, also after the context:
    a second KeyboardInterrupt would leave processes behind.
    """
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if received:
            return
        received.append(number)
        threading.Thread(target=_keep_ending_children, daemon=True).start()  # even if the exception is caught
        raise KeyboardInterrupt

    with _handled_by(receive, restore=lambda: not received):
        yield lambda: bool(received)


def end_children() -> None:
    """End all descendants of this process: SIGTERM first, and SIGKILL after GRACE_S."""
    deadline_s = time.monotonic() + GRACE_S
    terminated: set[psutil.Process] = set()
    while children := _children():
        late = time.monotonic() > deadline_s
        for child in children - (set() if late else terminated):
            with suppress(psutil.NoSuchProcess):
                child.kill() if late else child.terminate()
        terminated |= children
        time.sleep(POLL_INTERVAL_S)


def end_after(parent: int) -> None:
    """Wait until the process `parent`, which started this one, has ended; then end this one."""
    while os.getppid() == parent:
        time.sleep(POLL_INTERVAL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)


def _keep_ending_children() -> None:
    while True:
        end_children()
        time.sleep(POLL_INTERVAL_S)


def _children() -> set[psutil.Process]:
    """Running descendants of this process, without Python's resource trackers, which end with the last worker."""
    return {child for child in psutil.Process().children(recursive=True) if _runs(child)}


def _runs(child: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(child.cmdline())
    return False


@contextmanager
def _handled_by(handler: Callable[..., Any], restore: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Context in which `handler` receives the signals. Only the main thread can; in other threads it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        if restore():
            for number, old in before.items():
                signal.signal(number, old)
