"""Memory and time of a population of which each round selects a hundred users, by its size.

Prints the processor time of setting up a dry run of `fedavg` with a thousand to a billion users, that of a round (mean
of the rounds after the first), and the memory that the process has grown by at the end of the rounds.
"""

import gc
import time
from collections.abc import Mapping
from typing import Any

import psutil

from scenarios.document import Document
from scenarios.progress import RunningTotals
from scenarios.run import simulate
from scenarios.schema import Scenario
from scenarios.schema import parts as known_parts

USERS = (1000, 1_000_000, 1_000_000_000)
COHORT, ROUNDS = 100, 10


class Rounds(RunningTotals):
    """Processor times at which rounds ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ended_s: list[float] = []

    def round_ended(self, row: Mapping[str, Any]) -> None:
        super().round_ended(row)
        self.ended_s.append(time.process_time())


def main() -> None:
    print(f"population: {COHORT} users of each of {ROUNDS} rounds, dry fedavg")
    run(COHORT)  # warms up
    for users in USERS:
        before_bytes, begun_s = _resident_bytes(), time.process_time()
        ended_s = run(users)
        first_s, round_s = ended_s[0] - begun_s, (ended_s[-1] - ended_s[0]) / (ROUNDS - 1)
        grown = (_resident_bytes() - before_bytes) / 2**20
        print(f"  {users:>13,} users: set-up and first round {first_s:.2f} s, a round {round_s:.3f} s, {grown:.0f} MiB")


def run(users: int) -> list[float]:
    """Run a scenario with so many users; returns the processor times in s at which its rounds ended."""
    observer = Rounds()
    simulate(scenario(users), observer=observer)
    return observer.ended_s


def scenario(users: int) -> Scenario:
    """The scenario with so many users."""
    content = {
        "name": "population",
        "network": {"users": {"count": users}},
        "learning": {
            "executor": "dry",
            "data": "digits",
            "partition": {"name": "shared", "samples": 40},
            "scheme": {"name": "fedavg", "local_steps": 1},
            "participants": {"name": "random", "count": COHORT},
            "stop": {"rounds": ROUNDS},
        },
    }
    read: Scenario = known_parts().read(Scenario, Document("population", content, {(): "population"}))
    return read


def _resident_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)
