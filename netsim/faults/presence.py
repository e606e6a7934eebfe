"""Presence of a device or site: whether it is available, and the interruption of its work when it goes away."""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class Presence(ABC):
    """The presence of a device or site. It is away while at least one cause lasts, and gone if a cause never ends."""

    def __init__(self, env: simpy.Environment, journal: Journal, name: str) -> None:
        """Create the presence of a device or site that is available.

        Args:
            env: the environment.
            journal: receives the rows of `outages`.
            name: name of the device or site, for messages.
        """
        self.env, self.journal, self.name = env, journal, name
        self.steady = True
        """True if it can never go away, so that its work needs no watching."""
        self.gone = False
        """True if it will never return."""
        self.back = env.event()
        """Event of the next return, or of being gone; a new event after each."""
        self._since_s: dict[str, float] = {}  # by cause
        self._watchers: dict[Hashable, Callable[[], None]] = {}

    @property
    def away(self) -> bool:
        """True while it is away."""
        return bool(self._since_s)

    @property
    def awaited(self) -> bool:
        """True if there is work that an absence would interrupt, or a process that waits for the return."""
        return bool(self._watchers or self.back.callbacks)

    def attend(self, work: Process[T]) -> Process[T]:
        """Do work that needs the device or site; call with `yield from`.

        Args:
            work: the process to run.

        Returns:
            The result of `work`.

        Raises:
            simpy.Interrupt: it is away, or goes away during the work; in the latter case it is raised in
                `work` first.
        """
        return work if self.steady else self._attend(work)

    @contextmanager
    def watched(self, on_leave: Callable[[], None]) -> Iterator[None]:
        """Return a context in which `on_leave` is called once if the device or site goes away."""
        key = object()
        self._watchers[key] = on_leave
        try:
            yield
        finally:
            self._watchers.pop(key, None)

    def leave(self, cause: str, *, permanently: bool = False) -> None:
        """Begin a cause of absence. Without an earlier cause, all work that needs the device or site is interrupted.

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
        if permanently and not self.gone:
            self.gone = True
            self._trigger_back()

    def come_back(self, cause: str) -> None:
        """End a cause of absence, and record it; without another cause the device or site is available again."""
        self.journal.outage(self._row(self._since_s.pop(cause), self.env.now, cause))
        if not self.away:
            self._trigger_back()

    def record_failure(self, cause: str) -> None:
        """Write a row of `outages` for a failure at this instant, after which the device or site is available."""
        self.journal.outage(self._row(self.env.now, self.env.now, cause))

    def record(self) -> None:
        """Write a row of `outages` for each cause that lasts beyond the end of the run."""
        for cause, since_s in self._since_s.items():
            self.journal.outage(self._row(since_s, None, cause))

    @abstractmethod
    def _row(self, start_s: float, end_s: float | None, cause: str) -> OutageRow:
        """Return the row of an absence in the table `outages`."""

    def _trigger_back(self) -> None:
        back, self.back = self.back, self.env.event()
        back.succeed()

    def _attend(self, work: Process[T]) -> Process[T]:
        cause = f"{self.name} is away"
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


class DevicePresence(Presence):
    """The presence of a user's device."""

    def __init__(self, env: simpy.Environment, journal: Journal, user: int, meter: Meter) -> None:
        """Create the presence of a device that is available.

        Args:
            env: the environment.
            journal: receives the rows of `outages`.
            user: number of the user.
            meter: energy meter of the device, which is switched off for the causes in `OFF`.
        """
        super().__init__(env, journal, f"user {user}")
        self.user, self.meter = user, meter

    def leave(self, cause: str, *, permanently: bool = False) -> None:
        super().leave(cause, permanently=permanently)
        if cause in OFF:
            self.meter.switch(on=False)

    def come_back(self, cause: str) -> None:
        super().come_back(cause)
        self.meter.switch(on=OFF.isdisjoint(self._since_s))

    def _row(self, start_s: float, end_s: float | None, cause: str) -> OutageRow:
        return OutageRow(self.user, start_s, end_s, cause)


class SitePresence(Presence):
    """The presence of a site."""

    def _row(self, start_s: float, end_s: float | None, cause: str) -> OutageRow:
        return OutageRow(None, start_s, end_s, cause, self.name)
