"""Queues: jobs arrive, wait, are served and leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import simpy

from netsim.process import Process


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


class QueueFull(Exception):
    """A queue has no room for one more job."""


class Queue(Protocol):
    """A queue in which jobs wait and are served."""

    @property
    def present(self) -> int:
        """Number of jobs that wait or are served."""
        ...

    def serve(self, rank: int, begin: Callable[[], float]) -> Process[Stay]:
        """Wait for service and receive it.

        Args:
            rank: of the waiting jobs, one with the lowest rank is served first.
            begin: called when service begins; returns the service time of the job in seconds of one slot.

        Returns:
            The stay of the job. An interrupt ends it early and is returned in `Stay.interrupt`; the caller must raise
            it again.
        """
        ...
