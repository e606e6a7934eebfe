"""Split federated learning, version 1. [Thapa et al., AAAI 2022, SplitFedV1]

server -> user   device part              per round
for each local step, all users side by side:
  user -> server   smashed data, labels
  server           forward pass, backward pass and step on the user's own replica
  server -> user   cut-layer gradient
  user             backward pass and step
user -> server   device part              per round
server           mean of the device parts, and of the replicas
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from learning.adapters import Adapted, Bound, Part
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.cohort import assemble
from learning.protocols.model_codecs import ModelCodecs
from learning.protocols.split import CutLink, ServerPart, exchange
from learning.protocols.updates import merge, of_part
from learning.scheme import Scheme
from learning.states import States
from learning.steps import State, Weights
from learning.world import World


@dataclass(frozen=True)
class SFLV1(LocalTraining, Scheme):
    """Split federated learning with a server replica for each user; device parts and replicas are averaged."""

    weighting: Literal["uniform", "by_samples"] = "uniform"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""
    link: CutLink = CutLink()
    """Messages across the cut."""
    average: Literal["factors", "product"] = "factors"
    """How adapters are averaged: each of their two factors; or their product, truncated to their rank, after which
    optimisers start each local round with a new state."""
    models: ModelCodecs = ModelCodecs()
    """Codecs of the device parts that are sent, in numbers of 16 bits for example."""

    asynchronous = True
    hierarchical = True
    lazy_users = True
    training_layers = True

    def run(self, world: World) -> Process[None]:
        front: Weights
        back: Weights
        front, back = world.initial(world.front), world.initial(world.back)
        fresh = world.optimiser.init(front), world.server_optimiser.init(back)
        states: States[tuple[State, State]] = States(fresh)
        cohort = assemble(world, lambda user, number, model: self.user(world, user, number, model, states))
        adapted = [_adapted(part) if self.average == "product" else None for part in (world.front, world.back)]
        for number in world.rounds():
            updates = yield from cohort.updates(number, (front, back))
            front = yield from merge(world, front, of_part(updates, 0), self.weighting, adapted[0])
            back = yield from merge(world, back, of_part(updates, 1), self.weighting, adapted[1])
            world.models((front, back), over=[self.link.deployed()])

    def user(
        self,
        world: World,
        user: User,
        number: int,
        model: tuple[Weights, Weights],
        states: States[tuple[State, State]],
    ) -> Process[tuple[Weights, Weights]]:
        """A local round of a user, from both parts of the `model`; returns its device part and its replica."""
        (front, back), (state, back_state) = model, states[user]
        front = yield from user.server.send(user, front, "model", self.models.download)
        replica = ServerPart(world, back, back_state)
        for position in self.positions(user, number):
            batch = user.batch(position)
            front, state = yield from exchange(
                world, self.link, user, front, state, batch, replica.serve, position=position
            )
        front = yield from user.send(user.server, front, "model", self.models.upload)
        if self.average == "factors":  # averages of products turn the factors, of which these moments would be
            states[user] = state, replica.state
        return front, replica.weights

    def check(self, world: World) -> None:
        """Raises ValueError where the link does not fit the model, or adapters cannot be averaged by their products."""
        super().check(world)
        self.link.check(world)
        if self.average == "product":
            _adapted(world.front)
            if world.policy.asynchronous or world.nearest is not None:
                raise ValueError("average = product needs a policy in rounds and one server; set average to factors")


def _adapted(part: Part) -> Adapted:
    if not isinstance(part, Bound):
        raise ValueError("average = product needs adapters; give learning.adapter, as in {rank: 8}")
    return part.adapted
