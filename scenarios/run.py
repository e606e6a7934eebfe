"""Running a scenario: simulated time goes on until its learning stops, and everything is written down."""

from __future__ import annotations

import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from traceback import format_exception
from types import FrameType
from typing import Any, Literal

import pyarrow as pa
import simpy
import torch

from learning.store import Store
from netsim import deadlock
from netsim.trace import Trace
from scenarios.build import build
from scenarios.directory import RunDirectory
from scenarios.errors import RunFailed, Stalled, original, told
from scenarios.progress import Observer, Tally
from scenarios.sanity import spans, warnings
from scenarios.schema import Scenario, resolved

BETWEEN_TICKS_S = 0.1
"""Wall seconds between two reports of the simulated time."""

VERSIONED = ("netsim", "numpy", "pyarrow", "scipy", "simpy", "torch")
"""Packages on which numbers depend."""

Status = Literal["running", "complete", "diverged", "stalled", "failed", "interrupted"]


@dataclass(frozen=True)
class Result:
    """How a run ended, and its tables."""

    scenario: Scenario
    status: Status
    wall_time_s: float
    reached: Tally
    """Rounds, simulated time, bits, energy, and latest metrics."""
    devices_gone: int
    """Devices that will never return; a run ends early where all are."""
    operations: Mapping[str, int]
    """Operations of learning: asked for, run, and found in a store."""
    tables: Mapping[str, Any]
    """Rows and content hash of each table."""
    warnings: Sequence[str]
    """What the scenario says and hardly means, in sentences."""
    directory: Path | None
    _trace: Trace = field(repr=False)

    @property
    def accuracy(self) -> float | None:
        """Test accuracy at the last evaluation, if values were computed."""
        return self.reached.metrics.get("accuracy")

    @property
    def simulated_time_s(self) -> float:
        """When the run ended."""
        return self.reached.time_s

    def table(self, name: str) -> pa.Table:
        """One table of the trace."""
        return self._trace.frame(name)


def simulate(
    scenario: Scenario, out: str | Path | None = None, observer: Observer | None = None, store: Store | None = None
) -> Result:
    """Run a scenario, and record it in the folder `out` if one is given.

    What is learned is kept in `store`, if any, and what is found there is not computed again: not by this run after a
    crash, nor by another one in another network. No table depends on it.

    SIGINT or SIGTERM ends the run between two events with status `interrupted`; a second one ends it at once.

    Raises:
        ScenarioError: the scenario does not fit its data, or `out` cannot hold a run; no older run is touched.
        RunFailed: an error on the way; what was recorded so far is readable.
    """
    with one_thread():
        return _Run(scenario, RunDirectory(Path(out)) if out is not None else None, observer, store).result()


class _Run:
    """One run and its record."""

    def __init__(
        self, scenario: Scenario, directory: RunDirectory | None, observer: Observer | None, store: Store | None
    ) -> None:
        self.scenario, self.directory = scenario, directory
        self.tally = Tally()
        self.observers: list[Observer] = [self.tally, *([observer] if observer else [])]
        self.begun_s = time.monotonic()
        self.simulation = build(scenario, store)  # refuses what does not fit before an older run is touched
        self.trace = self.simulation.journal.trace
        self.recorded = spans(scenario)

    def result(self) -> Result:
        if self.directory is None:
            return self._carried_out()
        with self.directory.recording(resolved(self.scenario), self._about("running")):
            return self._carried_out()

    def _carried_out(self) -> Result:
        try:
            self._open()
            status = self._advance()
            self.simulation.network.record_end()
            about = self._record(status, self.trace.close())
        except Exception as error:
            raise self._failure(error) from error
        return Result(
            scenario=self.scenario,
            status=about["status"],
            wall_time_s=about["wall_time_s"],
            reached=self.tally,
            devices_gone=about["devices_gone"],
            operations=about["operations"],
            tables=about["tables"],
            warnings=about["warnings"],
            directory=self.directory.path if self.directory else None,
            _trace=self.trace,
        )

    def _open(self) -> None:
        self.trace = Trace(self.directory.traces if self.directory else None, self.scenario.trace.tables)
        self.simulation.record_in(self.trace)
        self.simulation.journal.observers.extend(self.observers)

    def _advance(self) -> Status:
        """Step from event to event until the scheme has ended, or somebody interrupts; returns how it ended."""
        env, process = self.simulation.env, self.simulation.process
        ended = env.process(process) if process else env.timeout(0)
        next_tick_s = 0.0
        try:
            with interruptions() as interrupted:
                while not (ended.processed or interrupted()):
                    env.step()
                    if time.monotonic() >= next_tick_s:
                        next_tick_s = time.monotonic() + BETWEEN_TICKS_S
                        for observer in self.observers:
                            observer.ticked(env.now)
        except simpy.core.EmptySchedule:
            raise Stalled(deadlock.describe(env)) from None
        except KeyboardInterrupt:
            return "interrupted"
        if not ended.processed:
            return "interrupted"
        return "diverged" if self._diverged else "complete"

    @property
    def _diverged(self) -> bool:
        """Whether the scenario asks to stop where the loss is not finite any more, and it is not."""
        learning = self.scenario.learning
        stops = learning is not None and learning.stop.on_divergence == "stop"
        return stops and self.tally.not_finite_from is not None

    def _failure(self, error: Exception) -> RunFailed:
        """Record a failure, as far as that is still possible, and say it in one sentence."""
        what, number = told(error), self.simulation.journal.round
        in_round = f" in round {number}" if number >= 0 else ""
        where = f"at simulated time {self.simulation.env.now:.6g} s{in_round}"
        tables: Mapping[str, Any] = {}
        with suppress(OSError):  # a full disk may be what failed in the first place
            tables = self.trace.close()
        with suppress(OSError):
            status: Status = "stalled" if isinstance(original(error), Stalled) else "failed"
            self._record(status, tables, error=what, traceback="".join(format_exception(original(error))))
        left = f"; the traces so far are in {self.directory.traces}" if self.directory else ""
        return RunFailed(f"failed {where}: {what}{left}")

    def _record(self, status: Status, tables: Mapping[str, Any], **more: str) -> dict[str, Any]:
        """Write how the run ended."""
        self.tally.time_s = self.simulation.env.now
        about = {**self._about(status), "tables": tables, **more}
        if self.directory:
            self.directory.write(about)
        return about

    def _about(self, status: Status) -> dict[str, Any]:
        """What run.json says."""
        executor = self.simulation.executor
        return {
            "name": self.scenario.name,
            "seed": self.scenario.seed,
            "status": status,
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in VERSIONED}},
            "wall_time_s": round(time.monotonic() - self.begun_s, 3),
            "simulated_time_s": self.tally.time_s,
            "rounds": self.tally.rounds,
            "devices_gone": self.simulation.network.gone,
            "warnings": warnings(self.recorded, self.tally.time_s) if status in ("complete", "diverged") else [],
            "operations": {
                "asked": executor.asked if executor else 0,
                "run": executor.run if executor else 0,
                "stored": executor.stored if executor else 0,
            },
            "tables": {},
        }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"  # runs from its source folder


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: results then depend neither on the machine's cores nor on its environment."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with suppress(RuntimeError):  # too late where parallel work was done before; operations do not use it here
        torch.set_num_interop_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def interruptions() -> Iterator[Callable[[], bool]]:
    """Tells whether SIGINT or SIGTERM has come; a second signal raises KeyboardInterrupt.

    Only the main thread gets signals; elsewhere the answer is always no.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
