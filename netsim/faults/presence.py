"""Whether a device is there, and what becomes of what it does when it goes away."""

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
"""Causes of being away for which a device draws no power."""


class Presence:
    """Whether a user's device is there. It is away as long as there is a cause for it, and gone if that never ends."""

    def __init__(self, env: simpy.Environment, journal: Journal, user: int, meter: Meter) -> None:
        self.env, self.journal, self.user, self.meter = env, journal, user, meter
        self.steady = True
        """Whether nothing can ever take the device away, which saves watching it."""
        self.gone = False
        """Whether it will never return."""
        self.back = env.event()
        """Happens when the device is there again, or gone for ever; a new event each time."""
        self._since_s: dict[str, float] = {}  # by cause
        self._watchers: dict[Hashable, Callable[[], None]] = {}

    @property
    def away(self) -> bool:
        return bool(self._since_s)

    @property
    def awaited(self) -> bool:
        """Whether anybody does something that would end if the device went, or waits for its return."""
        return bool(self._watchers or self.back.callbacks)

    def attend(self, work: Process[T]) -> Process[T]:
        """Do work that needs the device: with `yield from`, its result is the work's.

        Raises simpy.Interrupt in it when the device goes away, and at once if it is away.
        """
        return work if self.steady else self._attend(work)

    @contextmanager
    def watched(self, went: Callable[[], None]) -> Iterator[None]:
        """Call `went` if the device goes away in here, the first time."""
        key = object()
        self._watchers[key] = went
        try:
            yield
        finally:
            self._watchers.pop(key, None)

    def leave(self, cause: str, *, for_ever: bool = False) -> None:
        """The device goes away, or gets a further cause to be."""
        was_there = not self.away
        self._since_s.setdefault(cause, self.env.now)
        if was_there:
            watchers, self._watchers = self._watchers, {}  # each is told once
            for went in watchers.values():
                went()
        if cause in OFF:
            self.meter.switch(on=False)
        if for_ever and not self.gone:
            self.gone = True
            self._tell()

    def come_back(self, cause: str) -> None:
        """The cause is over."""
        self.journal.outage(OutageRow(self.user, self._since_s.pop(cause), self.env.now, cause))
        self.meter.switch(on=OFF.isdisjoint(self._since_s))
        if not self.away:
            self._tell()

    def record(self) -> None:
        """Write down what lasts beyond the end of the run."""
        for cause, since_s in self._since_s.items():
            self.journal.outage(OutageRow(self.user, since_s, None, cause))

    def _tell(self) -> None:
        back, self.back = self.back, self.env.event()
        back.succeed()

    def _attend(self, work: Process[T]) -> Process[T]:
        why = f"user {self.user} is away"
        if self.away:
            work.close()
            raise simpy.Interrupt(why)
        process = self.env.active_process
        if process is None or process in self._watchers:
            return (yield from work)
        self._watchers[process] = lambda: process.interrupt(why)
        try:
            return (yield from work)
        finally:
            self._watchers.pop(process, None)
