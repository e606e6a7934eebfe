"""A sweep: the points of a study, each with its own run directory, run by workers that share a result cache."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any, Protocol

from scenarios.build import build, without_values
from scenarios.directory import ENDED, check_replaceable, locked, record, replace, write_errors
from scenarios.engines import Engine, PointOutcome, Task
from scenarios.errors import FieldError, RunFailed
from scenarios.families import registered
from scenarios.plan import Point, SweepPlan
from scenarios.progress import Horizon, horizon
from scenarios.schema import resolved


@dataclass
class PointState:
    """State of a point, as in sweep.json."""

    label: str
    overrides: dict[str, Any]
    """Values that replace those of the base scenario, by dotted path of field."""
    seed: int
    path: str
    """Run directory, relative to the directory of the sweep."""
    status: str = "pending"
    """pending, complete, diverged or failed."""
    error: str | None = None
    """One sentence, for a point that failed."""


class SweepObserver(Protocol):
    """Callbacks of a sweep."""

    def begun(self, sweep: SweepRunner) -> None:
        """Receive the sweep at its beginning, when the points that ended in an earlier one are known."""
        ...

    def ended(self, state: PointState, outcome: PointOutcome) -> None:
        """Receive the new state and the outcome of a point that has ended."""
        ...


class SweepRunner:
    """One sweep and its folder: sweep.json, study.yaml, and a run directory under `points/` for each point."""

    def __init__(self, plan: SweepPlan, directory: Path) -> None:
        """Check the points and the folder; nothing is written yet.

        A point that has ended in the folder with the same scenario is not run again.

        Raises:
            ScenarioError: the folder holds something other than a sweep, or a point cannot be built.
        """
        self.name, self.directory = plan.study.name, directory
        check_replaceable(directory, "sweep.json", "sweep")
        self._plan = plan
        self.points = [
            PointState(p.label, dict(p.overrides), p.scenario.seed, p.path, self._found(p)) for p in plan.points
        ]
        self.skipped = self.count(*ENDED)
        self.operations: Counter[str] = Counter(asked=0, run=0, stored=0)
        self.wall_time_s = 0.0
        _check_buildable([plan.points[number] for number in self._pending()])

    def run(self, engine: Engine, store: Path | None, observer: SweepObserver) -> None:
        """Run all points that have not ended. A point that fails does not stop the others.

        Args:
            engine: runs the points, and is closed at the end.
            store: folder of the result cache that the points share; None disables it.
            observer: receives the progress of the sweep.

        Raises:
            ScenarioError: the folder cannot be written, or another process is writing a sweep there.
            KeyboardInterrupt: the sweep was interrupted; sweep.json has the state of all points.
        """
        begun_s = time.monotonic()
        with locked(self.directory, "sweep"):
            self._write("running")
            observer.begun(self)
            status = "interrupted"
            try:
                for wave in self._waves():
                    with closing(engine.run([self._task(number, store) for number in wave])) as outcomes:
                        for outcome in outcomes:
                            self._note(outcome)
                            observer.ended(self.points[outcome.number], outcome)
                status = "failed" if self.count("failed") else "complete"
            finally:
                engine.close()
                self.wall_time_s = time.monotonic() - begun_s
                self._write(status)

    def failed(self) -> list[PointState]:
        """The points that failed."""
        return [point for point in self.points if point.status == "failed"]

    def count(self, *statuses: str) -> int:
        """Number of points that have one of these statuses."""
        return sum(point.status in statuses for point in self.points)

    def horizon(self, number: int) -> Horizon:
        """Return the rounds and the simulated time at which a point stops."""
        return horizon(self._plan.points[number].scenario)

    def _found(self, point: Point) -> str:
        """Status of a point that ended in an earlier sweep in this folder, else pending."""
        folder = self.directory / point.path
        try:
            same = (folder / "scenario.yaml").read_text(encoding="utf-8") == resolved(point.scenario)
            status = str((record(folder) or {}).get("status"))
        except (OSError, UnicodeDecodeError):
            return "pending"
        return status if same and status in ENDED else "pending"

    def _pending(self) -> list[int]:
        return [number for number, point in enumerate(self.points) if point.status == "pending"]

    def _waves(self) -> Iterator[list[int]]:
        """Yield the pending points in two groups that run one after the other.

        Points with equal seeds and equal learning in different networks compute the same values. The first of each such
        set is in the first group, and the others find its results in the cache; together, each would compute them.
        """
        pilots: dict[Any, int] = {}
        pending = self._pending()
        for number in pending:
            scenario = self._plan.points[number].scenario
            seeds = replace_fields(scenario.seeds, network=None)
            pilots.setdefault((scenario.seed, seeds, scenario.learning), number)
        ahead = set(pilots.values())
        yield [number for number in pending if number in ahead]
        yield [number for number in pending if number not in ahead]

    def _task(self, number: int, store: Path | None) -> Task:
        point = self._plan.points[number]
        return Task(number, point.scenario, self.directory / point.path, store, registered())

    def _note(self, outcome: PointOutcome) -> None:
        if outcome.status == "interrupted":  # a signal to a worker is meant for the whole sweep
            raise KeyboardInterrupt
        point = self.points[outcome.number]
        point.status, point.error = outcome.status, outcome.error
        self.operations.update(outcome.operations)
        self._write("running")

    def _write(self, status: str) -> None:
        points = [asdict(point) for point in self.points]
        about = {"name": self.name, "status": status, "set": dict(self._plan.overrides), "points": points}
        with write_errors(self.directory, "sweep"):
            replace(self.directory / "study.yaml", self._plan.text(self.directory))
            replace(self.directory / "sweep.json", json.dumps(about, indent=2) + "\n")


def _check_buildable(points: Sequence[Point]) -> None:
    """Build the world of each setting with one seed; its other seeds differ in draws only.

    Raises:
        ScenarioError: one of them cannot be built.
    """
    for point in {point.label: point for point in reversed(points)}.values():
        try:
            build(without_values(point.scenario))
        except FieldError as error:
            raise point.located(error) from None
        except RunFailed:
            pass  # recorded as a failed point when it is run
