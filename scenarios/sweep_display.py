"""Progress of a sweep: a live table of its settings on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType

from pyarrow import ArrowInvalid, parquet
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from scenarios.directory import record
from scenarios.engines import PointOutcome
from scenarios.progress import Pace, to_go
from scenarios.sweep import PointState, SweepRunner

COLOURS = {"running": "cyan", "failed": "red", "pending": "dim", "diverged": "magenta", "complete": "green"}
"""Colour of each status, in the order in which statuses are shown."""


class SweepDisplay:
    """A `SweepObserver` that shows the points of a sweep on a console. Use it with `with`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._sweep: SweepRunner | None = None
        self._printed: set[str] = set()
        self._todo: Sequence[int] = ()
        """Numbers of the points that had not ended at the beginning."""
        self._pace = Pace()
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=2, transient=True)

    def __enter__(self) -> SweepDisplay:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def begun(self, sweep: SweepRunner) -> None:
        """Show the points, and print how many of them ended in an earlier sweep."""
        self._sweep = sweep
        self._todo = [number for number, point in enumerate(sweep.points) if point.status == "pending"]
        if sweep.skipped:
            self._print_line(f"{sweep.name}: {sweep.skipped} of {len(sweep.points)} points have ended already")

    def ended(self, state: PointState, outcome: PointOutcome) -> None:
        """Print new notes of an outcome and, without a terminal, a line about it."""
        for note in outcome.notes:
            if note not in self._printed:
                self._printed.add(note)
                self._console.print(note, soft_wrap=True, highlight=False, markup=False)
        assert self._sweep is not None
        left = self._to_go(self._reached(self._statuses()))
        done = f"{len(self._sweep.points) - self._sweep.count('pending')}/{len(self._sweep.points)}"
        reached = f": {outcome.reached}, {outcome.wall_time_s:.1f} s of wall time" if outcome.reached else ""
        self._print_line(f"{self._sweep.name}: {done} {state.label}, seed {state.seed}, {state.status}{reached}{left}")

    def _print_line(self, line: str) -> None:
        if not self._console.is_terminal:
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def _picture(self) -> Group:
        """Table of the settings below a line of totals; if there is no room for all, without complete settings.

        A point that is running has the number of rounds that its tables have, which are written every few seconds.
        """
        if self._sweep is None:
            return Group(Text("setting up"))
        rows: dict[str, Counter[str]] = {}
        running: dict[str, list[str]] = {}
        statuses = self._statuses()
        reached = self._reached(statuses)
        for number, (point, status) in enumerate(zip(self._sweep.points, statuses, strict=True)):
            rows.setdefault(point.label, Counter())[status] += 1
            if number in reached:
                rounds, time_s = reached[number]
                of = f"/{limit}" if (limit := self._sweep.horizon(number).rounds) else ""
                running.setdefault(point.label, []).append(f"seed {point.seed}: round {rounds}{of}, {time_s:.4g} s")
        total = sum(rows.values(), Counter[str]())
        room = max(1, self._console.height - 4)
        if len(rows) > room:
            rows = {label: count for label, count in rows.items() if set(count) != {"complete"}}
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for label, count in list(rows.items())[:room]:
            table.add_row(Text(label), _words(count), Text("; ".join(running.get(label, ()))))
        left = self._to_go(reached)
        return Group(Text(f"{self._sweep.name}: ") + _words(total) + Text(left), table)

    def _statuses(self) -> list[str]:
        """Status of each point; that of a pending one is read from its folder, since it may be running."""
        assert self._sweep is not None
        found = []
        for point in self._sweep.points:
            pending = point.status == "pending"
            about = (record(self._sweep.directory / point.path) or {}) if pending else {}
            found.append("running" if about.get("status") == "running" else point.status)
        return found

    def _reached(self, statuses: Sequence[str]) -> dict[int, tuple[int, float]]:
        """Rounds and simulated time that running points have reached, by number of the point, if their tables say so.

        Args:
            statuses: status of each point.
        """
        assert self._sweep is not None
        found = {}
        for number, status in enumerate(statuses):
            folder = self._sweep.directory / self._sweep.points[number].path
            if status == "running" and (latest := latest_round(folder)):
                found[number] = latest
        return found

    def _to_go(self, reached: Mapping[int, tuple[int, float]]) -> str:
        return to_go(self._pace.left_s(self._share(reached), time.monotonic()))

    def _share(self, reached: Mapping[int, tuple[int, float]]) -> float:
        """Completed share of the points to do. Each counts by its number of rounds, or like all if one stops by none.

        Args:
            reached: rounds and simulated time of running points by number.
        """
        assert self._sweep is not None
        horizons = {number: self._sweep.horizon(number) for number in self._todo}
        rounds = [each.rounds for each in horizons.values() if each.rounds]
        weights = rounds if len(rounds) == len(horizons) else [1] * len(horizons)
        complete = 0.0
        for weight, (number, horizon) in zip(weights, horizons.items(), strict=True):
            ended = self._sweep.points[number].status != "pending"
            complete += weight * (1.0 if ended else horizon.share(*reached.get(number, (0, 0.0))))
        return complete / (sum(weights) or 1)


def latest_round(folder: Path) -> tuple[int, float] | None:
    """Return number of rounds and simulated time that the tables in the folder of a run have; None without a round."""
    for part in sorted((folder / "traces" / "rounds").glob("part-*.parquet"), reverse=True):
        try:
            latest = _latest_of(part, part.stat().st_mtime_ns)
        except (OSError, ArrowInvalid):  # the run has just ended, and merged its parts
            continue
        if latest:
            return latest
    return None


@lru_cache(maxsize=1024)
def _latest_of(part: Path, changed_ns: int) -> tuple[int, float] | None:
    """The same of one part, which is read again only when it has changed at another time."""
    rows = parquet.read_table(part, columns=["round", "end_s"], partitioning=None).to_pylist()
    return (rows[-1]["round"] + 1, rows[-1]["end_s"]) if rows else None


def _words(count: Mapping[str, int]) -> Text:
    return Text(", ").join(
        Text(f"{count[status]} {status}", style=colour) for status, colour in COLOURS.items() if count.get(status)
    )
