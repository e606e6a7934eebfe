"""Parallel split learning: joint server steps, device parts that are never averaged. [GAPSL's baseline definition]

As SFL with an infinite interval. Every user has a model of its own: accuracy is reported as the mean, minimum and
maximum over users on the common test set.

Under an asynchronous policy, which has no joint step, a local round is one mini-batch against a replica of the server
part, and the policy determines how replicas update the server part. With plain SGD the mean of all users' replicas is
the joint step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from learning.parties import User
from learning.ports import Process
from learning.protocols.cohort import assemble
from learning.protocols.split import CutLink, DevicePart, ServerPart, exchange
from learning.protocols.updates import merge
from learning.scheme import Scheme
from learning.schemes.sfl import SFL
from learning.steps import State, Weights
from learning.world import World


@dataclass(frozen=True)
class PSL(Scheme):
    """Parallel split learning: one joint server step a round; every user keeps its own device part."""

    weighting: Literal["uniform", "by_samples"] = "uniform"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""
    link: CutLink = CutLink()
    """Messages across the cut."""

    asynchronous = True
    training_layers = True

    def check(self, world: World) -> None:
        """Raises ValueError where the link does not fit the model."""
        super().check(world)
        self.link.check(world)

    def run(self, world: World) -> Process[None]:
        joint = SFL(interval=None, weighting=self.weighting, link=self.link)
        return self.run_asynchronously(world) if world.policy.asynchronous else joint.run(world)

    def run_asynchronously(self, world: World) -> Process[None]:
        """Train under an asynchronous policy, each user against a replica of the server part."""
        back: Weights
        front, back = world.initial(world.front), world.initial(world.back)
        devices = {user: DevicePart(front, world.optimiser.init(front)) for user in world.users}
        states: dict[User, State] = dict.fromkeys(world.users, world.server_optimiser.init(back))
        cohort = assemble(world, lambda user, number, back: self.user(world, user, number, back, devices[user], states))
        for number in world.rounds():
            updates = yield from cohort.updates(number, back)
            back = yield from merge(world, back, updates, self.weighting)
            world.models(*((device.weights, back) for device in devices.values()), over=[self.link.deployed()])

    def user(
        self, world: World, user: User, number: int, back: Weights, device: DevicePart, states: dict[User, State]
    ) -> Process[Weights]:
        """A local round: one mini-batch against a replica of the server part `back`; returns the replica."""
        yield from device.first_download(user)
        replica = ServerPart(world, back, states[user])
        device.weights, device.state = yield from exchange(
            world, self.link, user, device.weights, device.state, user.batch(number), replica.serve, position=number
        )
        states[user] = replica.state
        return replica.weights
