"""A scenario as a world at time zero, which can run."""

from __future__ import annotations

from dataclasses import dataclass

import simpy

from learning.executor import Executor
from learning.ports import Process
from netsim.journal import Journal
from netsim.network import Network
from netsim.trace import Trace


@dataclass
class Simulation:
    """A world at time zero."""

    env: simpy.Environment
    network: Network
    executor: Executor | None
    process: Process[None] | None
    """What drives it: scheme and traffic, or nothing where a scenario has neither."""

    @property
    def journal(self) -> Journal:
        """Where it writes what happens."""
        return self.network.journal

    def record_in(self, trace: Trace) -> None:
        """Write to this trace from now on. Building writes nothing, so that a world can be refused without a trace."""
        self.journal.trace = trace
        self.network.record_users()
