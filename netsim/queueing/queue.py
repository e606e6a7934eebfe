"""Queues: jobs arrive, wait, are served and leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import simpy

from netsim.process import Process


class Stay(NamedTuple):
    """How a job fared; `wait_s` and `service_s` add up to the time that it was there."""

    wait_s: float
    """Time lost to others: in line, or to those that shared the service."""
    service_s: float
    """Service that it got, in seconds of one slot."""
    begun: bool
    interrupt: simpy.Interrupt | None
    """What made it leave before it was done."""


class Full(Exception):
    """There is no room for one more job."""


class Queue(Protocol):
    """Where jobs are served."""

    @property
    def present(self) -> int:
        """Jobs that wait or are served."""
        ...

    def serve(self, rank: int, begin: Callable[[], float]) -> Process[Stay]:
        """Wait for service and get it; an interrupt ends the stay, and whoever asked must pass it on.

        `begin` is called when service begins, and tells how many seconds of one slot the job takes. Of jobs that wait,
        those of the lowest `rank` go first.
        """
        ...
