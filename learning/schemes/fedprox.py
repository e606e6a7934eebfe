"""Federated averaging with a proximal term. [Li et al., MLSys 2020, algorithm 2]

Messages as in FedAvg; a local gradient gets + mu (w - w_t), w_t the model as downloaded. Its price is two FLOPs for
each weight and step.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge

from learning import steps
from learning.local_training import LocalTraining
from learning.parties import Promise, User
from learning.protocols.federated import federated
from learning.world import World


@dataclass(frozen=True)
class FedProx(LocalTraining):
    """Federated averaging with a proximal term in the local objective (Li et al., 2020)."""

    mu: Annotated[float, Ge(0)] = 0.01
    """Strength of the proximal term; 0 is FedAvg."""
    weights: Literal["data", "uniform"] = "data"
    """Whether a user counts by its samples, or all users count alike."""

    asynchronous = True
    hierarchical = True

    def run(self, world: World) -> Promise:
        def train(user: User, model: Any, state: Any, x: Any, y: Any) -> Promise:
            work = (steps.train_proximal, world.whole, world.optimiser, self.mu, model, state, x, y)
            term = 2 * world.executor.charged(model).numel * sum(len(stack.indices) for stack in x) if self.mu else 0
            flops = world.executor.cost(world.executor.plan(*work)).flops + term
            model, state, _ = yield from user.do(*work, kind="client_training", flops=flops)
            return model, state

        return federated(world, self, self.weights, train)
