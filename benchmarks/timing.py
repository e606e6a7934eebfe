"""Minimum wall time over interleaved runs, so that a disturbance affects all alike; time in functions; and calls."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any
from unittest.mock import patch

REPEATS = 3


def best_s(candidates: Mapping[str, Callable[[], object]], repeats: int = REPEATS) -> dict[str, float]:
    """Measure the minimum wall time of each candidate, s.

    Args:
        candidates: functions without arguments, by name.
        repeats: number of rounds in which each candidate runs once, after one round for warming up.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats + 1):
        for name, candidate in candidates.items():
            begun = time.perf_counter()
            candidate()
            times[name].append(time.perf_counter() - begun)
    return {name: min(each[1:]) for name, each in times.items()}


def python_calls(candidate: Callable[[], object]) -> int:
    """Count the calls of Python functions and resumptions of generators while `candidate` runs."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        candidate()
    finally:
        sys.setprofile(before)
    return calls


class Stopwatch:
    """Wall time spent in a set of functions; nested calls count once."""

    def __init__(self) -> None:
        self.spent_s = 0.0
        self._running = False

    @contextmanager
    def on(self, owner: Any, names: tuple[str, ...]) -> Iterator[None]:
        """Context in which the functions `names` of a class or module are timed."""
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(patch.object(owner, name, self._timed(getattr(owner, name))))
            yield

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            if self._running:
                return function(*args)
            self._running, begun_s = True, time.perf_counter()
            try:
                return function(*args)
            finally:
                self.spent_s += time.perf_counter() - begun_s
                self._running = False

        return timed
