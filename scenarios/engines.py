"""Who works on the points of a sweep: worker processes of this machine, or a Ray cluster."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import threading
import warnings
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import joblib
from joblib.externals.loky import get_reusable_executor

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
    """A point to run."""

    number: int
    """Of the point in its sweep."""
    scenario: Scenario
    folder: Path
    store: Path | None
    registered: Sequence[Registration] = ()
    """Parts that the process that runs the sweep has given names."""
    driver: int | None = None
    """The process that runs the sweep, and started this worker on the same machine."""

    @property
    def orphaned(self) -> bool:
        """Whether the sweep has died: nobody is left to hear of this task, and the next sweep wants its folder."""
        return self.driver not in (None, os.getpid(), os.getppid())


@dataclass(frozen=True)
class Outcome:
    """How a point ended."""

    number: int
    status: str
    """complete, diverged, failed or interrupted."""
    error: str | None = None
    reached: RunningTotals | None = None
    operations: Mapping[str, int] = field(default_factory=dict)
    wall_time_s: float = 0.0
    notes: Sequence[str] = ()
    """What the store said, and warnings of the run."""


Outcomes = Generator[Outcome, None, None]
"""As they come; to close it is to stop what is still going on."""


class Engine(Protocol):
    """Runs tasks."""

    def __init__(self, jobs: int | None) -> None: ...

    def run(self, tasks: Sequence[Task]) -> Outcomes:
        """Run them, several at a time."""
        ...

    def close(self) -> None:
        """End the workers, which stay at hand between one `run` and the next."""
        ...


def perform(task: Task) -> Outcome:
    """Run a point; what goes wrong is its outcome and stops no other."""
    notes: list[str] = []
    warnings.simplefilter("ignore", BrokenPlugIn)  # the process of the sweep has given the warning
    for each in task.registered:
        register(*each)
    try:
        with opened(task.store, notes.append) as store:
            result = simulate(task.scenario, task.folder, store=store)
    except (ScenarioError, RunFailed) as error:
        return Outcome(task.number, "failed", str(error), notes=notes)
    return Outcome(
        task.number,
        result.status,
        reached=result.reached,
        operations=result.operations,
        wall_time_s=result.wall_time_s,
        notes=[*notes, *(f"warning: {sentence}" for sentence in result.warnings)],
    )


def work(task: Task) -> Outcome:
    """Run a point in a worker process, which does not outlive its sweep, with work or without."""
    if task.driver is not None and task.driver not in (os.getpid(), *_WATCHED):
        _WATCHED.append(task.driver)
        threading.Thread(target=end_after, args=(task.driver,), daemon=True).start()
    outcome = None if task.orphaned else perform(task)
    if outcome is None or task.orphaned:
        os._exit(1)
    return outcome


_WATCHED: list[int] = []
"""Sweeps with which this worker process ends."""


class Local:
    """Worker processes on this machine."""

    def __init__(self, jobs: int | None) -> None:
        """So many workers, by default one for each core."""
        self.jobs = jobs or joblib.cpu_count()

    def run(self, tasks: Sequence[Task]) -> Outcomes:
        """When a worker dies, killed for its memory perhaps, all are lost, and nobody knows which task was to blame.

        Each one that had begun runs again in a pool of its own, where another death is its failure.
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
        if self.jobs > 1:  # else there was no process but this one
            get_reusable_executor().shutdown(kill_workers=True)


class Ray:
    """The Ray cluster that RAY_ADDRESS names, else one on this machine. All its machines see the same folders."""

    def __init__(self, jobs: int | None) -> None:
        """`jobs` is the number of cores of a cluster on this machine.

        Raises:
            ScenarioError: Ray is not installed.
        """
        try:
            self.ray: Any = import_module("ray")
        except ImportError:
            raise ScenarioError("netsim: --engine ray needs the package ray; install netsim-learning[ray]") from None
        self.jobs = jobs

    def run(self, tasks: Sequence[Task]) -> Outcomes:
        """A Ray task for each, of one core."""
        ray = self.ray
        if not ray.is_initialized():
            cores = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": self.jobs}
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False, **cores)
        remote = ray.remote(max_retries=0)(perform_packed)
        packed = {task.number: ray.cloudpickle.dumps(_absolute(task)) for task in tasks}
        numbers = {remote.remote(tuple(sys.path), task): number for number, task in packed.items()}
        while numbers:
            (done,), _ = ray.wait(list(numbers), num_returns=1)
            number = numbers.pop(done)
            try:
                yield ray.get(done)
            except ray.exceptions.RayError as error:
                yield Outcome(number, "failed", f"its Ray task failed: {' '.join(str(error).split())}")

    def close(self) -> None:
        self.ray.shutdown()


def perform_packed(folders: Sequence[str], packed: bytes) -> Outcome:
    """Run a pickled task in a process that is to find modules in the same `folders` as the process of the sweep.

    Pickled by the sweep itself: Ray would unpickle the task before those folders are known.
    """
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    task: Task = pickle.loads(packed)
    return perform(task)


def _absolute(task: Task) -> Task:
    """For a worker with another working directory."""
    return replace(task, folder=task.folder.absolute(), store=task.store and task.store.absolute())


def _pool(tasks: Sequence[Task], jobs: int) -> Outcomes:
    pool = joblib.Parallel(n_jobs=jobs, backend="loky", batch_size=1, max_nbytes=None, return_as="generator_unordered")
    yield from pool(joblib.delayed(work)(replace(task, driver=os.getpid())) for task in tasks)


def _alone(task: Task) -> Outcome:
    try:
        return next(_pool([task], jobs=2))  # with one job there would be no process but this one
    except BrokenProcessPool:
        return Outcome(task.number, "failed", "its process died; did the machine run out of memory?")


ENGINES: dict[str, type[Engine]] = {"local": Local, "ray": Ray}
"""Names after `--engine`."""
