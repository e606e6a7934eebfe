"""Disciplines: whom a server serves when, as scenarios name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import simpy

from netsim.queueing.line import Line
from netsim.queueing.queue import Queue
from netsim.queueing.sharing import Sharing


class Discipline(Protocol):
    """Whom a server serves when."""

    def queue(self, env: simpy.Environment, slots: int) -> Queue:
        """An empty queue of this discipline before so many slots."""
        ...

    def rank(self, kind: str, user: int | None) -> int:
        """Among jobs that wait the lowest goes first."""
        ...

    def check(self, count: int) -> None:
        """Raises ValueError if the discipline does not fit `count` users."""
        ...


@dataclass(frozen=True)
class Fifo:
    """First come, first served."""

    def queue(self, env: simpy.Environment, slots: int) -> Queue:
        return Line(env, slots)

    def rank(self, kind: str, user: int | None) -> int:
        return 0

    def check(self, count: int) -> None:
        """Fits any number of users."""


@dataclass(frozen=True)
class Priority:
    """Some jobs go before others, which wait until a slot is free: nobody is interrupted.

    A slot that is free at an instant goes to the first of all jobs that have come by then, to within rounding. Jobs
    of the same standing go in order of arrival; without kinds and users this is first come, first served.
    """

    kinds: tuple[str, ...] = ()
    """Kinds of jobs that go first, the first of them before the second; all others come after them. A request of stream
    x has the kind request_x; what learning computes is called as in the column kind of the table computations."""
    users: tuple[int, ...] = ()
    """Among jobs of one kind, users that go first, the first of them before the second."""

    def queue(self, env: simpy.Environment, slots: int) -> Queue:
        return Line(env, slots, ranked=True)

    def rank(self, kind: str, user: int | None) -> int:
        by_kind = self.kinds.index(kind) if kind in self.kinds else len(self.kinds)
        by_user = self.users.index(user) if user in self.users else len(self.users)
        return by_kind * (len(self.users) + 1) + by_user

    def check(self, count: int) -> None:
        for user in self.users:
            if not 0 <= user < count:
                raise ValueError(f"there is no user {user}; there are {count}, from 0")


@dataclass(frozen=True)
class ProcessorSharing:
    """All jobs are served at once, slots divided equally among them; a job uses at most one slot.

    A job's wait_s is then what it lost to the others. Kleinrock, Time-shared systems: a theoretical treatment, Journal
    of the ACM 14(2), 1967.
    """

    def queue(self, env: simpy.Environment, slots: int) -> Queue:
        return Sharing(env, slots)

    def rank(self, kind: str, user: int | None) -> int:
        return 0

    def check(self, count: int) -> None:
        """Fits any number of users."""


DISCIPLINES: dict[str, type] = {"fifo": Fifo, "priority": Priority, "processor_sharing": ProcessorSharing}
