"""A watch over a run, which ends it with one sentence if it would go on without end.

It counts events and simulated time, never wall time, so that its verdict is the same on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from learning.stop import Stop
from netsim import deadlock
from netsim.instants import ROUNDING
from netsim.lazy import AT_ONCE
from netsim.network import Network
from scenarios.errors import FieldError, Path, Stalled
from scenarios.field_errors import field_error
from scenarios.limits import beyond_events, years
from scenarios.progress import RunningTotals
from scenarios.schema import Scenario

BETWEEN_LOOKS = 64
"""Number of events between two looks."""
MAX_AT_ONCE, MAX_AT_ONCE_EACH = 1_000_000, 1000
"""Number of events at one instant, and in addition of each user, up to AT_ONCE, from which on time stands still."""
INSTANT_S = 1e-9
"""Simulated time in seconds that counts as an instant."""
FIRST_EVENTS, FIRST_ROUNDS, LAST_EVENTS = 2**17, 3, 2**20
"""The number of events of a run is extrapolated after so many events or rounds, and until so many events."""
LONG_S = 3600.0
"""Simulated time in seconds between two looks at the transmissions, and on the air after which one is looked at."""


class Watch:
    """Looks at a run from time to time."""

    def __init__(self, scenario: Scenario, network: Network, totals: RunningTotals) -> None:
        """Begin the watch over a run; `totals` are its running totals."""
        self.network, self.totals, self.limits = network, totals, scenario.limits
        self.events = 0
        """Number of events so far, to within BETWEEN_LOOKS."""
        self._ends = list(_ends(scenario))
        learning = scenario.learning
        self._trains = learning is not None and not learning.scheme.serves
        self._awaited = "" if learning is None else _awaited(learning.stop)
        self._evaluated_by = 0 if learning is None else max(learning.evaluate_every, scenario.limits.empty_rounds)
        self._passed = 0, 0, 0.0  # events, rounds and simulated time when time last passed
        self._next_scan_s = LONG_S
        self._at_once = MAX_AT_ONCE + MAX_AT_ONCE_EACH * min(len(network.users), AT_ONCE)

    def look(self) -> None:
        """Look at the run after BETWEEN_LOOKS further events.

        Raises:
            Stalled: simulated time stands still, no user takes part in rounds any more, or no round is evaluated.
            FieldError: the run would exceed the limits of the scenario.
        """
        self.events += BETWEEN_LOOKS
        now_s = self.network.env.now
        self._check_progress(now_s)
        if now_s >= self._next_scan_s:
            self._next_scan_s = now_s + LONG_S
            self._check_transmissions(now_s)
        early = self.totals.rounds >= FIRST_ROUNDS or self.events >= FIRST_EVENTS
        if early and self.events <= LAST_EVENTS and self._ends:
            self._check_end(now_s)

    def _check_progress(self, now_s: float) -> None:
        since, rounds, passed_s = self._passed
        if self.totals.rounds > rounds or now_s > passed_s * (1 + ROUNDING) + INSTANT_S:
            self._passed = self.events, self.totals.rounds, now_s
        elif self.events - since > self._at_once:
            raise Stalled(
                f"simulated time stands still: {self.events - since} events have happened at {now_s:.10g} s, "
                f"and the scheme has not ended: {deadlock.waiting(self.network.env)}"
            )
        if self._trains and self.totals.empty_rounds >= self.limits.empty_rounds:
            raise Stalled(
                f"no user has taken part in the last {self.totals.empty_rounds} rounds, of {self.totals.rounds}, and "
                f"{self.totals.dropped} were dropped in all; a deadline may be too short (learning.policy), users out "
                "of range or unavailable; limits.empty_rounds allows more"
            )

        if self._awaited and self.totals.rounds >= self._evaluated_by and self._awaited not in self.totals.metrics:
            raise Stalled(
                f"the run is to end by the metric {self._awaited} of the test set, and {self.totals.rounds} rounds "
                "have given none: the scheme reports no models; give stop.rounds or stop.time_s (learning.stop)"
            )

    def _check_transmissions(self, now_s: float) -> None:
        """Check the transmissions that have been on the air for long; a deadline may end others soon."""
        for station in self.network.stations:
            for band in (station.uplink.band, station.downlink.band):
                on_air = [each for transmissions, _ in band.sending() for each in transmissions]
                for each in on_air if self.network.motion is None else ():
                    least_s = max(link.least_s(each.bits, band.bandwidth_hz) for link in each.link.links)
                    if now_s - each.start_s >= LONG_S and self.limits.simulated_time_s < least_s < inf:
                        users = ", ".join(map(str, each.receivers))
                        raise self._too_late(
                            f"{each.bits:.4g} bits of user {users} take at least {years(least_s)} on the air"
                        )

    def _check_end(self, now_s: float) -> None:
        """Check the number of events at the nearest end, if things go on as so far."""
        path, what, share = max(
            (
                (path, what, (self.totals.rounds if path[-1] == "rounds" else now_s) / end)
                for path, what, end in self._ends
            ),
            key=lambda each: each[2],
        )
        if share and (events := self.events / share) > self.limits.events:
            raise beyond_events(path, what, events, self.limits)

    def too_late(self) -> FieldError:
        """Return the error of a run in which nothing is going to happen within the limit on simulated time."""
        waiting = deadlock.waiting(self.network.env)
        return self._too_late(f"the next event is at {years(self.network.env.peek())}, {waiting}")

    def _too_late(self, what: str) -> FieldError:
        allowed = f"limits.simulated_time_s allows {years(self.limits.simulated_time_s)}"
        return field_error(("limits", "simulated_time_s"), ValueError(f"{what}; {allowed}"))


def _awaited(stop: Stop) -> str:
    """Return the metric by which alone a run ends; empty if a number of rounds or a time ends it, too."""
    if stop.rounds is not None or stop.time_s is not None:
        return ""
    return "accuracy" if stop.accuracy is not None else stop.metric


def _ends(scenario: Scenario) -> Iterator[tuple[Path, str, float]]:
    """Yield the path, the words and the value of each number of rounds or seconds at which the run ends for certain."""
    learning, traffic = scenario.learning, scenario.traffic
    if learning is None:
        if traffic is not None and traffic.duration_s is not None:
            yield ("traffic", "duration_s"), f"{traffic.duration_s:.4g} s", traffic.duration_s
        return
    stop = learning.stop
    if stop.by_values:
        return  # it may end at any time
    if stop.rounds is not None:
        yield ("learning", "stop", "rounds"), f"{stop.rounds} rounds", stop.rounds
    if stop.time_s is not None:
        yield ("learning", "stop", "time_s"), f"{stop.time_s:.4g} s", stop.time_s
