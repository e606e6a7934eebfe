"""Hybrid-order split federated learning. [HO-SFL, Chen et al., arXiv 2603.14773; deviations in docs/systems/ho_sfl.md]

A round is one mini-batch of every user. Devices never compute a backward pass.
server -> users  seeds of P directions (and what a user has missed)
user             forward pass
user -> server   smashed data, labels
user             forward pass with its weights moved along each direction, meanwhile or afterwards
server           gradients of the user's mini-batch at the common server weights
server -> user   cut-layer gradient
user             P scalars: the changes of the smashed data, times that gradient
user -> server   scalars
server           one step on the mean of the users' gradients; mean of the scalars
server -> users  mean scalars
user             a step along the directions, the same one on all devices
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from learning import steps
from learning.draws import Draw
from learning.parties import User
from learning.ports import Process
from learning.protocols.broadcast import Broadcast
from learning.protocols.join import join
from learning.protocols.replicas import CatchUp, CommonPart, Scalars, Step
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink, JointPart, Smashed
from learning.scheme import Scheme
from learning.schemes.ho_sfl import operators
from learning.steps import Part
from learning.world import World
from learning.zeroth_order import Directions, perturbed

UPLOAD_SHARE = 0.8
"""Fraction of a round's deadline by which scalars must have arrived, so that the rest is left for their mean."""


class Forwarded(NamedTuple):
    """A mini-batch on a device after its forward pass."""

    front: Part
    """The device's part of the model, with the token reducer of the link."""
    x: Any
    """Samples, (samples, ...)."""
    z: Any
    """Smashed data, (samples, ...)."""


@dataclass(frozen=True)
class HOSFL(Scheme):
    """Split federated learning whose devices only run forward passes (Chen et al., ICML 2026)."""

    directions: Directions = Directions()
    """Random directions along which devices estimate their gradients; with `count: 0` devices stay as they are."""
    seeds: Literal["shared", "private"] = "shared"
    """Whether all users take the same directions, or each its own, of which all users then need seeds and scalars."""
    perturb: Literal["overlap", "after_gradient"] = "overlap"
    """When forward passes along the directions are computed: while the smashed data are on their way; or when the
    gradient is there, which stores no smashed data."""
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
        back = world.initial(world.back)
        joint = JointPart(world, back, world.server_optimiser.init(back))
        for number in world.rounds():
            users = world.selected(number)
            us = {user: common.draws(number, *([user.number] if self.seeds == "private" else [])) for user in users}
            seeds = common.seeds(users, len(users) if self.seeds == "private" else 1)
            work = {user: self.user(world, user, number, common, joint, seeds, us[user]) for user in users}
            scalars = {user: v for user, v in (yield from gather(world, work, UPLOAD_SHARE)).items() if v is not None}
            yield from seeds.withdraw()
            weights = world.weights(list(scalars), self.weighting) if scalars else ()
            joint.step(list(scalars), weights)
            if scalars and self.directions.count:
                yield from self.step(world, common, scalars, weights, us)
                done = yield from common.follow(list(scalars))
                world.report_participation(len(done), len(users))
            world.models((common.weights, joint.weights), over=[self.link.deployed()])

    def user(
        self,
        world: World,
        user: User,
        number: int,
        common: CommonPart,
        joint: JointPart,
        seeds: Broadcast,
        us: list[dict[str, Draw]],
    ) -> Process[Any]:
        """A round of one user; returns its scalars, (P,), or nothing if the seeds have not reached it.

        Args:
            world: the world.
            user: the user.
            number: number of the round.
            common: the devices' part of the model.
            joint: the server's part of the model.
            seeds: broadcast of the seeds.
            us: the uniform numbers of its directions.
        """
        yield from common.synchronise(user)
        if us and not (yield from seeds.reaches(user)):
            return None
        weights = common.replicas[user].weights
        x, y = user.batch(number)
        front = self.link.reduced(world, user, world.front, weights, x)
        z = yield from user.do(steps.front, front, weights, x, kind="client_forward")
        forwarded, exchange = Forwarded(front, x, z), self.exchange(world, user, z, y, joint)
        if not us or self.perturb == "after_gradient":
            dz = yield from exchange
            v = yield from self.probe(world, user, weights, forwarded, dz, us)
        else:
            dz, moved = yield from join(world.env, [exchange, self.moved(user, weights, forwarded, us)])
            v = yield from user.do(operators.differences, dz, z, moved, kind="client_scalars")
        if us:
            v, _ = yield from user.send(world.server, (v, 0), "scalars", self.scalars.codec)
        return v

    def exchange(self, world: World, user: User, z: Smashed, y: Any, joint: JointPart) -> Process[Any]:
        """Smashed data up, and the cut-layer gradient down if devices learn from it."""
        z, y = yield from user.send(user.server, (z, y), "activation", self.link.upload)
        dz = yield from joint.serve(user, z, y)
        if self.directions.count:
            dz = yield from user.server.send(user, dz, "gradient", self.link.gradients)
        return dz

    def moved(self, user: User, weights: Any, forwarded: Forwarded, us: list[dict[str, Draw]]) -> Process[Any]:
        """The smashed data at either side, or one, of each direction."""
        front, law = forwarded.front, self.directions.law
        moved = []
        for u in us:
            sides = []
            for step in self.directions.sides:
                work = (perturbed, front, law, step, weights, forwarded.x, u)
                sides.append((yield from user.do(*work, kind="client_perturbed")))
            moved.append(sides)
        return moved

    def probe(
        self, world: World, user: User, weights: Any, forwarded: Forwarded, dz: Any, us: list[dict[str, Draw]]
    ) -> Process[Any]:
        """The scalars, one direction after another."""
        front, x, z = forwarded
        scalars = []
        for u in us:
            work = (operators.probed, front, self.directions.law, self.directions.sides, weights, x, z, dz, u)
            scalars.append((yield from user.do(*work, kind="client_perturbed")))
        return world.executor.submit(operators.joined, scalars) if scalars else ()

    def step(
        self,
        world: World,
        common: CommonPart,
        scalars: dict[User, Any],
        weights: tuple[float, ...],
        us: dict[User, list[dict[str, Draw]]],
    ) -> Process[None]:
        """Mean of the scalars, or the scalars of all users if each has directions of its own, and the step by them."""
        values = list(scalars.values())
        if self.seeds == "shared":
            mean = yield from world.server.do(operators.mean_differences, values, weights, kind="aggregation")
            common.step(Step([mean], [us[next(iter(scalars))]]))
        else:
            each = yield from world.server.do(operators.weighted_differences, values, weights, kind="aggregation")
            common.step(Step(each, [us[user] for user in scalars]))

    def check(self, world: World) -> None:
        """Raises ValueError where the link does not fit the model."""
        super().check(world)
        self.link.check(world)
