"""Split federated learning, version 2. [Thapa et al., AAAI 2022, SplitFedV2]

As version 1, but with one server part: mini-batches change it one after another, in the order in which the server gets
round to them. Device parts are averaged each round, the server part never.
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
class SFLV2:
    """Split federated learning with one server part, changed by every mini-batch in order of arrival."""

    local_steps: Annotated[int, Ge(1)] | None = None
    """Mini-batches in a round (default: one pass over the user's samples)."""
    weights: Literal["uniform", "data"] = "uniform"
    """Whether all users count alike, or a user counts by its samples."""
    link: Link = Link()
    """What crosses the cut."""

    def run(self, world: World) -> Promise:
        front, back = world.initial(world.front), world.initial(world.back)
        part = ServerPart(world, back, world.server_optimiser.init(back))
        states: dict[User, Any] = dict.fromkeys(world.users, world.optimiser.init(front))
        for number in world.rounds():
            work = {u: self.user(world, u, number, front, states[u], part) for u in world.selected(number)}
            done = yield from gather(world, work)
            states.update({user: state for user, (_, state) in done.items()})
            if done:
                fronts = [front for front, _ in done.values()]
                front = yield from average(world, fronts, world.weights(list(done), self.weights))
            world.models((front, part.weights))

    def user(self, world: World, user: User, number: int, front: Any, state: Any, part: ServerPart) -> Promise:
        front = yield from world.server.send(user, front, "model")
        steps = user.steps(self.local_steps)
        for step in range(steps):
            batch = user.batch(number * steps + step)
            front, state = yield from exchange(world, self.link, user, front, state, batch, part.serve)
        front = yield from user.send(world.server, front, "model")
        return front, state
