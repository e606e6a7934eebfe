"""Sequential split learning. [Gupta and Raskar, 2018; relay through the base station]

for each user, one after another:
  server -> user   device part              the relay's second hop
  for each local step:
    user -> server   smashed data, labels
    server           forward pass, backward pass and step at once
    server -> user   cut-layer gradient
    user             backward pass and step
  user -> server   device part              the relay's first hop, to the next user
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.rounds import visit
from learning.protocols.split import CutLink, ServerPart, exchange
from learning.scheme import Scheme
from learning.steps import State, Weights
from learning.world import World


@dataclass
class Relay:
    """The device part of the model, which users pass on."""

    weights: Weights
    """Its weights, as the last user that finished returned them."""


@dataclass(frozen=True)
class SL(LocalTraining, Scheme):
    """Split learning, one user after another; the device part is passed on through the base station."""

    order: Literal["random", "fixed"] = "random"
    """Order of the users in a round: random, drawn independently in each round; or by number (`fixed`)."""
    link: CutLink = CutLink()
    """Messages across the cut."""

    training_layers = True

    def check(self, world: World) -> None:
        """Raises ValueError where the link or the number of local steps does not fit the model or the users."""
        super().check(world)
        self.link.check(world)

    def run(self, world: World) -> Process[None]:
        front = world.initial(world.front)
        relay = Relay(front)
        back = world.initial(world.back)
        part = ServerPart(world, back, world.server_optimiser.init(back))
        states: dict[User, State] = dict.fromkeys(world.users, world.optimiser.init(front))
        for number in world.rounds():
            users = self._order(world, number)
            yield from visit(world, {u: self.user(world, u, number, relay, part, states) for u in users})
            world.models((relay.weights, part.weights), over=[self.link.deployed()])

    def user(
        self, world: World, user: User, number: int, relay: Relay, part: ServerPart, states: dict[User, State]
    ) -> Process[None]:
        """A user's local steps; its device part replaces that of the relay when its upload has ended."""
        weights = yield from world.server.send(user, relay.weights, "model")
        for position in self.positions(user, number):
            weights, states[user] = yield from exchange(
                world, self.link, user, weights, states[user], user.batch(position), part.serve, position=position
            )
        relay.weights = yield from user.send(world.server, weights, "model")

    def _order(self, world: World, number: int) -> list[User]:
        users = world.selected(number)
        if self.order == "fixed":
            return users
        place = world.streams.generator("visiting order", number).permutation(len(world.users)).argsort()
        return sorted(users, key=lambda user: int(place[user.number]))
