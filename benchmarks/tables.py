"""The share of tables in the time of a run without learning, whose users compute and exchange messages.

Two measurements. The share is the time within the functions that keep, write and merge rows, over that of the run: the
smallest of some runs. The ratio is the processor time of a run that writes all tables over that of a run that keeps
none, just before it: the median over pairs, and the smallest and largest.
"""

import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from statistics import median

import simpy

from benchmarks.growth import exchanging
from benchmarks.timing import Stopwatch
from netsim.trace import Trace

USERS, PAIRS = 100, 7
WRITING = ("add", "flush", "close")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run_s(Path(folder))  # warms up
        shares = []
        for _ in range(3):
            watch = Stopwatch()
            with watch.on(Trace, WRITING):
                begun_s = time.perf_counter()
                run_s(Path(folder))
                shares.append(watch.spent_s / (time.perf_counter() - begun_s))
        ratios = [run_s(Path(folder)) / run_s(Path(folder), ()) for _ in range(PAIRS)]
    print(
        f"tables: {min(shares):.1%} of the wall time of a run without learning of {USERS} users; processor time over "
        f"that of a run without tables, {PAIRS} pairs: {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )


def run_s(folder: Path, tables: Collection[str] | None = None) -> float:
    """Seconds of processor time of a run that writes these tables to a folder; None is all of them."""
    env, trace = simpy.Environment(), Trace(folder, tables)
    exchanging(env, trace, USERS)
    begun_s = time.process_time()
    env.run()
    trace.close()
    return time.process_time() - begun_s
