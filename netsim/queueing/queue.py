"""Queues: jobs arrive, wait, are served and leave."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

import simpy

from netsim.process import Process
from netsim.sums import in_order

NO_WEIGHTS: Mapping[Hashable, float] = MappingProxyType({})


class Job:
    """A job in a queue, which is served at nominal speed."""

    def __init__(self, kind: str, work_s: float, read_s: Mapping[Hashable, float] = NO_WEIGHTS) -> None:
        """Describe a job.

        Args:
            kind: kind of the job, as in the tables.
            work_s: time of its work alone in seconds of one slot, at nominal speed: its FLOPs or bits.
            read_s: time in seconds in which each set of weights is read from memory that it works with, by name.
        """
        self.kind, self.work_s, self.read_s = kind, work_s, read_s

    @property
    def nominal_s(self) -> float:
        """Service time at nominal speed in seconds of one slot: work and reading overlap, and the longer one counts."""
        return max(self.work_s, in_order(self.read_s.values())) if self.read_s else self.work_s

    def begin(self, nominal_s: float) -> float:
        """Begin service.

        Args:
            nominal_s: service time at nominal speed; of a job that is served in a batch, its share in that.

        Returns:
            The service time in seconds of one slot.
        """
        return nominal_s


class Stay(NamedTuple):
    """The stay of a job in a queue; `wait_s` and `service_s` add up to its sojourn time."""

    wait_s: float
    """Time lost to other jobs, in line or by shared service."""
    service_s: float
    """Service received, in seconds of one slot."""
    begun: bool
    """True if service began."""
    interrupt: simpy.Interrupt | None
    """The interrupt that ended the stay before the job was done; None if it is done."""
    energy_j: float | None = None
    """Energy of the job in J, as far as it was served; None without an energy model."""


class QueueFull(Exception):
    """A queue has no room for one more job."""


class Queue(Protocol):
    """A queue in which jobs wait and are served."""

    @property
    def present(self) -> int:
        """Number of jobs that wait or are served."""
        ...

    def serve(self, rank: int, job: Job) -> Process[Stay]:
        """Wait for service and receive it.

        Args:
            rank: of the waiting jobs, one with the lowest rank is served first.
            job: the job; `begin` is called when its service begins.

        Returns:
            The stay of the job. An interrupt ends it early and is returned in `Stay.interrupt`; the caller must raise
            it again.
        """
        ...
