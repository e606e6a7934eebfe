"""Best of several interleaved runs, so that a disturbance hits all candidates alike."""

import time
from collections.abc import Callable, Mapping

REPEATS = 3


def best_s(candidates: Mapping[str, Callable[[], object]], repeats: int = REPEATS) -> dict[str, float]:
    """Least wall time of each candidate over `repeats` rounds in which each runs once; one round before warms up."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats + 1):
        for name, candidate in candidates.items():
            begun = time.perf_counter()
            candidate()
            times[name].append(time.perf_counter() - begun)
    return {name: min(each[1:]) for name, each in times.items()}
