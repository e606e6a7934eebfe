"""What a user of FedSL-PQ keeps between rounds, and the times by which it meets a latency budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from learning.executor.deferred import Operation
from learning.parties import User
from learning.ports import Process
from learning.protocols.split import ServerPart
from learning.world import World


@dataclass
class Device:
    """A pruned device part, its optimiser and mask, and the times of the user's last round."""

    weights: Any
    state: Any
    """State of its optimiser."""
    replica: ServerPart
    """The user's server part, where every user has one of its own."""
    mask: Any = None
    """Which weights are kept; None before the first mask of an interval."""
    gradients: Any = None
    """The last gradients, neither masked nor quantised."""
    rate: float = 0.0
    """Share of the prunable weights that is pruned."""
    compute_s: float = 0.0
    """Time of the forward and backward pass in the last round."""
    other_s: float | None = None
    """Time of everything else in the last round: messages, and the server's work. None before the first round."""

    def compute(
        self, world: World, user: User, operation: Operation, *args: Any, kind: str, share: float = 1
    ) -> Process[Any]:
        """Do a pass at the sparse cost: (1 - rate) of the dense one, times `share`."""
        started = world.env.now
        result = yield from user.do(operation, *args, kind=kind, scale=(1 - self.rate) * share)
        self.compute_s += world.env.now - started
        return result

    def next_rate(self, scheduled: float, budget_s: float | None, max_rate: float) -> float:
        """The scheduled pruning rate; or, under a latency budget and after the first round, the rate that meets it.

        It is 1 - (budget - other time) / dense compute time by the times of the last round, within [0, max_rate].
        """
        if budget_s is None or self.other_s is None:
            return scheduled
        dense_s = self.compute_s / (1 - self.rate)
        return min(max(1 - (budget_s - self.other_s) / dense_s, 0.0), max_rate)
