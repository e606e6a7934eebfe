"""Semaphores: a number of places, which processes take in order of arrival or by rank."""

from __future__ import annotations

from bisect import insort
from collections import deque
from operator import attrgetter

import simpy

from netsim.instants import SERVE, After
from netsim.process import Process


class Turn(simpy.Event):
    """The event at which a waiting process gets a place of `resource`; a lower `rank` goes first."""

    def __init__(self, resource: Semaphore, rank: int) -> None:
        super().__init__(resource.env)
        self.resource, self.rank = resource, rank


class Semaphore:
    """A counting semaphore, first come, first served. Unlike in SimPy, a free place is taken without an event."""

    def __init__(self, env: simpy.Environment, places: int) -> None:
        """Create a semaphore whose `places`, at least one, are all free."""
        self.env, self.places = env, places
        self.count = 0
        """Number of places that are taken."""
        self.queue: deque[Turn] = deque()
        """Turns of the processes that wait."""

    def acquire(self, rank: int = 0) -> Process[None]:
        """Take a place, at once if one is free; an interrupt while waiting gives it up. `rank` is ignored."""
        if self.count < self.places:
            self.count += 1
            return
        turn = Turn(self, rank)
        self.queue.append(turn)
        yield from self._wait(turn)

    def release(self) -> None:
        """Give a place back: the first process that waits gets it at this instant."""
        if self.queue:
            self.queue.popleft().succeed()
        else:
            self.count -= 1

    def _wait(self, turn: Turn) -> Process[None]:
        try:
            yield turn
        except simpy.Interrupt:
            if turn.triggered:
                self.release()
            else:
                self.queue.remove(turn)
            raise


class Ranked(Semaphore):
    """A semaphore whose places go to the lowest ranks, when all processes of an instant have arrived."""

    _assigning = False

    def acquire(self, rank: int = 0) -> Process[None]:
        """Wait for a place, also if one is free; processes of equal `rank` are in order of arrival."""
        turn = Turn(self, rank)
        insort(self.queue, turn, key=attrgetter("rank"))
        self._assign_later()
        yield from self._wait(turn)

    def release(self) -> None:
        """Give a place back, which is assigned at the end of this instant."""
        self.count -= 1
        self._assign_later()

    def _assign_later(self) -> None:
        if self.queue and not self._assigning:
            self._assigning = True
            After(self.env, self.env.now, SERVE).callbacks.append(self._assign)

    def _assign(self, _: simpy.Event) -> None:
        self._assigning = False
        while self.queue and self.count < self.places:
            self.count += 1
            self.queue.popleft().succeed()
