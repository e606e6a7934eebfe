"""Split federated learning, version 1. [Thapa et al., AAAI 2022, SplitFedV1]

server -> user   device part              per round
for each local step, all users side by side:
  user -> server   smashed data, labels
  server           forward, backward and step on the user's own replica
  server -> user   cut-layer gradient
  user             backward and step
user -> server   device part              per round
server           mean of the device parts, and of the replicas
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge

from learning.parties import Promise, User
from learning.protocols.average import average
from learning.protocols.rounds import gather
from learning.protocols.split import Link, ServerPart, exchange
from learning.world import World


@dataclass(frozen=True)
class SFLV1:
    """Split federated learning with a server replica for each user; device parts and replicas are averaged."""

    local_steps: Annotated[int, Ge(1)] | None = None
    """Mini-batches in a round (default: one pass over the user's samples)."""
    weights: Literal["uniform", "data"] = "uniform"
    """Whether all users count alike, or a user counts by its samples."""
    link: Link = Link()
    """What crosses the cut."""

    def run(self, world: World) -> Promise:
        front, back = world.initial(world.front), world.initial(world.back)
        fresh = world.optimiser.init(front), world.server_optimiser.init(back)
        states: dict[User, Any] = dict.fromkeys(world.users, fresh)
        for number in world.rounds():
            work = {u: self.user(world, u, number, front, back, *states[u]) for u in world.selected(number)}
            done = yield from gather(world, work)
            states.update({user: state for user, (_, _, state) in done.items()})
            if done:
                weights = world.weights(list(done), self.weights)
                fronts, backs, _ = zip(*done.values(), strict=True)
                front = yield from average(world, fronts, weights)
                back = yield from average(world, backs, weights)
            world.models((front, back))

    def user(
        self, world: World, user: User, number: int, front: Any, back: Any, front_state: Any, back_state: Any
    ) -> Promise:
        front = yield from world.server.send(user, front, "model")
        replica = ServerPart(world, back, back_state)
        steps = user.steps(self.local_steps)
        for step in range(steps):
            batch = user.batch(number * steps + step)
            front, front_state = yield from exchange(world, self.link, user, front, front_state, batch, replica.serve)
        front = yield from user.send(world.server, front, "model")
        return front, replica.weights, (front_state, replica.state)
