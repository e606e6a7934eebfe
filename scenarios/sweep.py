"""A sweep: the points of a study, each in a run directory of its own, run by several workers that share a store."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from scenarios.build import build, without_values
from scenarios.directory import ENDED, locked, record, refuse_other_than, replace, usable
from scenarios.engines import Engine, Outcome, Task
from scenarios.errors import FieldError, RunFailed
from scenarios.families import registered
from scenarios.plan import Plan, Point
from scenarios.schema import resolved


@dataclass
class State:
    """How far a point has come, as sweep.json says."""

    label: str
    overrides: dict[str, Any]
    seed: int
    path: str
    status: str = "pending"
    """pending, complete, diverged or failed."""
    error: str | None = None


class Spectator(Protocol):
    """Told what happens in a sweep."""

    def begun(self, sweep: Sweep) -> None:
        """The points are known, and which of them have ended before."""
        ...

    def ended(self, state: State, outcome: Outcome) -> None:
        """A point is over."""
        ...


class Sweep:
    """One sweep and its folder: sweep.json, study.yaml, and a run directory under `points/` for each point."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        """Look at the folder, and change nothing yet: a point that has ended there will not be run again.

        Raises:
            ScenarioError: something else than a sweep lies there, or a point cannot be built.
        """
        self.name, self.directory = plan.study.name, directory
        refuse_other_than(directory, "sweep.json", "sweep")
        self._plan = plan
        self.points = [State(p.label, dict(p.overrides), p.scenario.seed, p.path, self._found(p)) for p in plan.points]
        self.skipped = self.count(*ENDED)
        self.operations: Counter[str] = Counter(asked=0, run=0, stored=0)
        self.wall_time_s = 0.0
        _refuse_what_cannot_be_built([plan.points[number] for number in self._pending()])

    def run(self, engine: Engine, store: Path | None, spectator: Spectator) -> None:
        """Run what has not ended; a point that fails stops no other.

        Raises:
            ScenarioError: the folder cannot be written, or another process is writing a sweep there.
            KeyboardInterrupt: the sweep was interrupted; sweep.json says how far it came.
        """
        begun_s = time.monotonic()
        with locked(self.directory, "sweep"):
            self._write("running")
            spectator.begun(self)
            status = "interrupted"
            try:
                for wave in self._waves():
                    with closing(engine.run([self._task(number, store) for number in wave])) as outcomes:
                        for outcome in outcomes:
                            self._note(outcome)
                            spectator.ended(self.points[outcome.number], outcome)
                status = "failed" if self.count("failed") else "complete"
            finally:
                engine.close()
                self.wall_time_s = time.monotonic() - begun_s
                self._write(status)

    def failed(self) -> list[State]:
        """The points that failed."""
        return [point for point in self.points if point.status == "failed"]

    def count(self, *statuses: str) -> int:
        """How many points have one of these statuses."""
        return sum(point.status in statuses for point in self.points)

    def _found(self, point: Point) -> str:
        """How a point ended that was run before, else pending."""
        folder = self.directory / point.path
        try:
            same = (folder / "scenario.yaml").read_text(encoding="utf-8") == resolved(point.scenario)
        except OSError:
            same = False
        status = str((record(folder) or {}).get("status"))
        return status if same and status in ENDED else "pending"

    def _pending(self) -> list[int]:
        return [number for number, point in enumerate(self.points) if point.status == "pending"]

    def _waves(self) -> Iterator[list[int]]:
        """Pilots, then the others.

        Points with equal seed and equal learning, in different networks, compute the same. Were they to start together,
        each would compute it; so the first of them goes ahead, and the others find its work in the store.
        """
        pilots: dict[Any, int] = {}
        pending = self._pending()
        for number in pending:
            scenario = self._plan.points[number].scenario
            pilots.setdefault((scenario.seed, scenario.learning), number)
        ahead = set(pilots.values())
        yield [number for number in pending if number in ahead]
        yield [number for number in pending if number not in ahead]

    def _task(self, number: int, store: Path | None) -> Task:
        point = self._plan.points[number]
        return Task(number, point.scenario, self.directory / point.path, store, registered())

    def _note(self, outcome: Outcome) -> None:
        if outcome.status == "interrupted":  # whoever did that to a worker meant the sweep
            raise KeyboardInterrupt
        point = self.points[outcome.number]
        point.status, point.error = outcome.status, outcome.error
        self.operations.update(outcome.operations)
        self._write("running")

    def _write(self, status: str) -> None:
        about = {"name": self.name, "status": status, "points": [asdict(point) for point in self.points]}
        with usable(self.directory, "sweep"):
            replace(self.directory / "study.yaml", self._plan.text(self.directory))
            replace(self.directory / "sweep.json", json.dumps(about, indent=2) + "\n")


def _refuse_what_cannot_be_built(points: Sequence[Point]) -> None:
    """Build the world of each setting once: its seeds differ in draws only."""
    for point in {point.label: point for point in reversed(points)}.values():
        try:
            build(without_values(point.scenario))
        except FieldError as error:
            raise point.refusal(error) from None
        except RunFailed:
            pass  # it fails when its turn comes, and stops no other
