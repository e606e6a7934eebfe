"""Progress of a sweep: a live table of its settings on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from pyarrow import ArrowInvalid, parquet
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from scenarios.directory import record
from scenarios.engines import PointOutcome
from scenarios.sweep import PointState, SweepRunner

COLOURS = {"running": "cyan", "failed": "red", "pending": "dim", "diverged": "magenta", "complete": "green"}
"""Colour of each status, in the order in which statuses are shown."""


class SweepDisplay:
    """A `SweepObserver` that shows the points of a sweep on a console. Use it with `with`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._sweep: SweepRunner | None = None
        self._printed: set[str] = set()
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
        if sweep.skipped:
            self._print_line(f"{sweep.name}: {sweep.skipped} of {len(sweep.points)} points have ended already")

    def ended(self, state: PointState, outcome: PointOutcome) -> None:
        """Print new notes of an outcome and, without a terminal, a line about it."""
        for note in outcome.notes:
            if note not in self._printed:
                self._printed.add(note)
                self._console.print(note, soft_wrap=True, highlight=False, markup=False)
        assert self._sweep is not None
        done = f"{len(self._sweep.points) - self._sweep.count('pending')}/{len(self._sweep.points)}"
        reached = f": {outcome.reached}, {outcome.wall_time_s:.1f} s of wall time" if outcome.reached else ""
        self._print_line(f"{self._sweep.name}: {done} {state.label}, seed {state.seed}, {state.status}{reached}")

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
        for number, point in enumerate(self._sweep.points):
            status = self._status(point)
            rows.setdefault(point.label, Counter())[status] += 1
            if status == "running" and (reached := latest_round(self._sweep.directory / point.path)):
                of = f"/{rounds}" if (rounds := self._sweep.max_rounds(number)) else ""
                progress = f"seed {point.seed}: round {reached[0]}{of}, {reached[1]:.4g} s"
                running.setdefault(point.label, []).append(progress)
        total = sum(rows.values(), Counter[str]())
        room = max(1, self._console.height - 4)
        if len(rows) > room:
            rows = {label: count for label, count in rows.items() if set(count) != {"complete"}}
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for label, count in list(rows.items())[:room]:
            table.add_row(Text(label), _words(count), Text("; ".join(running.get(label, ()))))
        return Group(Text(f"{self._sweep.name}: ") + _words(total), table)

    def _status(self, point: PointState) -> str:
        """Status of a point; that of a pending one is read from its folder, since it may be running."""
        assert self._sweep is not None
        if point.status == "pending" and (record(self._sweep.directory / point.path) or {}).get("status") == "running":
            return "running"
        return point.status


def latest_round(folder: Path) -> tuple[int, float] | None:
    """Return number of rounds and simulated time that the tables in the folder of a run have; None without a round."""
    for part in sorted((folder / "traces" / "rounds").glob("part-*.parquet"), reverse=True):
        try:
            rows = parquet.read_table(part, columns=["round", "end_s"], partitioning=None).to_pylist()
        except (OSError, ArrowInvalid):  # the run has just ended, and merged its parts
            continue
        if rows:
            return rows[-1]["round"] + 1, rows[-1]["end_s"]
    return None


def _words(count: Mapping[str, int]) -> Text:
    return Text(", ").join(
        Text(f"{count[status]} {status}", style=colour) for status, colour in COLOURS.items() if count.get(status)
    )
