"""Minimum wall time over several interleaved runs, so that a disturbance affects all candidates equally; and calls."""

import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType

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
