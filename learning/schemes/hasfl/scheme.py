"""Heterogeneity-aware split federated learning: every user has its own cut and mini-batch size.

[Lin et al., arXiv 2506.08426; AdaptSFL: arXiv 2403.13101; deviations in docs/systems/hasfl.md]

Blocks up to the deepest cut of all are the users' own, those above are common. A user with a shallower cut has its copy
of the blocks in between at the server. A round is one mini-batch of every user; the same users take part in all rounds
of an interval.
before an interval:
  controller       mini-batches, cuts, and rounds of the interval
server -> user   device part              in the user's first round of an interval
server -> user   migration: blocks that are new on the device, where its cut is deeper than the one it last received
user -> server   smashed data, labels
server           gradients at the user's private copy and the common blocks
server -> user   cut-layer gradient
user             backward pass and step with its own gradient
user -> server   device part              in the last round of an interval
server           one step of the common blocks on the users' mean gradient, a step of each private copy on its own;
                 in the last round, mean of the users' own blocks, for which private copies cross between servers
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan
from typing import Annotated, Any

from annotated_types import Ge, Gt

from learning import steps
from learning.aggregators import weighted_mean
from learning.control.cuts import OutOfReach
from learning.data import Rows
from learning.parties import User
from learning.ports import Process
from learning.protocols.average import average
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink, exchange
from learning.scheme import Scheme
from learning.schemes.hasfl import operators
from learning.schemes.hasfl.controllers import Controller, Hasfl, Plan
from learning.schemes.hasfl.device import Device
from learning.schemes.hasfl.estimates import Constants, Estimates
from learning.schemes.hasfl.model import Model
from learning.schemes.hasfl.situation import Situation, plain
from learning.world import World


@dataclass(frozen=True)
class HASFL(Scheme):
    """Split federated learning with a cut and a mini-batch size for each user (Lin et al., 2025); all count alike."""

    controller: Controller = Hasfl()
    """Who decides on mini-batches, cuts and interval."""
    interval: Annotated[int, Ge(1)] = 1
    """Rounds between aggregations of the users' own blocks, unless the controller chooses it."""
    constants: Constants = Constants()
    """What controllers know of the problem, to predict rounds."""
    between_servers_bps: Annotated[float, Gt(0)] = 4e8
    """Rate, as controllers see it, between the server that trains and the one that averages."""
    link: CutLink = CutLink()
    """What crosses the cut."""

    def run(self, world: World) -> Process[None]:
        model, devices = Model(world), {user: Device() for user in world.users}
        situation = self._situation(world, model.whole)
        estimates, interval, following = situation.estimates, -1, 0
        plan: Plan | None = None
        for number in world.rounds():
            if number == following:
                interval += 1
                plan = self.planned(situation, interval, plan)
                self.begin(world, model, devices, plan)
                following += plan.interval
            last = number + 1 == following
            users = world.selected(interval)
            work = {u: self.user(world, situation, u, devices[u], model, interval, last) for u in users}
            done = yield from gather(world, work)
            if done:
                self.step(world, model, devices, done)
            if done and last:
                model.own = yield from self.aggregate(world, [devices[user] for user in done])
                estimates.look(model.whole, [(user, devices[user].mini_batch(user)) for user in done])
            for user, device in devices.items():
                device.position = device.mini_batch(user).stop
            world.models((model.own if last else self.mean(world, [devices[user] for user in users]), model.common))

    def check(self, world: World) -> None:
        """Raises ValueError where the controller has no plan for the first interval."""
        self.controller.plan(self._situation(world, weights=None), 0)

    def _situation(self, world: World, weights: Any) -> Situation:
        """What controllers see before anything is trained; `weights` are those of the whole model."""
        estimates = Estimates(world, self.constants, plain(world.whole).blocks, weights)
        return Situation(world, self.link, self.interval, self.between_servers_bps, estimates)

    def planned(self, situation: Situation, interval: int, before: Plan | None) -> Plan:
        """The plan of an interval; the one `before` stays where no other reaches the target by the latest estimates.

        Raises OutOfReach where there was none before.
        """
        try:
            return self.controller.plan(situation, interval)
        except OutOfReach:
            if before is None:
                raise
            return before._replace(objective=nan)

    def begin(self, world: World, model: Model, devices: dict[User, Device], plan: Plan) -> None:
        """What the controller has decided takes effect."""
        deepest = int(plan.choice.cuts.max())
        model.divide(deepest)
        for (user, device), cut, samples in zip(devices.items(), plan.choice.cuts, plan.choice.batches, strict=True):
            size = len(user.batches.cut(0, int(samples)))
            device.assign(world, model.own, int(cut), deepest, size)
            world.journal.decision(user.number, "cut", int(cut))
            world.journal.decision(user.number, "batch_size", size)
        world.journal.decision(None, "interval", plan.interval)
        if isfinite(plan.objective):
            world.journal.decision(None, "objective", plan.objective)

    def user(
        self, world: World, situation: Situation, user: User, device: Device, model: Model, interval: int, last: bool
    ) -> Process[Any]:
        """A mini-batch; returns gradients of the private copy, if there is one, and of the common blocks."""
        if device.interval != interval:
            yield from device.receive(world, user, interval)
        front, back = situation.parts[device.cut - 1]
        gradients: tuple[Any, Any] = None, None

        def serve(user: User, z: Any, y: Rows) -> Process[Any]:
            nonlocal gradients
            if device.private is None:
                work = (steps.back_gradients, back, model.common, z, y)
                common, dz, _ = yield from world.server.do(*work, kind="server_step", user=user)
                gradients = None, common
            else:
                apart = (operators.back_gradients, back, device.private, model.common, z, y)
                private, common, dz = yield from world.server.do(*apart, kind="server_step", user=user)
                gradients = private, common
            return dz

        batch = user.batches.run(device.mini_batch(user))
        device.weights, device.state = yield from exchange(
            world, self.link, user, device.weights, device.state, batch, serve, front
        )
        if last:
            yield from user.send(world.server, device.weights, "model")
        return gradients

    def step(self, world: World, model: Model, devices: dict[User, Device], done: dict[User, tuple[Any, Any]]) -> None:
        """The server steps: common blocks on the mean, private copies each on its own gradient."""
        model.step([common for _, common in done.values()], world.weights(list(done), "uniform"))
        for user, (private, _) in done.items():
            if private is not None:
                devices[user].step_private(world, private)

    def aggregate(self, world: World, devices: list[Device]) -> Process[Any]:
        """The mean of the users' own blocks; private copies go to the server that averages, and back."""
        bits = sum(device.private_bits(world) for device in devices)
        world.journal.decision(None, "between_servers_bits", 2 * bits)
        return average(world, [device.own(world) for device in devices], self._weights(devices))

    def mean(self, world: World, devices: list[Device]) -> Any:
        """The users' own blocks as they would be if they were aggregated now."""
        return world.executor.submit(weighted_mean, [device.own(world) for device in devices], self._weights(devices))

    def _weights(self, devices: list[Device]) -> tuple[float, ...]:
        return (1 / len(devices),) * len(devices)
