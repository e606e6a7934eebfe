"""The simulated world of a scenario, before its first event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import simpy

from learning.executor import Executor
from learning.ports import Process
from learning.trained import TrainedModel
from netsim.journal import Journal
from netsim.network import Network
from netsim.trace import Trace


@dataclass
class Simulation:
    """The simulated world of a scenario at time 0."""

    env: simpy.Environment
    network: Network
    executor: Executor | None
    """Computes torch operations; None without learning."""
    process: Process[None] | None
    """The scheme and the traffic, whose end is the end of the run; None if the scenario has neither."""
    trained: Callable[[], Sequence[TrainedModel]] = list
    """Returns the models that the scheme has reported last, with their weights."""

    @property
    def journal(self) -> Journal:
        """The journal in which the network and the scheme record what happens."""
        return self.network.journal

    def record_in(self, trace: Trace) -> None:
        """Record in this trace from now on. While a world is built, nothing is recorded."""
        self.journal.trace = trace
        self.network.record_users()
