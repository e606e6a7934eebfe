"""Progress of a run: running totals, and their display as a live line on a terminal or as plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from learning.trained import TrainedModel
    from scenarios.schema import Scenario

BETWEEN_LINES_S = 2.0
"""Minimum wall time between two plain lines."""

LONG = ((3600.0, "h"), (60.0, "min"))
"""Units for times that are at least two of them, in s."""

OF_RUN = ("test", "answers")
"""Splits whose values are those of the run; others are those of users, of a model without links, or of pretraining."""


class Horizon(NamedTuple):
    """Number of rounds and simulated time at which a run stops; None where it does not stop by them."""

    rounds: int | None
    time_s: float | None

    def share(self, rounds: int, time_s: float) -> float:
        """Return the completed share of the run, 0 to 1, by the nearer of both; 0 if it has neither."""
        return min(1.0, max(rounds / (self.rounds or inf), time_s / (self.time_s or inf)))


def horizon(scenario: Scenario) -> Horizon:
    """Return when a scenario stops: by the criteria of learning, else by the duration of its traffic."""
    if scenario.learning:
        return Horizon(scenario.learning.stop.rounds, scenario.learning.stop.time_s)
    return Horizon(None, scenario.traffic.duration_s if scenario.traffic else None)


class Pace:
    """Pace of a run or a sweep since its first part was complete: set-up and warm-up say nothing of the rest."""

    def __init__(self) -> None:
        """Nothing is complete yet."""
        self._first: tuple[float, float] | None = None
        """Wall time and share when the first part was complete."""

    def left_s(self, share: float, now: float) -> float | None:
        """Return the expected wall time until the end; None before the second part.

        Args:
            share: completed share, 0 to 1.
            now: current wall time.
        """
        if self._first is None and share:
            self._first = (now, share)
        if self._first is None or share <= self._first[1]:
            return None
        begun, before = self._first
        return (now - begun) / (share - before) * (1 - share)


def to_go(left_s: float | None) -> str:
    """Write the expected wall time left, as in ", about 40 s to go"; empty if it is unknown or none."""
    if not left_s:
        return ""
    size, unit = next((each for each in LONG if left_s >= 2 * each[0]), (1.0, "s"))
    return f", about {left_s / size:.0f} {unit} to go"


class Observer:
    """Callbacks of a simulation, which do nothing: derive a class, and write those that are needed.

    They must not change the rows that they receive. No table depends on them.
    """

    def began(self, models: Callable[[], Sequence[TrainedModel]]) -> None:
        """Receive, before the first event, a function that returns the models as they are whenever it is called.

        They are those that the scheme has reported last: one global model, or one for each user or team, in order; none
        before the first round has ended, and in dry runs.
        """

    def ticked(self, time_s: float) -> None:
        """Receive the current simulated time, a few times per second of wall time."""

    def round_ended(self, row: Mapping[str, Any]) -> None:
        """Receive a new row of the table `rounds`, by column."""

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Receive a new row of the table `evaluations`, by column."""

    def requested(self, row: Mapping[str, Any]) -> None:
        """Receive a new row of the table `requests`, by column."""


