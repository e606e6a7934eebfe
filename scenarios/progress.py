"""What a run shows while it goes on: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from math import inf, isfinite
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

BETWEEN_LINES_S = 2.0
"""Wall seconds between plain lines."""


class Observer(Protocol):
    """Told what happens while a scenario is simulated."""

    def ticked(self, time_s: float) -> None:
        """Simulated time has come to `time_s`; called a few times a wall second."""
        ...

    def round_ended(self, row: Mapping[str, Any]) -> None:
        """A row of the table `rounds`."""
        ...

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """A row of the table `evaluations`."""
        ...

    def requested(self, row: Mapping[str, Any]) -> None:
        """A row of the table `requests`."""
        ...


class Tally:
    """What has been reached so far: rounds, simulated time, bits, energy, latest metrics; requests by outcome."""

    def __init__(self) -> None:
        self.rounds = 0
        self.time_s = 0.0
        self.uplink_bits = 0.0
        self.downlink_bits = 0.0
        self.energy_j = 0.0
        self.dropped = 0
        self.metrics: dict[str, float] = {}
        self.not_finite_from: int | None = None
        """Round of the first evaluation since which the test loss has been infinite or not a number."""
        self.requests: Counter[str] = Counter()
        self.latencies_s: list[float] = []

    def ticked(self, time_s: float) -> None:
        self.time_s = time_s

    def round_ended(self, row: Mapping[str, Any]) -> None:
        self.rounds += 1
        self.time_s = row["end_s"]
        self.uplink_bits += row["uplink_bits"]
        self.downlink_bits += row["downlink_bits"]
        self.energy_j += row["energy_j"]
        self.dropped += row["dropped"]

    def evaluated(self, row: Mapping[str, Any]) -> None:
        if row["value"] is not None:
            self.metrics[row["metric"]] = row["value"]
            if (row["split"], row["metric"]) == ("test", "loss"):
                self._look_at_loss(row["round"], row["value"])

    def _look_at_loss(self, number: int, loss: float) -> None:
        if isfinite(loss):
            self.not_finite_from = None
        elif self.not_finite_from is None:
            self.not_finite_from = number

    @property
    def divergence(self) -> str:
        """Since when the loss has not been finite, in words; empty while it is."""
        return "" if self.not_finite_from is None else f"loss not finite from round {self.not_finite_from} on"

    def requested(self, row: Mapping[str, Any]) -> None:
        self.requests[row["outcome"]] += 1
        if row["outcome"] == "served":
            self.latencies_s.append(row["latency_s"])

    def __str__(self) -> str:
        accuracy = f", accuracy {self.metrics['accuracy']:.3f}" if "accuracy" in self.metrics else ""
        requests = f", {self.requests.total()} requests" if self.requests else ""
        diverged = f", {self.divergence}" if self.divergence else ""
        return f"simulated time {self.time_s:.4g} s{accuracy}, energy {self.energy_j:.4g} J{requests}{diverged}"


class Display(Tally):
    """Shows a tally as it grows, with the wall time that is left. Use it in a `with` statement."""

    def __init__(self, console: Console, name: str, rounds: int | None, time_s: float | None) -> None:
        """`rounds` and `time_s` are the stop criteria, where given."""
        super().__init__()
        self._console, self._name = console, name
        self._max_rounds, self._max_time_s = rounds, time_s
        self._begun = self._shown = time.monotonic()
        self._bar = Progress(
            TextColumn(name),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("setting up", total=None)

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    @property
    def share(self) -> float:
        """How much of the run is done, as far as its stop criteria tell."""
        by_rounds = self.rounds / (self._max_rounds or inf)
        return min(1.0, max(by_rounds, self.time_s / (self._max_time_s or inf)))

    def ticked(self, time_s: float) -> None:
        super().ticked(time_s)
        self._show()

    def round_ended(self, row: Mapping[str, Any]) -> None:
        super().round_ended(row)
        self._show()

    def _show(self) -> None:
        of = f"/{self._max_rounds}" if self._max_rounds else ""
        text = f"round {self.rounds}{of}, {self}"
        if self._console.is_terminal:
            total = 1.0 if self.share else None
            self._bar.update(self._task, description=text, completed=self.share, total=total)
        elif (now := time.monotonic()) - self._shown >= BETWEEN_LINES_S:
            self._shown = now
            left = f", about {(now - self._begun) * (1 / self.share - 1):.0f} s to go" if self.share else ""
            self._console.print(f"{self._name}: {text}{left}", soft_wrap=True, highlight=False)
