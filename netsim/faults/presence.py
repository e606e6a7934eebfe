"""Presence of a device: whether it is available, and the interruption of its work when it goes away."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import simpy

from netsim.energy import Meter
from netsim.journal import Journal
from netsim.process import Process
from netsim.tables import OutageRow

T = TypeVar("T")

OFF = {"battery", "death"}
"""Causes of absence for which a device is switched off and draws no power."""


class Presence:
    """The presence of a user's device. It is away while at least one cause lasts, and gone if a cause never ends."""

    def __init__(self, env: simpy.Environment, journal: Journal, user: int, meter: Meter) -> None:
        """Create the presence of a device that is available.

        Args:
            env: the environment.
            journal: receives the rows of `outages`.
            user: number of the user.
            meter: energy meter of the device, which is switched off for the causes in `OFF`.
        """
        self.env, self.journal, self.user, self.meter = env, journal, user, meter
        self.steady = True
        """True if the device can never go away, so that its work needs no watching."""
        self.gone = False
        """True if the device will never return."""
        self.back = env.event()
        """Event of the next return, or of the device being gone; a new event after each."""
        self._since_s: dict[str, float] = {}  # by cause
        self._watchers: dict[Hashable, Callable[[], None]] = {}

    @property
    def away(self) -> bool:
        """True while the device is away."""
        return bool(self._since_s)

    @property
    def awaited(self) -> bool:
        """True if there is work that an absence would interrupt, or a process that waits for the device's return."""
        return bool(self._watchers or self.back.callbacks)

    def attend(self, work: Process[T]) -> Process[T]:
        """Do work that needs the device; call with `yield from`.

        Args:
            work: the process to run.

        Returns:
            The result of `work`.

        Raises:
            simpy.Interrupt: the device is away, or goes away during the work; in the latter case it is raised in
                `work` first.
        """
        return work if self.steady else self._attend(work)

    @contextmanager
    def watched(self, on_leave: Callable[[], None]) -> Iterator[None]:
        """Return a context in which `on_leave` is called once if the device goes away."""
        key = object()
        self._watchers[key] = on_leave
        try:
            yield
        finally:
            self._watchers.pop(key, None)

    def leave(self, cause: str, *, permanently: bool = False) -> None:
        """Begin a cause of absence. If the device was available, all work that needs it is interrupted.

        Args:
            cause: the cause, as in the table `outages`.
            permanently: True if the cause never ends.
        """
        was_available = not self.away
        self._since_s.setdefault(cause, self.env.now)
        if was_available:
            watchers, self._watchers = self._watchers, {}  # each is called once
            for on_leave in watchers.values():
                on_leave()
        if cause in OFF:
            self.meter.switch(on=False)
        if permanently and not self.gone:
            self.gone = True
            self._trigger_back()

    def come_back(self, cause: str) -> None:
        """End a cause of absence, and record it; without another cause the device is available again."""
        self.journal.outage(OutageRow(self.user, self._since_s.pop(cause), self.env.now, cause))
        self.meter.switch(on=OFF.isdisjoint(self._since_s))
        if not self.away:
            self._trigger_back()

    def record_failure(self, cause: str) -> None:
        """Write a row of `outages` for a failure at this instant, after which the device is available."""
        self.journal.outage(OutageRow(self.user, self.env.now, self.env.now, cause))

    def record(self) -> None:
        """Write a row of `outages` for each cause that lasts beyond the end of the run."""
        for cause, since_s in self._since_s.items():
            self.journal.outage(OutageRow(self.user, since_s, None, cause))

    def _trigger_back(self) -> None:
        back, self.back = self.back, self.env.event()
        back.succeed()

    def _attend(self, work: Process[T]) -> Process[T]:
        cause = f"user {self.user} is away"
        if self.away:
            work.close()
            raise simpy.Interrupt(cause)
        process = self.env.active_process
        if process is None or process in self._watchers:
            return (yield from work)
        self._watchers[process] = lambda: process.interrupt(cause)
        try:
            return (yield from work)
        finally:
            self._watchers.pop(process, None)