class RunningTotals(Observer):
    """Totals of a run so far: an `Observer` that sums up the rows that it receives."""

    def __init__(self) -> None:
        self.rounds = 0
        """Completed rounds."""
        self.time_s = 0.0
        """Current simulated time."""
        self.uplink_bits = 0.0
        self.downlink_bits = 0.0
        self.energy_j = 0.0
        """Energy of all users in the completed rounds."""
        self.dropped = 0
        """Users dropped from rounds, summed over the rounds."""
        self.taken_part = 0
        """Participants, summed over the rounds."""
        self.empty_rounds = 0
        """Latest rounds in a row without a participant."""
        self.metrics: dict[str, float] = {}
        """Latest value of each metric."""
        self.not_finite_from: int | None = None
        """Round of the first evaluation since which the test loss has been infinite or not a number."""
        self.requests: Counter[str] = Counter()
        """Number of requests by outcome."""
        self.latencies_s: list[float] = []
        """Latency of each request that was served."""

    def ticked(self, time_s: float) -> None:
        """Set the simulated time."""
        self.time_s = time_s

    def round_ended(self, row: Mapping[str, Any]) -> None:
        """Add a row of the table `rounds`."""
        self.rounds += 1
        self.time_s = row["end_s"]
        self.uplink_bits += row["uplink_bits"]
        self.downlink_bits += row["downlink_bits"]
        self.energy_j += row["energy_j"]
        self.dropped += row["dropped"]
        self.taken_part += row["participants"]
        self.empty_rounds = 0 if row["participants"] else self.empty_rounds + 1

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Take the latest value of a metric from a row of the table `evaluations`; dry runs have none."""
        if row["value"] is not None and row.get("user") is None and row["split"] in OF_RUN:
            self.metrics[row["metric"]] = row["value"]
            if (row["split"], row["metric"]) == ("test", "loss"):
                self._check_loss(row["round"], row["value"])

    def _check_loss(self, number: int, loss: float) -> None:
        if isfinite(loss):
            self.not_finite_from = None
        elif self.not_finite_from is None:
            self.not_finite_from = number

    @property
    def divergence(self) -> str:
        """Description of a diverged training, "loss not finite from round 6 on"; empty while the loss is finite."""
        return "" if self.not_finite_from is None else f"loss not finite from round {self.not_finite_from} on"

    def requested(self, row: Mapping[str, Any]) -> None:
        """Add a row of the table `requests`."""
        self.requests[row["outcome"]] += 1
        if row["outcome"] == "served":
            self.latencies_s.append(row["latency_s"])

    def __str__(self) -> str:
        accuracy = f", accuracy {self.metrics['accuracy']:.3f}" if "accuracy" in self.metrics else ""
        requests = f", {self.requests.total()} requests" if self.requests else ""
        diverged = f", {self.divergence}" if self.divergence else ""
        return f"simulated time {self.time_s:.4g} s{accuracy}, energy {self.energy_j:.4g} J{requests}{diverged}"


class Display(RunningTotals):
    """Running totals that are printed while they grow, with the estimated wall time left. Use it with `with`."""

    def __init__(self, console: Console, name: str, rounds: int | None, time_s: float | None) -> None:
        """Show progress on a console.

        Args:
            console: where to print; a live line if it is a terminal.
            name: name of the scenario.
            rounds: number of rounds at which the run stops; None if there is no such limit.
            time_s: simulated time at which the run stops; None if there is no such limit.
        """
        super().__init__()
        self._console, self._name = console, name
        self._horizon, self._pace = Horizon(rounds, time_s), Pace()
        self._shown = time.monotonic()
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
        """Completed share of the run, 0 to 1, by the nearest stop criterion; 0 if it has none that can be predicted."""
        return self._horizon.share(self.rounds, self.time_s)

    def ticked(self, time_s: float) -> None:
        """Set the simulated time and refresh the display."""
        super().ticked(time_s)
        self._show()

    def round_ended(self, row: Mapping[str, Any]) -> None:
        """Add a row of the table `rounds` and refresh the display."""
        super().round_ended(row)
        self._show()

    def _show(self) -> None:
        of = f"/{self._horizon.rounds}" if self._horizon.rounds else ""
        text = f"round {self.rounds}{of}, {self}"
        if self._console.is_terminal:
            total = 1.0 if self.share else None
            self._bar.update(self._task, description=text, completed=self.share, total=total)
        elif (now := time.monotonic()) - self._shown >= BETWEEN_LINES_S:
            self._shown = now
            left = to_go(self._pace.left_s(self.share, now))
            self._console.print(f"{self._name}: {text}{left}", soft_wrap=True, highlight=False)


def operations(counts: Mapping[str, int]) -> str:
    """Write the numbers of torch operations that were executed, requested and found in the result cache."""
    return f"{counts['run']} executed of {counts['asked']} requested, {counts['stored']} from cache"
