"""Aggregation alignment for federated mixtures of experts. [FedAlign-MoE, Fang et al., arXiv 2603.21276]

server -> user   model                per round: shared parameters, gates, experts
server -> user   routing reference    per round, from the second on
server -> user   anchors              once, if experts are compared by their outputs for them
user             local steps on the task, and on the divergence of the gates' mean probabilities from the reference
user             statistics of routing and prototypes of experts, in a forward pass over its mini-batches
user -> server   routing statistics   per round
user -> server   prototypes           per round: regions and roles of experts, or their outputs for the anchors
user -> server   model                per round, without experts that no token of the statistics has chosen
server           consistency of the users' routing, and from it the new routing reference
server           similarities of the users' experts in pairs, and from them the users' shares in the aggregate
server           shared parameters by samples, gates by consistency, experts by shares
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from learning import steps
from learning.adapters import Bound
from learning.data import Inputs
from learning.executor.deferred import specification
from learning.expert_parameters import expert_parameters
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.rounds import gather
from learning.scheme import Scheme
from learning.schemes.fedalign_moe.aggregation import Aggregation, Held, Parts, Upload, joined, parts_of
from learning.schemes.fedalign_moe.statistics import anchor_outputs, profile, stacked_usage, train_towards
from learning.steps import State, Weights
from learning.world import World


@dataclass
class Device:
    """What a device holds between rounds."""

    state: State
    """State of its optimiser."""
    gates: Weights
    """Its own gates, where these are local; else empty."""
    anchors: Tensor | None = None
    """Anchors (1, anchors, width), once it has received them."""


@dataclass(frozen=True)
class FedAlignMoE(LocalTraining, Aggregation, Scheme):
    """Federated mixtures of experts with aligned routing and selective aggregation of experts (Fang et al., 2026)."""

    statistics_batches: Annotated[int, Ge(1)] | None = field(default=None, kw_only=True)
    """Number of mini-batches, the last ones of the local round, for which statistics are collected (default: all)."""
    skip_unused: bool = field(default=True, kw_only=True)
    """Whether experts that no token of the statistics has chosen are not uploaded; with `experts: fedavg` all are."""

    one_chain = True

    def __post_init__(self) -> None:
        LocalTraining.__post_init__(self)
        Aggregation.__post_init__(self)

    @property
    def stand_in(self) -> str | None:
        return "every user uses every expert in every round" if self._skips else None

    @property
    def _skips(self) -> bool:
        return self.skip_unused and self.aligns_experts

    def run(self, world: World) -> Process[None]:
        parts, start = parts_of(world), world.initial(world.whole)
        own = {name: start[name] for name in parts.gates} if self.gates == "local" else {}
        personal = {name: start[name] for name in parts.experts} if self.experts == "personal" else {}
        held = Held({name: value for name, value in start.items() if name not in {*own, *personal}})
        held.experts = dict.fromkeys(world.users, personal) if personal else {}
        devices = {user: Device(world.optimiser.init(start), own) for user in world.users}
        for number in world.rounds():
            work = {user: self.user(world, user, number, parts, held, devices[user]) for user in world.selected(number)}
            uploads = yield from gather(world, work)
            if uploads:
                yield from self.merge(world, parts, held, uploads)
            if own or personal:
                world.models(*((held.model, held.experts.get(u, {}), devices[u].gates) for u in world.users))
            else:
                world.models(held.model)

    def user(self, world: World, user: User, number: int, parts: Parts, held: Held, device: Device) -> Process[Upload]:
        """A local round of a user; returns what the server receives. The device keeps its results if that arrives."""
        server, executor, reference = world.server, world.executor, held.reference
        model = held.model
        if held.experts:
            model = executor.submit(joined, parts.names, [model, held.experts[user]])
        model = yield from server.send(user, model, "model")
        if specification(reference).leaves:
            reference = yield from server.send(user, reference, "routing_reference")
        if self.aligns_experts and self.similarity == "anchors" and device.anchors is None:
            device.anchors = yield from server.send(user, self._anchors(world), "anchors")
        if self.gates == "local":
            model = executor.submit(joined, parts.names, [model, device.gates])
        positions = self.positions(user, number)
        x, y = user.batches.stack(positions)
        penalty = self.regularisation, reference
        training = (train_towards, world.chain, world.optimiser, *penalty, model, device.state, x, y)
        model, state, _ = yield from user.do(*training, kind="client_training")
        upload = Upload({}, {}, {})
        if self.weighs_routing or self.aligns_experts:
            x, _ = user.batches.stack(positions[-(self.statistics_batches or len(positions)) :])
            upload = yield from self.describe(world, user, model, device, x)
        unused = yield from self.unused(world, user, parts, upload)
        sent = parts.without(unused, parts.gates if self.gates == "local" else ())
        mine = yield from user.send(server, executor.submit(steps.named, model, sent), "model")
        device.state = state
        if self.gates == "local":
            device.gates = executor.submit(steps.named, model, parts.gates)
        return upload._replace(model=mine)

    def describe(self, world: World, user: User, model: Weights, device: Device, x: list[Inputs]) -> Process[Upload]:
        """Statistics of a user's gates and experts for stacks of samples, as the server receives them."""
        server = world.server
        routing, prototypes = yield from user.do(profile, world.chain, self.prototypes, model, x, kind="statistics")
        routing = yield from user.send(server, routing, "routing_statistics")
        if device.anchors is not None:
            prototypes = yield from user.do(anchor_outputs, world.chain, model, device.anchors, kind="statistics")
        if self.prototypes or device.anchors is not None:
            prototypes = yield from user.send(server, prototypes, "prototype")
        return Upload({}, routing, prototypes)

    def unused(self, world: World, user: User, parts: Parts, upload: Upload) -> Process[tuple[str, ...]]:
        """Names of the parameters of the experts that a user does not upload."""
        if not self._skips:
            return ()
        layers = expert_parameters(world.chain)
        usage = yield from user.read(world.executor.submit(stacked_usage, upload.routing), _all_used)
        return tuple(name for name in parts.experts if usage[layers.expert(name)] == 0)

    def check(self, world: World) -> None:
        """Raises ValueError unless the model has experts that are trained."""
        super().check(world)
        parts_of(world)

    def _anchors(self, world: World) -> Tensor:
        """Random tokens with elements of zero mean and unit variance, as those of normalised tokens."""
        segment = world.chain.adapted.segment if isinstance(world.chain, Bound) else world.chain
        gate = segment.parameters()[f"{expert_parameters(world.chain).layers[0]}.gate.weight"]
        drawn = world.streams.generator("anchors").standard_normal((1, self.anchors, gate.shape[1]))
        return torch.from_numpy(drawn).to(world.precision)


def _all_used(usage: Tensor) -> Tensor:
    """Stands in for the usage of experts, (layers, experts), where no values are computed."""
    return torch.ones(usage.shape)
