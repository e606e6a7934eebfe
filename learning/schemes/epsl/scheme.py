"""Efficient parallel split learning: users share gradients of the last layer. [EPSL, Lin et al., arXiv 2303.15991]

A round is one mini-batch of every user; device parts are never averaged.
user -> server   smashed data, labels
server           forward pass of the user's mini-batch at the common server weights
barrier: the server has the logits of all users
server           mean over users of the first samples' gradients at the last layer; forward and backward pass of
                 the mean of their smashed data, once for all users
server           backward pass of each user's other samples
server           one step on the mean of the users' gradients
server -> users  cut-layer gradient of the mean samples, as a broadcast
server -> user   cut-layer gradient of its other samples
user             backward pass and step
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Interval

from learning import steps
from learning.executor.deferred import specification
from learning.parties import User
from learning.ports import Process
from learning.protocols.broadcast import Broadcast
from learning.protocols.join import join
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink, DevicePart, Sent, upload
from learning.scheme import Scheme
from learning.schemes.epsl import operators
from learning.steps import State, Weights
from learning.world import World

UPLOAD_SHARE = 0.5
"""Fraction of a round's deadline by which uploads must have arrived, so that the rest is left for gradients."""
ROUNDING = 1e-9
"""Part of a sample by which a number of samples may exceed a whole number without being rounded up."""


class Received(NamedTuple):
    """A user's mini-batch at the server."""

    sent: Sent
    """Samples, smashed data and labels."""
    logits: Any
    """Logits, (samples, ..., classes)."""


class Passed(NamedTuple):
    """Results of the server's backward passes."""

    shared: list[Weights]
    """Gradient of the server's part for the samples that users share; empty if there are none."""
    broadcast: Broadcast | None
    """Broadcast of these samples' cut-layer gradient; None if there are none."""
    own: dict[User, tuple[Weights, Any]]
    """Gradient of the server's part and cut-layer gradient of the other samples of each user that has some."""


@dataclass(frozen=True)
class EPSL(Scheme):
    """Parallel split learning in which users share the backward pass of a part of their samples (Lin et al., 2023)."""

    shared: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Share of a mini-batch whose last-layer gradients are averaged over users (phi); with 0 it is parallel split
    learning, but for the barrier."""
    weighting: Literal["uniform", "by_samples"] = "uniform"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""
    link: CutLink = CutLink()
    """Messages across the cut. The gradient that all users share is broadcast at full precision."""

    one_chain = True

    def check(self, world: World) -> None:
        """Raises ValueError where the link does not fit the model."""
        super().check(world)
        self.link.check(world)

    def run(self, world: World) -> Process[None]:
        back: Weights
        state: State
        front, back = world.initial(world.front), world.initial(world.back)
        state = world.server_optimiser.init(back)
        devices = {user: DevicePart(front, world.optimiser.init(front)) for user in world.users}
        for number in world.rounds():
            users = world.selected(number)
            uploads = {user: self.forward(world, user, number, devices[user], back) for user in users}
            received = yield from gather(world, uploads, UPLOAD_SHARE)
            if received:
                weights = dict(zip(received, world.weights(list(received), self.weighting), strict=True))
                passed = yield from self.backward(world, received, back, weights)
                own = [gradients for gradients, _ in passed.own.values()]
                shares = tuple(weight for user, weight in weights.items() if user in passed.own)
                step = (operators.joint_step, world.server_optimiser, back, state, own, passed.shared, shares)
                back, state = world.executor.submit(*step)
                work = {u: self.update(world, u, devices[u], each.sent, passed) for u, each in received.items()}
                done = yield from gather(world, work)
                if passed.broadcast:
                    yield from passed.broadcast.withdraw()
                world.report_participation(len(done), len(users))
            world.models(*((each.weights, back) for each in devices.values()), over=[self.link.deployed()])

    def forward(self, world: World, user: User, number: int, device: DevicePart, back: Weights) -> Process[Received]:
        """A user's smashed data, and the server's forward pass on their arrival."""
        yield from device.first_download(user)
        sent = yield from upload(world, self.link, user, device.weights, user.batch(number))
        logits = yield from user.server.do(steps.front, world.back, back, sent.z, kind="server_forward", user=user)
        return Received(sent, logits)

    def backward(
        self, world: World, received: Mapping[User, Received], back: Weights, weights: Mapping[User, float]
    ) -> Process[Passed]:
        """The server's backward passes, first for the samples that users share."""
        sizes = {user: specification(each.sent.y).leaves[0].shape[0] for user, each in received.items()}
        count = ceil(self.shared * min(sizes.values()) - ROUNDING)
        passed = Passed([], None, {})
        if count:
            zs, ys = [each.sent.z for each in received.values()], [each.sent.y for each in received.values()]
            logits = [each.logits for each in received.values()]
            work = (operators.mean_samples, world.back, count, back, zs, logits, ys, tuple(weights.values()))
            gradients, dz = yield from world.server.do(*work, kind="server_backward")
            passed = Passed([gradients], Broadcast(world, list(received), dz, "gradient"), {})
        more = [user for user in received if sizes[user] > count]
        works = [self.others(world, user, received[user].sent, back, count) for user in more]
        own = yield from join(world.env, works)
        return passed._replace(own=dict(zip(more, own, strict=True)))

    def others(self, world: World, user: User, sent: Sent, back: Weights, first: int) -> Process[tuple[Weights, Any]]:
        """The server's backward pass of a user's samples from number `first` on."""
        work = (operators.other_samples, world.back, first, back, sent.z, sent.y)
        return (yield from user.server.do(*work, kind="server_backward"))

    def update(self, world: World, user: User, device: DevicePart, sent: Sent, passed: Passed) -> Process[None]:
        """Cut-layer gradients down, backward pass and step of a user that they reach."""
        if not specification(device.weights).leaves:
            return
        parts = []
        if passed.broadcast:
            if not (yield from passed.broadcast.reaches(user)):
                return
            parts.append(passed.broadcast.what)
        if user in passed.own:
            parts.append((yield from user.server.send(user, passed.own[user][1], "gradient", self.link.gradients)))
        dz = world.executor.submit(operators.joined, parts) if len(parts) > 1 else parts[0]
        step = (steps.update_front, sent.front, world.optimiser, device.weights, device.state, sent.x, dz)
        device.weights, device.state = yield from user.do(*step, kind="client_backward")
