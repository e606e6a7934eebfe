"""Handling of SIGINT and SIGTERM, which end a run, or a command and all processes that it has started.

A command is ended by them at once, in one line, from its first moment to its last (`ending_on_signals`). Only runs and
sweeps, which leave something to be completed, handle them otherwise while they go on (`interruptions`,
`ending_children`).
"""

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
from typing import TYPE_CHECKING, Any, NoReturn

from scenarios.errors import INTERRUPTED

if TYPE_CHECKING:
    import psutil

SIGNALS = (signal.SIGINT, signal.SIGTERM)

GRACE_S = 3.0
"""Wall time between SIGTERM and SIGKILL for a process that is to end."""

EVENT_S = 1.0
"""Wall time that the present event of a run gets to end after the first signal."""

POLL_INTERVAL_S = 0.1
"""Wall time between two checks of the processes."""


def ending_on_signals() -> None:
    """Let signals end this process immediately from now on.

    They raise no KeyboardInterrupt: packages such as torch swallow one while they are imported, and fail later; in a
    finaliser it is ignored with a traceback; and Python may answer one that was caught by killing itself at the end.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as in the background of a shell
            signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    clear = b"\r\x1b[K\x1b[?25h" if os.isatty(2) else b""  # the live line, which has hidden the cursor
    os.write(2, clear + b"interrupted\n")
    os._exit(INTERRUPTED)


def end_process(code: int) -> NoReturn:
    """End this process with an exit code, whatever signals come while Python ends, which would kill it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    # Python remembers whether a KeyboardInterrupt has left the last text that was executed. If so, `python -m` kills
    # itself at its end, in whatever way that KeyboardInterrupt was handled.
    exec("")
    sys.exit(code)


@contextmanager
def interruptions(busy: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """Context of a function that returns True after a signal.

    If the context is not left within EVENT_S, KeyboardInterrupt is raised in it, and so it is at a second signal.
    A signal that nobody has learned of is sent again when the context has been left, to whom it would have reached.
    Only the main thread receives signals; in other threads the function always returns False.

    Args:
        busy: returns True while no exception may be raised; it is then raised as soon as that is over.
    """
    received: list[int] = []
    heeded = False
    left = threading.Event()

    def insist() -> None:
        while not left.wait(POLL_INTERVAL_S if len(received) > 1 else EVENT_S):
            _thread.interrupt_main(SIGNALS[0])

    def receive(number: int, frame: FrameType | None) -> None:
        nonlocal heeded
        received.append(number)
        if len(received) == 1:
            insistent.start()
        elif not (busy() or left.is_set()):
            del received[1:]  # another chance to end by itself
            heeded = True
            raise KeyboardInterrupt

    def interrupted() -> bool:
        nonlocal heeded
        heeded = bool(received)
        return heeded

    insistent = threading.Thread(target=insist, daemon=True)
    try:
        with _handled_by(receive):
            try:
                yield interrupted
            finally:
                left.set()
                if insistent.is_alive():
                    insistent.join()  # else it could still interrupt what follows
    finally:
        if received and not heeded:
            signal.raise_signal(received[0])


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
    import psutil

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
    import psutil  # here, as handlers are set before anything that takes time is imported

    return {child for child in psutil.Process().children(recursive=True) if _runs(child)}


def _runs(child: psutil.Process) -> bool:
    import psutil

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
