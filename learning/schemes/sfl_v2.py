"""Split federated learning, version 2. [Thapa et al., AAAI 2022, SplitFedV2]

As version 1, but with one server part: mini-batches change it one after another, in the order in which the server
processes them. Device parts are averaged each round, the server part never.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.cohort import assemble
from learning.protocols.model_codecs import ModelCodecs
from learning.protocols.split import CutLink, ServerPart, exchange
from learning.protocols.updates import merge
from learning.scheme import Scheme
from learning.states import States
from learning.steps import State, Weights
from learning.world import World


@dataclass(frozen=True)
class SFLV2(LocalTraining, Scheme):
    """Split federated learning with one server part, changed by every mini-batch in order of arrival."""

    weighting: Literal["uniform", "by_samples"] = "uniform"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""
    link: CutLink = CutLink()
    """Messages across the cut."""
    models: ModelCodecs = ModelCodecs()
    """Codecs of the device parts that are sent, in numbers of 16 bits for example."""

    asynchronous = True
    lazy_users = True
    training_layers = True

    def check(self, world: World) -> None:
        """Raises ValueError where the link or the number of local steps does not fit the model or the users."""
        super().check(world)
        self.link.check(world)

    def run(self, world: World) -> Process[None]:
        front: Weights
        front, back = world.initial(world.front), world.initial(world.back)
        part = ServerPart(world, back, world.server_optimiser.init(back))
        states: States[State] = States(world.optimiser.init(front))
        cohort = assemble(world, lambda user, number, front: self.user(world, user, number, front, part, states))
        for number in world.rounds():
            updates = yield from cohort.updates(number, front)
            front = yield from merge(world, front, updates, self.weighting)
            world.models((front, part.weights), over=[self.link.deployed()])

    def user(
        self, world: World, user: User, number: int, front: Weights, part: ServerPart, states: States[State]
    ) -> Process[Weights]:
        """A local round of a user against the common server part; returns its device part."""
        state = states[user]
        front = yield from world.server.send(user, front, "model", self.models.download)
        for position in self.positions(user, number):
            batch = user.batch(position)
            front, state = yield from exchange(
                world, self.link, user, front, state, batch, part.serve, position=position
            )
        front = yield from user.send(world.server, front, "model", self.models.upload)
        states[user] = state
        return front
