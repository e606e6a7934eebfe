"""Split federated learning of zeroth order on both sides. [ZO-SFL, the baseline of HO-SFL, arXiv 2603.14773]

A round is one mini-batch of every user. Neither devices nor the server compute a backward pass.
server -> users  seeds of P directions of the whole model (and what a user has missed)
user             forward passes, with its weights as they are and moved along each direction
user -> server   smashed data of all these passes, labels
server           forward passes with its weights as they are and moved: P changes of the loss
server           mean of the changes over users, and a step of its part along the directions
server -> users  mean changes
user             a step along the directions, the same one on all devices
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from learning import steps, zeroth_order
from learning.draws import Draw
from learning.parties import User
from learning.ports import Process
from learning.protocols.broadcast import Broadcast
from learning.protocols.replicas import CatchUp, CommonPart, Scalars, Step
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink
from learning.scheme import Scheme
from learning.schemes.ho_sfl import operators
from learning.schemes.ho_sfl.scheme import UPLOAD_SHARE
from learning.steps import Parameters, Part, Weights
from learning.world import World
from learning.zeroth_order import Directions, Law, moved, perturbed


def loss_differences(
    segment: Part, law: Law, radius: float, parameters: Parameters, zs: list[Tensor], y: Tensor, us: list[Parameters]
) -> Tensor:
    """(P,): change of the loss of a mini-batch along each direction of the whole model.

    Args:
        segment: the server's part of the model.
        law: law of the directions.
        radius: how far weights are moved.
        parameters: the server's weights.
        zs: smashed data of the device as it is, then moved along each direction, (samples, ...).
        y: labels, (samples, ...).
        us: uniform numbers of the directions of the server's weights.
    """
    plain = steps.mean_loss(segment(parameters, zs[0]), y)
    along = [steps.mean_loss(segment(moved(law, radius, parameters, u), z), y) for z, u in zip(zs[1:], us, strict=True)]
    return torch.stack(along) - plain


@dataclass(frozen=True)
class ZOSFL(Scheme):
    """Split federated learning in which the whole model is trained by changes of the loss along random directions."""

    directions: Directions = Directions()
    """Random directions of the whole model; `two_sided` is not possible."""
    catch_up: CatchUp = "auto"
    """How a device that has missed rounds gets the present weights."""
    scalars: Scalars = Scalars()
    """Sizes of messages of seeds and scalars."""
    weighting: Literal["uniform", "by_samples"] = "uniform"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""
    link: CutLink = CutLink()
    """Messages across the cut."""

    one_chain = True

    repeats_steps = True

    def run(self, world: World) -> Process[None]:
        common = CommonPart(world, world.initial(world.front), self.directions, self.scalars, self.catch_up)
        back: Weights
        back = world.initial(world.back)
        state: Any = world.server_optimiser.init(world.initial(world.back))
        for number in world.rounds():
            users, us = world.selected(number), common.draws(number)
            shapes = world.back.parameters()
            server_us = self.directions.draws(world.streams, shapes, world.precision, number, "server")
            seeds = common.seeds(users, 1)
            work = {user: self.user(world, user, number, common, back, seeds, us, server_us) for user in users}
            changes = {user: v for user, v in (yield from gather(world, work, UPLOAD_SHARE)).items() if v is not None}
            yield from seeds.withdraw()
            if changes:
                weights = world.weights(list(changes), self.weighting)
                means = operators.mean_differences, list(changes.values()), weights
                mean = yield from world.server.do(*means, kind="aggregation")
                common.step(Step([mean], [us]))
                step = (zeroth_order.update, self.directions, world.server_optimiser, back, state, [mean], [server_us])
                back, state = yield from world.server.do(*step, kind="server_step")
                done = yield from common.follow(list(changes))
                world.report_participation(len(done), len(users))
            world.models((common.weights, back), over=[self.link.deployed()])

    def user(
        self,
        world: World,
        user: User,
        number: int,
        common: CommonPart,
        back: Weights,
        seeds: Broadcast,
        us: list[dict[str, Draw]],
        server_us: list[dict[str, Draw]],
    ) -> Process[Any]:
        """A round of one user; returns the changes of its loss, (P,), or nothing if the seeds have not reached it.

        Args:
            world: the world.
            user: the user.
            number: number of the round.
            common: the devices' part of the model.
            back: weights of the server's part.
            seeds: broadcast of the seeds.
            us: uniform numbers of the directions of the devices' part.
            server_us: those of the server's part.
        """
        yield from common.synchronise(user)
        if not (yield from seeds.reaches(user)):
            return None
        weights = common.replicas[user].weights
        x, y = user.batch(number)
        front = self.link.reduced(world, user, world.front, weights, x)
        zs = [(yield from user.do(steps.front, front, weights, x, kind="client_forward"))]
        law, radius = self.directions.law, self.directions.radius
        for u in us:
            z = yield from user.do(perturbed, front, law, radius, weights, x, u, kind="client_perturbed")
            zs.append(z)
        zs, y = yield from user.send(user.server, (zs, y), "activation", self.link.upload)
        work = (loss_differences, world.back, law, radius, back, zs, y, server_us)
        return (yield from user.server.do(*work, kind="server_forward", user=user))

    def check(self, world: World) -> None:
        """Raises ValueError where the link does not fit the model, or the directions are none or two-sided."""
        super().check(world)
        self.link.check(world)
        if not self.directions.count or self.directions.two_sided:
            raise ValueError("zo_sfl needs directions.count of at least 1, and directions.two_sided false")
