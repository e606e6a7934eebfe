"""A device under FedSL-PQ: its pruned part of the model, and how it comes by its mask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from learning.executor.deferred import Operation
from learning.parties import User
from learning.ports import Process
from learning.protocols.split import ServerPart
from learning.schemes.fedsl_pq import operators
from learning.schemes.fedsl_pq.messages import Pruned
from learning.world import World

if TYPE_CHECKING:
    from learning.schemes.fedsl_pq.scheme import FedSLPQ


@dataclass
class Device:
    """What a user has at hand between rounds."""

    weights: Any
    state: Any
    replica: ServerPart
    """Its server part, where every user has one."""
    mask: Any = None
    """None before the first mask of an interval."""
    gradients: Any = None
    """The last ones, neither masked nor quantised."""
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

    def prune(self, world: World, scheme: FedSLPQ, user: User, number: int) -> Process[Any]:
        """A new mask for the weights at hand, decided here or at the server; charged a comparison for each weight."""
        self.rate = self._rate(scheme, number)
        world.journal.decision(user.number, "pruning_rate", self.rate)
        work = (operators.pruned, *self._importance(scheme), self.rate, self.weights)
        flops = world.executor.charged(self.weights).numel
        if scheme.masks_at == "device":
            self.weights, self.mask = yield from user.do(*work, kind="pruning", flops=flops)
            return
        weights, mask = yield from world.server.do(*work, kind="pruning", user=user, flops=flops)
        self.weights = yield from world.server.send(user, weights, "model", layout=self.pruned(scheme))
        self.mask = mask

    def pruned(self, scheme: FedSLPQ) -> Pruned:
        """How the weights lie on the wire that the mask keeps."""
        return Pruned(scheme.pruning, self.rate)

    def _rate(self, scheme: FedSLPQ, number: int) -> float:
        """The scheduled rate; or what a latency budget leaves: 1 - (budget - other time) / dense compute time."""
        if scheme.latency_budget_s is None or self.other_s is None:
            return scheme.pruning_rate.rate(number)
        dense_s = self.compute_s / (1 - self.rate)
        return min(max(1 - (scheme.latency_budget_s - self.other_s) / dense_s, 0.0), scheme.max_rate)

    def _importance(self, scheme: FedSLPQ) -> tuple[Any, Any]:
        """The rule and the gradients it looks at; magnitude as long as no gradient has been seen."""
        if scheme.pruning.importance == "magnitude" or self.gradients is None:
            return replace(scheme.pruning, importance="magnitude"), None
        return scheme.pruning, self.gradients
