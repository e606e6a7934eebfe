"""Queueing disciplines that a scenario can name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

import simpy
from annotated_types import Ge

from netsim.queueing.batches import Batches
from netsim.queueing.line import Line
from netsim.queueing.queue import Queue
from netsim.queueing.sharing import Sharing


class Discipline(Protocol):
    """A queueing discipline: the order in which a server serves jobs."""

    def queue(self, env: simpy.Environment, slots: int) -> Queue:
        """Return an empty queue of this discipline for `slots` jobs served at a time."""
        ...

    def rank(self, kind: str, user: int | None) -> int:
        """Return the rank of a job; of the waiting jobs the one with the lowest rank is served first.

        Args:
            kind: kind of the job, as in the tables.
            user: number of the user that it serves; None is no single user.
        """
        ...

    def check(self, count: int) -> None:
        """Raise ValueError if the discipline does not fit `count` users."""
        ...


@dataclass(frozen=True)
class Fifo:
    """First come, first served."""

    def queue(self, env: simpy.Environment, slots: int) -> Queue:
        return Line(env, slots)

    def rank(self, kind: str, user: int | None) -> int:
        return 0

    def check(self, count: int) -> None:
        """Accept any number of users."""


@dataclass(frozen=True)
class Priority:
    """Non-preemptive priority: a free slot goes to the waiting job of highest priority; jobs in service are not
    interrupted.

    A slot that becomes free is assigned when all jobs that arrive at that instant, to within rounding, have arrived.
    Jobs of equal priority are served in order of arrival; without kinds and users this is first come, first served.
    """

    kinds: tuple[str, ...] = ()
    """Kinds of jobs in descending priority; other kinds come after them. Requests of stream x have the kind request_x;
    for the kinds of learning see the column kind of the table computations."""
    users: tuple[int, ...] = ()
    """Numbers of users in descending priority, among jobs of one kind; other users come after them."""

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
    """Processor sharing: all jobs are served at once, slots divided equally among them; a job uses at most one slot.

    The wait_s of a job is the time that it loses to the others. Kleinrock, Time-shared systems: a theoretical
    treatment, Journal of the ACM 14(2), 1967.
    """

    def queue(self, env: simpy.Environment, slots: int) -> Queue:
        return Sharing(env, slots)

    def rank(self, kind: str, user: int | None) -> int:
        return 0

    def check(self, count: int) -> None:
        """Accept any number of users."""


@dataclass(frozen=True)
class Batching:
    """Batching: jobs of one kind that arrive within a window are served as one job. Batches are served first come,
    first served, in the order in which they are closed.

    The work of a batch is that of its jobs together; it reads each set of weights, such as those of an expert, only
    once, however many of its jobs work with them (`memory_bandwidth_bytes_per_s`). All jobs of a batch end together.
    The service_s of a job is its share of the service time of the batch, in proportion to that of each job alone; all
    the rest of its time is wait_s. A job that is given up leaves its batch; what is in service is not shortened by that
    unless no job is left.
    """

    window_s: Annotated[float, Ge(0)] = 0.0
    """Seconds from the arrival of the first job of a batch until the batch is closed; jobs that arrive exactly then
    belong to it. 0 serves each job alone, as `fifo` does."""
    max_jobs: Annotated[int, Ge(1)] | None = None
    """Number of jobs at which a batch is closed at once; null is no limit, and 1 serves each job alone."""

    def queue(self, env: simpy.Environment, slots: int) -> Queue:
        if self.window_s == 0 or self.max_jobs == 1:
            return Line(env, slots)
        return Batches(env, slots, self.window_s, self.max_jobs)

    def rank(self, kind: str, user: int | None) -> int:
        return 0

    def check(self, count: int) -> None:
        """Accept any number of users."""


DISCIPLINES: dict[str, type] = {
    "fifo": Fifo,
    "priority": Priority,
    "processor_sharing": ProcessorSharing,
    "batching": Batching,
}
