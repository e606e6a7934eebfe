"""Heterogeneity-aware split federated learning: every user has its own cut and mini-batch size.

[Lin et al., arXiv 2506.08426; AdaptSFL: arXiv 2403.13101; deviations in docs/systems/hasfl.md]

Blocks up to the deepest cut of all are the users' own, those above are common. A user with a shallower cut has its copy
of the blocks in between at the server. A round is one mini-batch of every user; the same users take part in all rounds
of an interval.
before an interval:
  controller       mini-batches, cuts, and length of the interval
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

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Annotated

from annotated_types import Ge, Gt

from learning import steps
from learning.aggregators import weighted_mean
from learning.control.controller import record
from learning.control.cuts import OutOfReach
from learning.control.cuts.controller import CutController, CutPlan, Hasfl
from learning.control.cuts.estimates import BoundConstants, BoundEstimates
from learning.control.cuts.forecast import CutForecast
from learning.control.prediction import message_bits
from learning.parties import User
from learning.ports import Process
from learning.protocols.average import average
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink, exchange
from learning.scheme import Scheme
from learning.schemes.hasfl.blocks import ServerBlocks, UserBlocks
from learning.steps import Weights
from learning.world import World


@dataclass(frozen=True)
class HASFL(Scheme):
    """Split federated learning with a cut and a mini-batch size for each user (Lin et al., 2025); uniform weights."""

    controller: CutController = Hasfl()
    """The controller of mini-batches, cuts and interval."""
    interval: Annotated[int, Ge(1)] = 1
    """Rounds between aggregations of the users' own blocks, unless the controller chooses it."""
    constants: BoundConstants = BoundConstants()
    """Constants of the convergence bound by which controllers predict the number of rounds."""
    between_servers_bps: Annotated[float, Gt(0)] = 4e8
    """Rate in bit/s, as controllers assume it, between the server that trains and the one that averages."""
    link: CutLink = CutLink()
    """Messages across the cut."""

    one_chain = True

    @property
    def stand_in(self) -> str | None:
        """The constants of the bound as stated, where decisions otherwise depend on gradients; else None."""
        estimated = self.constants.estimate and self.controller.uses_bound
        return "the constants of the bound as they are stated, which are not estimated" if estimated else None

    def run(self, world: World) -> Process[None]:
        server = ServerBlocks(world)
        blocks = {user: UserBlocks(user, server) for user in world.users}
        forecast = self._forecast(world, server.whole)
        plan: CutPlan | None = None
        interval, ends = -1, 0
        for number in world.rounds():
            if number == ends:
                interval += 1
                plan = self.decide(forecast, interval, plan)
                self.begin(world, server, blocks, plan)
                ends += plan.interval
            last = number + 1 == ends
            users = world.selected(interval)
            done = yield from gather(world, {u: self.user(world, u, blocks[u], interval, last) for u in users})
            server.common.step(list(done), world.weights(list(done), "uniform"))
            for user in done:
                blocks[user].step()
            if done and last:
                server.own = yield from self.aggregate(world, {user: blocks[user] for user in done})
                forecast.estimates.update(server.whole, {user: blocks[user].mini_batch for user in done})
            for each in blocks.values():
                each.position = each.mini_batch.stop
            own = server.own if last else self.mean(world, {user: blocks[user] for user in users})
            over = [self.link.deployed(blocks[user].cut) for user in users]
            world.models((own, server.common.weights), over=over)

    def user(self, world: World, user: User, blocks: UserBlocks, interval: int, last: bool) -> Process[None]:
        """A round of one user, which is one mini-batch.

        Args:
            world: the world.
            user: the user.
            blocks: its own blocks of the model.
            interval: number of the interval that the round belongs to.
            last: whether it is the last round of the interval.
        """
        if blocks.interval != interval:
            yield from self.download(world, user, blocks, interval)
        batch = user.batches.run(blocks.mini_batch)
        blocks.weights, blocks.state = yield from exchange(
            world, self.link, user, blocks.weights, blocks.state, batch, blocks.serve, blocks.front
        )
        if last:
            yield from user.send(world.server, blocks.weights, "model")

    def download(self, world: World, user: User, blocks: UserBlocks, interval: int) -> Process[None]:
        """Download of the device part and, as a migration, of the blocks that a deeper cut than before adds to it."""
        received = []
        for kind, part in blocks.to_download().items():
            received.append((yield from world.server.send(user, part, kind)))
        blocks.weights = world.executor.submit(steps.merge, *received)
        blocks.interval, blocks.downloaded = interval, blocks.cut

    def decide(self, forecast: CutForecast, interval: int, before: CutPlan | None) -> CutPlan:
        """The plan of an interval; that of the interval `before`, where no plan reaches the target by the estimates.

        Raises OutOfReach where there was none before.
        """
        try:
            return self.controller.plan(forecast, interval)
        except OutOfReach:
            if before is None:
                raise
            return before._replace(objective=nan)

    def begin(self, world: World, server: ServerBlocks, blocks: Mapping[User, UserBlocks], plan: CutPlan) -> None:
        """Apply a plan at the beginning of an interval, and record it."""
        server.divide(int(plan.choice.cuts.max()))
        for (user, own), cut, samples in zip(blocks.items(), plan.choice.cuts, plan.choice.batches, strict=True):
            own.assign(int(cut), len(user.batches.cut(0, int(samples))))
            record(world.journal, user, {"cut": own.cut, "batch_size": own.batch_size})
        record(world.journal, None, {"interval": plan.interval, "objective": plan.objective})

    def aggregate(self, world: World, blocks: Mapping[User, UserBlocks]) -> Process[Weights]:
        """Mean of the users' own blocks; private copies are sent to the server that averages, and back."""
        copies = [each.private for each in blocks.values() if each.private is not None]
        there_and_back = [copies, copies]
        record(world.journal, None, {"between_servers_bits": message_bits(world, there_and_back)})
        return average(world, [each.own for each in blocks.values()], world.weights(list(blocks), "uniform"))

    def mean(self, world: World, blocks: Mapping[User, UserBlocks]) -> Weights:
        """Mean of the users' own blocks, for evaluation between aggregations; not charged."""
        weights = world.weights(list(blocks), "uniform")
        return world.executor.submit(weighted_mean, [each.own for each in blocks.values()], weights)

    def check(self, world: World) -> None:
        """Raises ValueError where the link does not fit the model, or there is no plan for the first interval."""
        self.link.check(world)
        self.controller.plan(self._forecast(world, weights=None), 0)

    def _forecast(self, world: World, weights: Weights | None) -> CutForecast:
        """The controller's forecast; `weights` are those of the whole model before training."""
        estimates = BoundEstimates(world, self.constants, weights)
        return CutForecast(world, self.link, self.interval, self.between_servers_bps, estimates)
