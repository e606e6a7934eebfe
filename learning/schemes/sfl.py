"""Split federated learning with a joint server step. [five-stage protocol of AdaptSFL, Lin et al., 2024]

A round is one mini-batch of every user; the same users take part in all rounds of an interval.
server -> user   device part              in the user's first round of an interval
user -> server   smashed data, labels
server           gradients of the user's mini-batch at the common server weights
server -> user   cut-layer gradient
user             backward pass and step with its own, unscaled gradient
user -> server   device part              in the last round of an interval
server           one step on the mean of the users' gradients; in the last round, mean of the device parts
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from learning.aggregators import weighted_mean
from learning.parties import User
from learning.ports import Process
from learning.protocols.average import average
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink, DevicePart, JointPart, exchange
from learning.scheme import Scheme
from learning.steps import Weights
from learning.world import World


@dataclass(frozen=True)
class SFL(Scheme):
    """Split federated learning with one server step a round on the mean of all users' gradients."""

    interval: Annotated[int, Ge(1)] | None = 1
    """Rounds between aggregations of the device parts; null means never, which is parallel split learning."""
    weighting: Literal["uniform", "by_samples"] = "uniform"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""
    link: CutLink = CutLink()
    """Messages across the cut."""

    training_layers = True

    def check(self, world: World) -> None:
        """Raises ValueError where the link does not fit the model."""
        super().check(world)
        self.link.check(world)

    def run(self, world: World) -> Process[None]:
        front: Weights
        front, back = world.initial(world.front), world.initial(world.back)
        joint = JointPart(world, back, world.server_optimiser.init(back))
        devices = {user: DevicePart(front, world.optimiser.init(front)) for user in world.users}
        for number in world.rounds():
            interval, last = self._interval(number)
            users = world.selected(number if self.interval is None else interval)
            work = {u: self.user(world, u, number, devices[u], front, joint, interval, last) for u in users}
            done = yield from gather(world, work)
            weights = world.weights(list(done), self.weighting)
            joint.step(list(done), weights)
            if done and last:
                front = yield from average(world, [devices[user].weights for user in done], weights)
            world.models(*self._models(world, devices, users, front, joint.weights, last), over=[self.link.deployed()])

    def user(
        self,
        world: World,
        user: User,
        number: int,
        device: DevicePart,
        front: Weights,
        joint: JointPart,
        interval: int,
        last: bool,
    ) -> Process[None]:
        """A round of one user: one mini-batch, and at the ends of an interval the device part down and up.

        Args:
            world: the world.
            user: the user.
            number: number of the round.
            device: its part of the model.
            front: the aggregated device part.
            joint: the server part that all users share.
            interval: number of the interval that the round belongs to.
            last: whether it is the last round of the interval.
        """
        if device.interval != interval:
            device.weights = yield from world.server.send(user, front, "model")
            device.interval = interval
        batch = user.batch(number)
        device.weights, device.state = yield from exchange(
            world, self.link, user, device.weights, device.state, batch, joint.serve, position=number
        )
        if last:
            yield from user.send(world.server, device.weights, "model")

    def _interval(self, number: int) -> tuple[int, bool]:
        """Number of the interval that a round belongs to, and whether it is the last round of it."""
        if self.interval is None:
            return 0, False
        return number // self.interval, (number + 1) % self.interval == 0

    def _models(
        self,
        world: World,
        devices: dict[User, DevicePart],
        users: list[User],
        front: Weights,
        back: Weights,
        last: bool,
    ) -> list[tuple[Weights, Weights]]:
        """The models to be evaluated: the global one, as if it were aggregated now; or without interval each user's."""
        if self.interval is None:
            return [(device.weights, back) for device in devices.values()]
        if not last:
            fronts = [devices[user].weights for user in users]
            front = world.executor.submit(weighted_mean, fronts, world.weights(users, self.weighting))
        return [(front, back)]
