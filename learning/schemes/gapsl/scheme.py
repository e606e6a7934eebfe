"""Gradient-aligned parallel split learning. [GAPSL, Lin et al., arXiv 2603.18540; deviations in docs/systems/gapsl.md]

A round is one mini-batch of every user; device parts are never averaged.
user -> server   smashed data, labels
server           gradients of the user's mini-batch at the common server weights
barrier: the server has the gradients of all users
server           leader gradient, of the users whose gradients agree most; users kept, which are aligned with it
server           one step on the gradients of the users kept
server -> user   cut-layer gradient
user             backward pass and step, if the user is kept
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, Literal, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor

from learning import steps
from learning.draws import Draw
from learning.executor.deferred import specification
from learning.parties import User
from learning.ports import Process
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink, DevicePart, Sent, Smashed, download, upload
from learning.scheme import Scheme
from learning.schemes.gapsl import operators
from learning.schemes.gapsl.alignment import Alignment, aligned
from learning.schemes.gapsl.operators import Reduction
from learning.steps import State, Weights
from learning.world import World

UPLOAD_SHARE = 0.5
"""Fraction of a round's deadline by which uploads must have arrived, so that the rest is left for gradients."""


class Received(NamedTuple):
    """A user's mini-batch at the server."""

    sent: Sent
    """Samples and smashed data."""
    gradients: Weights
    """Gradient of the server's part."""
    dz: Smashed
    """Cut-layer gradient."""
    loss: Any
    """Mean loss."""


@dataclass
class ServerModel:
    """What the server holds between rounds."""

    weights: Weights
    """Its part of the model."""
    state: State
    """State of its optimiser."""
    extremes: Any
    """(2,): smallest and largest spread of the users' mean angles so far."""


