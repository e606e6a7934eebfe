"""Heterogeneous split fine-tuning of adapters. [HSplitLoRA, Lin et al., arXiv 2505.02795]

Every user has its own cut, and its own rank for each weight. A round is `local_steps` mini-batches of every user.
server           plans: ranks by importance within each budget; cuts, if importance has changed enough
server -> user   configuration: cut and ranks, if they are new
server -> user   increments since the user last took part: factors, or full matrices where these are smaller
user             merges them into its frozen blocks
server -> user   frozen blocks that its device lacks: the backbone at first, then what a deeper cut adds
for each local step, all users side by side:
  user -> server   smashed data, labels
  server           forward pass, backward pass and step of the user's own adapters and head
  server -> user   cut-layer gradient
  user             backward pass and step of its adapters
every `probe_every` rounds, with the first step:
  user -> server   importance of each weight on the device, one number each; the server adds those of its own
user -> server   adapters of the device part
server           increments of all users, stacked, merged into the backbone; new adapters, fresh optimisers
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from learning import steps
from learning.codecs import Codec, FixedWidth, Identity
from learning.control.ranks import RankController, RankPlan, RankSettings, adaptable
from learning.control.ranks.importance import relative_cost
from learning.executor.deferred import specification
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink, ServerPart, exchange
from learning.scheme import Scheme
from learning.schemes.hsplitlora import operators
from learning.schemes.hsplitlora.backbone import AdapterUpdate, Backbone, DeviceBackbone, fresh
from learning.schemes.hsplitlora.probe import probed_exchange
from learning.steps import Weights
from learning.world import World

DEFAULT_STEPS = 20
ENTRY = FixedWidth(8)
"""Codec of a cut or a rank in a configuration message."""


@dataclass(frozen=True)
class HSplitLoRA(LocalTraining, Scheme):
    """Split fine-tuning of adapters with a cut and ranks for each user, exactly aggregated (Lin et al., 2025)."""

    local_steps: Annotated[int, Ge(1)] | None = None
    """Mini-batches in a round, between aggregations (default: 20, unless `local_epochs` is given)."""
    control: RankSettings = RankSettings()
    """How ranks and cuts are chosen."""
    aggregation: operators.Rule = "stack"
    """Aggregation of the adapters: the exact mean of their increments, by factors of all users side by side (`stack`);
    or the product of the mean factors, padded with zeros where ranks differ (`zero_pad`), or of equal ranks
    (`average`)."""
    over: operators.Over = "all"
    """Users over which the increments of a weight are averaged: all, or those that have an adapter on it
    (`participants`)."""
    draws: Literal["each", "together"] = "each"
    """Whether the initial down-projections of a round are drawn independently for each user, or once for all users."""
    weighting: Literal["by_samples", "uniform"] = "by_samples"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""
    activations: Codec = Identity()
    """Codec of the smashed data."""
    gradients: Codec = Identity()
    """Codec of the cut-layer gradients."""
    label_bits: Annotated[int, Ge(0)] = 32
    """Bits of one sample's label; in a language model a label is a token."""

    one_chain = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.aggregation == "average" and self.control.configuration != "fixed":
            raise ValueError("aggregation = average needs equal ranks; set configuration to fixed, or use zero_pad")

    @property
    def stand_in(self) -> str | None:
        return self.control.stand_in

    @property
    def link(self) -> CutLink:
        """Messages across the cut."""
        return CutLink(activations=self.activations, gradients=self.gradients, label_bits=self.label_bits)

    def run(self, world: World) -> Process[None]:
        controller = RankController(self.control, world, self.link)
        backbone, devices = Backbone(world, controller.model), {user: DeviceBackbone() for user in world.users}
        for number in world.rounds():
            plans = controller.plans(number)
            costs = relative_cost(controller.model.sides) if self.control.probes(number) else None
            work = {
                user: self.user(world, user, number, plans[user], devices[user], backbone, costs)
                for user in world.selected(number)
            }
            done = yield from gather(world, work)
            if done:
                shares = world.weights(list(done), self.weighting)
                adapted, trees, scores = map(list, zip(*done.values(), strict=True))
                work_of = (operators.aggregated, self.aggregation, self.over, adapted, backbone.frozen, trees, shares)
                backbone.merge(*(yield from world.server.do(*work_of, kind="aggregation")))
                backbone.forget(devices.values())
                if costs:
                    controller.update(scores, shares, number / (world.stop.rounds or number + 1))
            world.models(backbone.whole, over=[self.link.deployed(plan.cut) for plan in plans.values()])

    def user(
        self,
        world: World,
        user: User,
        number: int,
        plan: RankPlan,
        device: DeviceBackbone,
        backbone: Backbone,
        costs: dict[str, float] | None,
    ) -> Process[AdapterUpdate]:
        """A local round of a user.

        Args:
            world: the world.
            user: the user.
            number: number of the round.
            plan: cut and ranks of the user.
            device: what its device holds of the backbone.
            backbone: the backbone at the server.
            costs: relative cost of each weight, by its name, if the first step is a probe; else None.
        """
        yield from self.receive(world, user, plan, device, backbone)
        front, back = backbone.cut(plan)
        entity = (user.number, number) if self.draws == "each" else (number,)
        adapters, state = fresh(world, front, world.optimiser, *entity)
        above, server_state = fresh(world, back, world.server_optimiser, *entity)
        replica = ServerPart(world, world.executor.submit(steps.merge, above, backbone.head), server_state, back)
        scores: Weights = {}
        for position in (positions := self.positions(user, number)):
            step = world, self.link, user, adapters, state, user.batch(position)
            if costs and position == positions.start:
                adapters, state, scores = yield from probed_exchange(*step, replica, front, back, costs)
            else:
                adapters, state = yield from exchange(*step, replica.serve, front)
        if specification(adapters).leaves:
            adapters = yield from user.send(world.server, adapters, "model")
        parameters = world.executor.submit(steps.merge, adapters, replica.weights)
        return AdapterUpdate(backbone.model.with_ranks(plan.ranks), parameters, scores)

    def receive(
        self, world: World, user: User, plan: RankPlan, device: DeviceBackbone, backbone: Backbone
    ) -> Process[None]:
        """Download of cut and ranks, of increments since the user last took part, and of blocks that it lacks."""
        server, held = world.server, min(device.blocks, plan.cut)
        if plan != device.plan:
            yield from server.send(user, (plan.cut, plan.device_ranks), "configuration", ENTRY)
            device.plan = plan
        if held and device.version < backbone.version:
            increments = backbone.increments(device.version, held)
            if specification(increments).leaves:
                increments = yield from server.send(user, increments, "model")
                merging = (operators.received, backbone.segment(held), backbone.part(0, held), increments)
                yield from user.do(*merging, kind="merge")
        if held < plan.cut:
            yield from server.send(user, backbone.part(held, plan.cut), "migration" if held else "backbone")
        device.blocks, device.version = plan.cut, backbone.version

    def positions(self, user: User, number: int) -> range:
        default = self.local_steps is None and self.local_epochs is None
        return LocalTraining(DEFAULT_STEPS).positions(user, number) if default else super().positions(user, number)

    def check(self, world: World) -> None:
        """Raises ValueError unless the scenario has an adapter, and weights for it in two layers or more."""
        super().check(world)
        adaptable(world)

    def excluded(self, world: World) -> list[User]:
        """Users whose budget is too small for any device part. Raises ValueError if that holds for all users."""
        return RankController(self.control, world, self.link).excluded()
