"""SIGINT and SIGTERM end a command, and with it whatever it has started."""

from __future__ import annotations

import os
import signal
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
"""Wall seconds in which a process that was told to end may do so in order."""

BETWEEN_LOOKS_S = 0.1


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """A signal ends the process on the spot: nothing has begun, and an import that is cut in two leaves no good state.

    Packages such as torch go on importing when a KeyboardInterrupt comes in the middle, and fail in other ways later.
    """

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        os.write(2, b"interrupted\n")
        os._exit(INTERRUPTED)

    with _handled_by(leave):
        yield


@contextmanager
def ending_children() -> Iterator[Callable[[], bool]]:
    """The first signal raises KeyboardInterrupt and ends all processes that this one has started; tells if it came.

    Later signals change nothing: the end is near already, and half of it would leave processes behind. They stay
    without effect in the rest of the command.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if came:
            return
        came.append(number)
        threading.Thread(target=_end_children_for_ever, daemon=True).start()  # whatever becomes of the exception
        raise KeyboardInterrupt

    with _handled_by(note, restore=lambda: not came):
        yield lambda: bool(came)


def end_children() -> None:
    """End the processes that this one has started, and what they have started, in order if they are quick about it."""
    patience_ends_s = time.monotonic() + GRACE_S
    told: set[psutil.Process] = set()
    while children := _children():
        late = time.monotonic() > patience_ends_s
        for child in children - (set() if late else told):
            with suppress(psutil.NoSuchProcess):
                child.kill() if late else child.terminate()
        told |= children
        time.sleep(BETWEEN_LOOKS_S)


def end_with(parent: int) -> None:
    """Wait until the process `parent`, which started this one, is dead; then end this one."""
    while os.getppid() == parent:
        time.sleep(BETWEEN_LOOKS_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)


def _end_children_for_ever() -> None:
    while True:
        end_children()
        time.sleep(BETWEEN_LOOKS_S)


def _children() -> set[psutil.Process]:
    """Living ones; those that Python itself keeps beside worker processes end with their last user."""
    return {child for child in psutil.Process().children(recursive=True) if _lives(child)}


def _lives(child: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(child.cmdline())
    return False


@contextmanager
def _handled_by(handler: Callable[..., Any], restore: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Only the main thread gets signals; elsewhere nothing is changed."""
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
