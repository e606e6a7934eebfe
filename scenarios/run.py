"""Running a scenario until its stop criterion holds, and recording its tables and `run.json`."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from traceback import format_exception
from typing import Any

import simpy
import torch

from learning.executor import processor
from learning.executor.allocator import keep_freed_memory
from learning.store import Store
from learning.trained import TrainedModel, model_files
from netsim import deadlock
from netsim.trace import Trace
from scenarios.build import EngineName, build
from scenarios.directory import RunDirectory
from scenarios.errors import RunFailed, ScenarioError, Stalled, one_line, original
from scenarios.progress import Observer, RunningTotals
from scenarios.result import Result, Status
from scenarios.sanity import spans, unasked, warnings, without_users
from scenarios.schema import Scenario, resolved
from scenarios.signals import interruptions
from scenarios.source import DISTRIBUTION, revision, version
from scenarios.watch import BETWEEN_LOOKS, Watch

BETWEEN_TICKS_S = 0.1
"""Minimum wall time between two calls of `Observer.ticked`."""

VERSIONED = {"netsim": DISTRIBUTION, **{name: name for name in ("numpy", "pyarrow", "scipy", "simpy", "torch")}}
"""Packages whose versions `run.json` records, as results may depend on them, and the distributions that they are in."""


def simulate(
    scenario: Scenario,
    out: str | Path | None = None,
    observer: Observer | None = None,
    store: Store | None = None,
    engine: EngineName = "local",
) -> Result:
    """Run a scenario.

    SIGINT or SIGTERM ends the run with status `interrupted`: between two events, or within one that takes more than a
    second; a second signal ends it at once. What was recorded before can be read.

    Args:
        scenario: what to simulate.
        out: folder of the run, which is replaced if it holds an older run; None keeps the tables in memory only.
        observer: receives the progress of the run, and can look at the models while it goes on.
        store: result cache of torch operations. Results that are found there are not computed again, whether they come
            from this run before a crash or from a run in another network. No table depends on it.
        engine: where the processes of `learning.workers` are: on this machine, or on a Ray cluster (`ray`). No table
            depends on it.

    Returns:
        Outcome and tables.

    Raises:
        ScenarioError: the scenario does not fit its data or its limits, or `out` cannot hold a run, or `torch.autocast`
            is on. No older run is touched, unless it is only seen in the first moments of the run that it would exceed
            its limits.
        RunFailed: an error during the run; what was recorded before it can be read.
    """
    check_autocast()
    if scenario.learning is not None:
        keep_freed_memory()
    with one_thread(), unsearched():
        return _Run(scenario, RunDirectory(Path(out)) if out is not None else None, observer, store, engine).result()


class _Run:
    """One run and its record."""

    def __init__(
        self,
        scenario: Scenario,
        directory: RunDirectory | None,
        observer: Observer | None,
        store: Store | None,
        engine: EngineName,
    ) -> None:
        self.scenario, self.directory = scenario, directory
        self.totals, self.events = RunningTotals(), 0
        self.observers: list[Observer] = [self.totals, *([observer] if observer else [])]
        self.begun_s, self.date = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        # rejects what does not fit before an older run is touched
        self.simulation = build(scenario, store, engine=engine)
        self.trace = self.simulation.journal.trace
        self.recorded = spans(scenario)
        self.stepping = False
        """Whether events are being processed: only then may a signal raise KeyboardInterrupt."""

    def result(self) -> Result:
        with interruptions(lambda: self.trace.writing or not self.stepping) as self.interrupted:
            if self.directory is None:
                return self._execute()
            with self.directory.recording(resolved(self.scenario), self._about("running")):
                return self._execute()

    def _execute(self) -> Result:
        try:
            self._open()
            status = self._advance()
            self.simulation.network.record_end()
            models = self._trained(status)
            about = self._record(status, self.trace.close())
        except ScenarioError as error:  # found in the first moments of the run
            self._failure(error)
            raise
        except Exception as error:
            raise self._failure(error) from error
        finally:
            if self.simulation.executor:
                self.simulation.executor.close()
        return Result(
            scenario=self.scenario,
            status=about["status"],
            wall_time_s=about["wall_time_s"],
            reached=self.totals,
            devices_gone=about["devices_gone"],
            operations=about["operations"],
            events=self.events,
            tables=about["tables"],
            warnings=about["warnings"],
            directory=self.directory.path if self.directory else None,
            _trace=self.trace,
            _models=models,
        )

    def _trained(self, status: Status) -> Sequence[TrainedModel]:
        """The models that training has left, written to the folder of the run; none if it was interrupted."""
        learning = self.scenario.learning
        if learning is None or status == "interrupted":
            return ()
        models = self.simulation.trained()
        if self.directory and learning.save_model:
            for name, content in model_files(models):
                self.directory.write_model(name, content)
        return models

    def _open(self) -> None:
        self.trace = Trace(self.directory.traces if self.directory else None, self.scenario.trace.tables)
        self.simulation.record_in(self.trace)
        self.simulation.journal.observers.extend(self.observers)
        for observer in self.observers:
            observer.began(self.simulation.trained)

    def _advance(self) -> Status:
        """Process events until the scheme ends or a signal arrives, and return how the run ended."""
        env, process = self.simulation.env, self.simulation.process
        ended = env.process(process) if process else env.timeout(0)
        watch = Watch(self.scenario, self.simulation.network, self.totals)
        next_tick_s, latest_s = 0.0, self.scenario.limits.simulated_time_s
        try:
            self.stepping = True
            while not (ended.processed or self.interrupted()):
                if latest_s < env.peek() < inf:
                    raise watch.too_late()
                env.step()
                self.events += 1
                if self.events % BETWEEN_LOOKS == 0:
                    watch.look()
                if time.monotonic() >= next_tick_s:
                    next_tick_s = time.monotonic() + BETWEEN_TICKS_S
                    for observer in self.observers:
                        observer.ticked(env.now)
        except simpy.core.EmptySchedule:
            raise Stalled(deadlock.describe(env)) from None
        except KeyboardInterrupt:
            return "interrupted"
        finally:
            self.stepping = False
        if not ended.processed:
            return "interrupted"
        return "diverged" if self._diverged else "complete"

    @property
    def _diverged(self) -> bool:
        """Whether the run stopped because its loss is not finite any more."""
        learning = self.scenario.learning
        stops = learning is not None and learning.stop.on_divergence == "stop"
        return stops and self.totals.not_finite_from is not None

    def _failure(self, error: Exception) -> RunFailed:
        """Record a failure as far as that is still possible, and return the exception that reports it."""
        what, number = one_line(error), self.simulation.journal.round
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
        """Write `run.json` at the end of the run, and return its content."""
        self.totals.time_s = self.simulation.env.now
        about = {**self._about(status), "tables": tables, **more}
        if self.directory:
            self.directory.write(about)
        return about

    def _warnings(self) -> list[str]:
        absent = without_users(self.scenario, self.totals, self.simulation.network.gone)
        return [*unasked(self.scenario), *warnings(self.recorded, self.totals.time_s), *absent]

    def _about(self, status: Status) -> dict[str, Any]:
        """Content of `run.json`, without tables."""
        executor = self.simulation.executor
        return {
            "name": self.scenario.name,
            "seed": self.scenario.seed,
            "status": status,
            "date": self.date,
            "revision": revision(),
            "versions": {
                "python": platform.python_version(),
                **{name: version(package) for name, package in VERSIONED.items()},
            },
            "processor": {"name": processor.name(), **processor.arithmetic()},
            "wall_time_s": round(time.monotonic() - self.begun_s, 3),
            "simulated_time_s": self.totals.time_s,
            "rounds": self.totals.rounds,
            "devices_gone": self.simulation.network.gone,
            "warnings": self._warnings() if status in ("complete", "diverged") else [],
            "operations": {
                "asked": executor.asked if executor else 0,
                "run": executor.run if executor else 0,
                "stored": executor.stored if executor else 0,
            },
            "tables": {},
        }


@contextmanager
def unsearched() -> Iterator[None]:
    """Context in which the garbage collector does not search the objects that exist before it, such as torch's.

    They are some hundred thousand, and stay.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def check_autocast() -> None:
    """Raise ScenarioError in a context of `torch.autocast`: results, also cached ones, would depend on the caller."""
    if on := [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]:
        raise ScenarioError(
            f"simulate: torch.autocast({on[0]!r}) is on, which would change values and no cost; call it outside, and "
            "send numbers of 16 bits by the codec cast, as in models: {upload: cast} of fedavg"
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Context in which torch uses one thread: results then depend on neither the machine nor its environment."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with suppress(RuntimeError):  # too late where parallel work was done before; operations do not use it here
        torch.set_num_interop_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