@dataclass(frozen=True)
class GAPSL(Scheme):
    """Parallel split learning with a leader gradient, and updates by the users aligned with it (Lin et al., 2026)."""

    alignment: Alignment = Alignment()
    """Which gradients make up the leader, and which users are kept."""
    penalty: Literal["detached", "double", "steer"] = "detached"
    """How gradients are drawn to the leader, beside the choice of users: not at all, as in the paper's implementation,
    in which the penalty 1 - cos is a constant; by the penalty's own gradient, which takes a second backward pass; or
    by turning each gradient towards the leader."""
    strength: Annotated[float, Ge(0)] = 5e-4
    """Weight of the penalty (lambda), or how far a gradient is turned."""
    unselected: Literal["skip", "own"] = "skip"
    """What a user that is not kept does: nothing; or a step along its own gradient."""
    server_reduction: Reduction = "mean_selected"
    """How the server adds up gradients: the sum over kept users, their mean, or their part of the mean over all."""
    skip_empty_downlink: bool = False
    """Whether users that are not kept get no gradient, instead of one that they do not use."""
    planned_rounds: Annotated[int, Ge(1)] | None = None
    """Rounds over which the leader grows (default: those after which the run stops)."""
    weighting: Literal["uniform", "by_samples"] = "uniform"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""
    link: CutLink = CutLink()
    """Messages across the cut."""

    @property
    def stand_in(self) -> str | None:
        return "all users are kept in every round" if self._reads else None

    @property
    def _reads(self) -> bool:
        """Whether what happens on the network depends on which users are kept."""
        return self.penalty == "double" or (self.skip_empty_downlink and self.unselected == "skip")

    def run(self, world: World) -> Process[None]:
        front, back = world.initial(world.front), world.initial(world.back)
        devices = {user: DevicePart(front, world.optimiser.init(front)) for user in world.users}
        server = ServerModel(back, world.server_optimiser.init(back), torch.tensor([inf, -inf], dtype=torch.float64))
        for number in world.rounds():
            users = world.selected(number)
            uploads = {user: self.forward(world, user, number, devices[user], server.weights) for user in users}
            received = yield from gather(world, uploads, UPLOAD_SHARE)
            if received:
                work = yield from self.align(world, number, devices, server, received)
                done = yield from gather(world, work)
                world.report_participation(len(done), len(users))
            world.models(*((each.weights, server.weights) for each in devices.values()), over=[self.link.deployed()])

    def forward(self, world: World, user: User, number: int, device: DevicePart, back: Weights) -> Process[Received]:
        """A user's smashed data, and what the server computes of them on arrival."""
        yield from device.first_download(user)
        sent = yield from upload(world, self.link, user, device.weights, user.batch(number))
        work = (steps.back_gradients, world.back, back, sent.z, sent.y)
        gradients, dz, loss = yield from user.server.do(*work, kind="server_step", user=user)
        return Received(sent, gradients, dz, loss)

    def align(
        self,
        world: World,
        number: int,
        devices: Mapping[User, DevicePart],
        server: ServerModel,
        received: Mapping[User, Received],
    ) -> Process[dict[User, Process[None]]]:
        """Leader, kept users and the server's step; returns what each user does then."""
        users, gradients = list(received), [each.gradients for each in received.values()]
        u = Draw(world.streams, "aligned users", (number,), (2, len(users)), torch.float64)
        work = (aligned, self.alignment, gradients, server.extremes, self._progress(world, number), u)
        found, leader, server.extremes = yield from world.server.do(*work, kind="alignment")
        losses = [each.loss for each in received.values()]
        world.measures(world.executor.submit(operators.penalised_loss, losses, found, self.strength))
        kept = self._kept(world, users, found) if self._reads else set(users)
        dz = {user: each.dz for user, each in received.items()}
        if self.penalty == "double":
            for place, user in enumerate(users):
                if user in kept:
                    again = (operators.penalised_gradients, world.back, self.strength, server.weights)
                    data = received[user].sent.z, received[user].sent.y, leader
                    gradients[place], dz[user] = yield from user.server.do(*again, *data, kind="penalty")
        turn = self.strength if self.penalty == "steer" else 0.0
        step = (operators.server_step, world.server_optimiser, self.server_reduction, turn, server.weights)
        rest = server.state, gradients, leader, found, world.weights(users, self.weighting)
        server.weights, server.state = world.executor.submit(*step, *rest)
        reached = [user for user in users if not self.skip_empty_downlink or self.unselected == "own" or user in kept]
        return {
            user: self.backward(world, user, devices[user], received[user].sent, dz[user], users.index(user), found)
            for user in reached
        }

    def backward(
        self, world: World, user: User, device: DevicePart, sent: Sent, dz: Smashed, place: int, found: Any
    ) -> Process[None]:
        """Cut-layer gradient down, backward pass and step of a user, the one at `place` among those of the round."""
        if self.unselected == "own" or self.alignment.kept == "all":
            done = yield from download(world, self.link, user, device.weights, device.state, sent, dz)
            device.weights, device.state = done
            return
        if not specification(device.weights).leaves:
            return
        dz = yield from user.server.send(user, dz, "gradient", self.link.gradients)
        step = (operators.update_front_if_kept, sent.front, world.optimiser, device.weights, device.state, sent.x, dz)
        device.weights, device.state = yield from user.do(*step, found, torch.tensor(place), kind="client_backward")

    def check(self, world: World) -> None:
        """Raises ValueError where the link does not fit the model, or the number of rounds is not known."""
        super().check(world)
        self.link.check(world)
        self._progress(world, 0)

    def _progress(self, world: World, number: int) -> Tensor:
        rounds = self.planned_rounds or world.stop.rounds
        if rounds is None:
            raise ValueError("the leader grows over the planned rounds; give planned_rounds, or stop.rounds")
        return torch.tensor(min((number + 1) / rounds, 1.0), dtype=torch.float64)

    def _kept(self, world: World, users: list[User], found: Any) -> set[User]:
        """The users that are kept, as values say, or all without values."""
        if not world.executor.computes:
            return set(users)
        kept = world.executor.value(found)["kept"]
        return {user for user, one in zip(users, kept.tolist(), strict=True) if one}
