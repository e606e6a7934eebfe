"""Engines that run the points of a sweep: worker processes on this machine, or a Ray cluster."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import warnings
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import joblib
from joblib.externals.loky import get_reusable_executor

from learning.executor.remote import connect, ray_package
from scenarios.directory import record
from scenarios.errors import BrokenPlugIn, RunFailed, ScenarioError
from scenarios.families import Registration, register
from scenarios.progress import RunningTotals
from scenarios.run import simulate
from scenarios.schema import Scenario
from scenarios.signals import end_after
from scenarios.storage import opened


@dataclass(frozen=True)
class Task:
    """A point of a sweep that is to be run."""

    number: int
    """Index of the point in its sweep."""
    scenario: Scenario
    folder: Path
    """Folder of the run."""
    store: Path | None
    """Folder of the result cache; None disables it."""
    registered: Sequence[Registration] = ()
    """Parts that were registered in the process of the sweep, to be registered in the worker."""
    driver: int | None = None
    """Process id of the sweep that started the worker on this machine; None for a worker elsewhere."""

    @property
    def orphaned(self) -> bool:
        """True if the process of the sweep has died, so that the outcome of this task cannot be received."""
        return self.driver not in (None, os.getpid(), os.getppid())


@dataclass(frozen=True)
class PointOutcome:
    """Outcome of a point."""

    number: int
    """Index of the point in its sweep."""
    status: str
    """complete, diverged, failed or interrupted."""
    error: str | None = None
    """One sentence, for a point that failed."""
    reached: RunningTotals | None = None
    """Totals of the run; None if it failed."""
    operations: Mapping[str, int] = field(default_factory=dict)
    """Number of torch operations that were `asked` (requested), `run` (executed) and `stored` (found in the cache)."""
    wall_time_s: float = 0.0
    notes: Sequence[str] = ()
    """Messages about the result cache, and warnings of the run."""


Outcomes = Generator[PointOutcome, None, None]
"""Outcomes in the order in which points end; closing the generator stops the points that are still running."""


class Engine(Protocol):
    """Runs tasks, several at a time."""

    def __init__(self, jobs: int | None) -> None:
        """`jobs` is the number of tasks that run at a time; None leaves it to the engine."""
        ...

    def run(self, tasks: Sequence[Task]) -> Outcomes:
        """Run tasks and yield their outcomes."""
        ...

    def close(self) -> None:
        """End the workers, which are kept between calls of `run`."""
        ...


def perform(task: Task) -> PointOutcome:
    """Run a point. An error is its outcome and does not stop other points."""
    notes: list[str] = []
    warnings.simplefilter("ignore", BrokenPlugIn)  # the process of the sweep has given the warning
    for each in task.registered:
        register(*each)
    try:
        with opened(task.store, notes.append) as store:
            result = simulate(task.scenario, task.folder, store=store)
    except (ScenarioError, RunFailed) as error:
        return PointOutcome(task.number, "failed", str(error), notes=notes)
    return PointOutcome(
        task.number,
        result.status,
        reached=result.reached,
        operations=result.operations,
        wall_time_s=result.wall_time_s,
        notes=[*notes, *(f"warning: {sentence}" for sentence in result.warnings)],
    )


def work(task: Task) -> PointOutcome:
    """Run a point in a worker process, which ends when the process of its sweep ends."""
    if task.driver is not None and task.driver not in (os.getpid(), *_WATCHED):
        _WATCHED.append(task.driver)
        threading.Thread(target=end_after, args=(task.driver,), daemon=True).start()
    outcome = None if task.orphaned else perform(task)
    if outcome is None or task.orphaned:
        os._exit(1)
    return outcome


_WATCHED: list[int] = []
"""Process ids of the sweeps whose end is awaited by a thread of this worker."""


class LocalEngine:
    """Worker processes on this machine."""

    def __init__(self, jobs: int | None) -> None:
        """`jobs` is the number of worker processes (default: one per core)."""
        self.jobs = jobs or joblib.cpu_count()

    def run(self, tasks: Sequence[Task]) -> Outcomes:
        """Run tasks and yield their outcomes.

        If a worker process dies, for instance killed by the system for its memory, the whole pool is lost, and the task
        at fault is unknown. Each task that was running is then run again in a pool of its own; if its worker dies
        again, the task has failed.
        """
        left = {task.number: task for task in tasks}
        try:
            for outcome in _pool(tasks, self.jobs):
                del left[outcome.number]
                yield outcome
        except BrokenProcessPool:
            begun = [task for task in left.values() if (record(task.folder) or {}).get("status") == "running"]
            for task in begun or list(left.values()):
                yield _alone(left.pop(task.number))
            yield from self.run(list(left.values()))

    def close(self) -> None:
        """End the worker processes."""
        if self.jobs > 1:  # else tasks ran in this process
            get_reusable_executor().shutdown(kill_workers=True)


class RayEngine:
    """The Ray cluster named by RAY_ADDRESS, else one on this machine. All its machines must share the folders used."""

    def __init__(self, jobs: int | None) -> None:
        """`jobs` is the number of cores of a cluster on this machine (default: all).

        Raises:
            ScenarioError: Ray is not installed.
        """
        try:
            self.ray = ray_package()
        except ValueError as missing:
            raise ScenarioError(f"netsim: {missing}") from None
        self.jobs = jobs

    def run(self, tasks: Sequence[Task]) -> Outcomes:
        """Run each task as a Ray task on one core, and yield the outcomes."""
        ray = self.ray
        connect(ray, self.jobs)
        remote = ray.remote(max_retries=0)(perform_packed)
        packed = {task.number: ray.cloudpickle.dumps(_absolute(task)) for task in tasks}
        numbers = {remote.remote(tuple(sys.path), task): number for number, task in packed.items()}
        while numbers:
            (done,), _ = ray.wait(list(numbers), num_returns=1)
            number = numbers.pop(done)
            try:
                yield ray.get(done)
            except ray.exceptions.RayError as error:
                yield PointOutcome(number, "failed", f"its Ray task failed: {' '.join(str(error).split())}")

    def close(self) -> None:
        """Disconnect from the cluster, and end it if it was started here."""
        self.ray.shutdown()


def perform_packed(folders: Sequence[str], packed: bytes) -> PointOutcome:
    """Run a pickled task in a process that is to find modules in the same `folders` as the process of the sweep.

    Pickled by the sweep itself: Ray would unpickle the task before those folders are known.
    """
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    task: Task = pickle.loads(packed)
    return perform(task)


def _absolute(task: Task) -> Task:
    """Make the paths of a task absolute, for a worker with another working directory."""
    return replace(task, folder=task.folder.absolute(), store=task.store and task.store.absolute())


def _pool(tasks: Sequence[Task], jobs: int) -> Outcomes:
    pool = joblib.Parallel(n_jobs=jobs, backend="loky", batch_size=1, max_nbytes=None, return_as="generator_unordered")
    yield from pool(joblib.delayed(work)(replace(task, driver=os.getpid())) for task in tasks)


def _alone(task: Task) -> PointOutcome:
    try:
        return next(_pool([task], jobs=2))  # joblib runs a single job in this process
    except BrokenProcessPool:
        return PointOutcome(task.number, "failed", "its process died; did the machine run out of memory?")


ENGINES: dict[str, type[Engine]] = {"local": LocalEngine, "ray": RayEngine}
"""Engines by the name that `--engine` takes."""
