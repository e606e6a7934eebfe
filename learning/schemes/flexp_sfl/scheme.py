"""Flexible personalised split federated learning. [FlexP-SFL, Yuan et al., arXiv 2508.10349; reconstructed, as no
equation was available: docs/systems/flexp_sfl.md]

Every user has its own numbers of first and last blocks on its device, which are never averaged; the blocks in between
are at the server, one set for all users. Users go on independently under an asynchronous policy.
server -> user   first and last blocks        once
server -> user   reference: the server's copies of aligned blocks    every `alignment.every` steps; no upload
for each mini-batch of a local round:
  user -> server   activations
  server           forward pass
  server -> user   activations
  user             last blocks, loss, backward pass and step
  user -> server   gradient
  server           backward pass, and a step of the blocks at the server
  server -> user   gradient
  user             backward pass and step of the first blocks
With `average_every`, private blocks go down before and up after each interval, and the server averages them.
With `server_mode: joint`, the server's blocks take one step after a round, on the mean gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge

from learning.aggregators import mean_of_holders
from learning.control.controller import record
from learning.control.private_blocks import FixedSplits, SplitRule
from learning.executor.deferred import specification
from learning.executor.flops import charge_elementwise
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.cohort import assemble
from learning.protocols.shared_blocks import Mode, ServerWeighting, SharedBlocks, Stale
from learning.protocols.u_shaped import exchange
from learning.scheme import Scheme
from learning.schemes.flexp_sfl.alignment import Alignment
from learning.schemes.flexp_sfl.device import Device
from learning.schemes.flexp_sfl.proxy import Consensus
from learning.steps import Parameters, Weights
from learning.world import World


@dataclass
class Averages:
    """Means of private blocks at the server, where they are averaged."""

    weights: Weights
    """Weights of the whole model, of which users have some privately."""


@dataclass(frozen=True)
class FlexPSFL(LocalTraining, Scheme):
    """Personalised split federated learning in a U shape, with private outer blocks that are never averaged."""

    splits: SplitRule = FixedSplits()
    """Which blocks each user has on its device."""
    alignment: Alignment = Alignment()
    """How private blocks are drawn to the server's copies of them, which other users train."""
    server_mode: Mode = "sequential"
    """Whether each mini-batch changes the server's blocks (`sequential`), or the mean gradient of a round does
    (`joint`)."""
    stale: Stale = "stash"
    """Weights of the server's backward pass: those of the forward pass (`stash`), or the latest (`latest`)."""
    server_weighting: ServerWeighting = "none"
    """Whether all steps of the server have the same size (`none`), or each user's are scaled by the mean number of
    steps of all users over its own (`inverse_rate`)."""
    average_every: Annotated[int, Ge(1)] | None = None
    """Rounds between averages of private blocks (default: they are never averaged); only if users train in rounds."""
    average_blocks: tuple[Annotated[int, Ge(0)], ...] | None = None
    """Numbers of the blocks that are averaged (default: all)."""

    asynchronous = True
    one_chain = True

    def run(self, world: World) -> Process[None]:
        plan = self.splits.plan(world)
        record(world.journal, None, plan.figures)
        splits = dict(zip(world.users, plan.splits, strict=True))
        spans = {user: split.span(world.chain.blocks) for user, split in splits.items()}
        blocks = SharedBlocks(world, spans, self.server_mode, self.stale, self.server_weighting)
        consensus = Consensus(world, self.alignment.proxy) if self.alignment.proxy else None
        devices = {}
        for user, split in splits.items():
            elsewhere = [range(*span) for other, span in spans.items() if other is not user]
            devices[user] = Device(world, user, split, self.alignment, elsewhere, consensus)
            record(world.journal, user, {"first_blocks": split.first, "last_blocks": split.last})
        averages = Averages(world.initial(world.whole))
        cohort: Any = assemble(world, lambda user, n, _: self.user(world, devices[user], n, blocks, averages))
        for number in world.rounds():
            updates = yield from cohort.updates(number, ())
            blocks.step([(update.user, update.model[0]) for update in updates])
            if self._last(number) and updates:
                uploads = {update.user: update.model[1] for update in updates}
                averages.weights = yield from self.average(world, averages.weights, uploads)
            now = averages.weights if self._last(number) else None
            world.models(*(self.model(device, blocks, now) for device in devices.values()))

    def user(
        self, world: World, device: Device, number: int, blocks: SharedBlocks, averages: Averages
    ) -> Process[tuple[Any, ...]]:
        """A local round of a user; returns the gradients that wait for a joint step, and private blocks it uploads."""
        user, interval = device.user, number // self.average_every if self.average_every else 0
        blocks.begin(user)
        device.begin()
        if device.interval != interval:
            wanted = device.chosen(averages.weights, self.average_blocks if device.interval >= 0 else None)
            device.receive((yield from world.server.send(user, wanted, "model")))
            if device.interval < 0:
                device.refer(device.chosen(None, device.aligned))
            device.interval = interval
        for position in self.positions(user, number):
            if device.steps and device.steps % self.alignment.every == 0:
                yield from device.align(blocks)
            yield from exchange(user, device.first, device.last, user.batch(position), blocks)
            device.steps += 1
        uploads: list[Weights] = []
        if self._last(number):
            uploads = yield from user.send(world.server, device.chosen(None, self.average_blocks), "model")
        return blocks.gradients(user), uploads

    def model(self, device: Device, blocks: SharedBlocks, averages: Weights | None) -> tuple[Weights, ...]:
        """A user's personal model, in parts; after averages with those in place of its own blocks."""
        parts = device.model(blocks)
        return parts if averages is None else (*parts, *device.chosen(averages, self.average_blocks))

    def average(self, world: World, before: Weights, uploads: Mapping[User, list[Weights]]) -> Process[Weights]:
        """Mean of each private block over the users that have uploaded it, with equal weights."""
        trees = [part for parts in uploads.values() for part in parts if specification(part).leaves]
        return (yield from world.server.do(averaged, before, trees, kind="aggregation")) if trees else before

    def check(self, world: World) -> None:
        """Raises ValueError where a split does not fit the model, or a setting does not fit the policy."""
        super().check(world)
        splits = self.splits.plan(world).splits
        if self.alignment.proxy and not all(split.last for split in splits):
            raise ValueError("alignment.proxy trains last blocks on devices; let splits.last be at least 1")
        if self.average_every is not None and world.policy.asynchronous:
            raise ValueError("average_every is a number of rounds; leave it out, or choose a policy in rounds")
        if self.server_mode == "joint" and self.server_weighting != "none":
            raise ValueError("in a joint step all gradients have the same weight; set server_weighting to none")

    def _last(self, number: int) -> bool:
        """Whether private blocks are averaged after a round."""
        return self.average_every is not None and (number + 1) % self.average_every == 0


def averaged(before: Parameters, trees: list[Parameters]) -> Parameters:
    """Mean of each block over the trees that have it, charged two FLOPs for each element; else as `before`."""
    charge_elementwise(2, trees)
    return mean_of_holders(before, trees, (1.0,) * len(trees))
