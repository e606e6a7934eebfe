"""What the server of FedAlign-MoE makes of the users' uploads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Annotated, Literal, NamedTuple

from annotated_types import Ge, Gt, Lt

from learning import steps
from learning.executor.deferred import Value
from learning.expert_parameters import expert_parameters
from learning.parties import User
from learning.ports import Process
from learning.protocols.average import average
from learning.schemes.fedalign_moe.alignment import Similarity, aggregated, alignment
from learning.schemes.fedalign_moe.routing import Consistency, consistency, gate_divergence, mixed_gates, reference
from learning.schemes.fedalign_moe.statistics import Prototypes
from learning.steps import Parameters, Weights
from learning.world import World


class Parts(NamedTuple):
    """Names of the trained parameters of a model with experts, in the order of the model."""

    names: tuple[str, ...]
    """All of them."""
    gates: tuple[str, ...]
    experts: tuple[str, ...]
    """Those of experts with a gate; shared experts belong to the rest of the model."""

    def without(self, *left_out: tuple[str, ...]) -> tuple[str, ...]:
        """All names but those in any of the given tuples."""
        others = {name for names in left_out for name in names}
        return tuple(name for name in self.names if name not in others)


class Upload(NamedTuple):
    """What the server receives of a user in a round; trees that are not needed are empty."""

    model: Weights
    routing: Weights
    """Statistics of routing."""
    prototypes: Value[Prototypes]
    """Prototypes of the experts."""


@dataclass
class Held:
    """What the server holds between rounds."""

    model: Weights
    """The parameters that are the same for all users."""
    reference: Weights = field(default_factory=dict)
    """The routing reference; empty before the first one."""
    experts: dict[User, Weights] = field(default_factory=dict)
    """The experts of each user, where they are personal."""


@dataclass(frozen=True)
class Aggregation:
    """Base of the scheme: how gates and experts are aggregated."""

    gates: Literal["row_consistency", "fedavg", "local"] = field(default="row_consistency", kw_only=True)
    """Aggregation of the gates: row by row, each expert's row weighted by routing consistency; by samples (`fedavg`);
    or none, each user keeps its own gates (`local`), and accuracy is reported over the users' models."""
    experts: Literal["aligned", "personal", "fedavg"] = field(default="aligned", kw_only=True)
    """Aggregation of the experts: one aggregate for all, in which users with similar experts have larger shares; one
    for each user, of the experts that are similar to its own (`personal`), so that accuracy is reported over the users'
    models; or by samples (`fedavg`)."""
    consistency: Consistency = field(default="conditional", kw_only=True)
    """Routing consistency of a user for an expert: by the divergence from the other users of its gate's probabilities
    on the tokens of this expert (`conditional`), or of the expert's mean probability (`marginal`); or `uniform`, the
    same for all users of the expert."""
    temperature: Annotated[float, Gt(0)] = field(default=0.1, kw_only=True)
    """Temperature T_s of the conditional consistency exp(-divergence / T_s), with the divergence in nats."""
    regularisation: Annotated[float, Ge(0)] = field(default=0.05, kw_only=True)
    """Strength lambda_r of the penalty on the divergence of a user's gates from the routing reference; 0 sends none."""
    reference_memory: Annotated[float, Ge(0), Lt(1)] = field(default=0.5, kw_only=True)
    """Weight of the previous routing reference in the new one after a round from which some users are missing."""
    similarity: Similarity = field(default="roles", kw_only=True)
    """Similarity of two users' experts: of their mean outputs for the user's own tokens (`roles`), of their outputs for
    common random tokens that the server has sent (`anchors`), or of the changes of their `parameters`. It is multiplied
    by the similarity of their mean inputs, except with `anchors`, where no mean of hidden states leaves a device."""
    anchors: Annotated[int, Ge(1)] = field(default=16, kw_only=True)
    """Number of random tokens for which experts are compared, where `similarity` is `anchors`."""
    beta: Annotated[float, Ge(0)] | None = field(default=0.5, kw_only=True)
    """How many standard deviations below the mean similarity a pair of users may be to count; null accepts all."""
    server_step: Annotated[float, Gt(0)] = field(default=1.0, kw_only=True)
    """Step eta_s of the server from the old to the aggregated experts; 1 takes the latter."""

    def __post_init__(self) -> None:
        if self.experts == "personal" and self.similarity == "parameters":
            raise ValueError("changes of parameters are compared of a common expert; set experts to aligned")

    @property
    def weighs_routing(self) -> bool:
        """Whether users are weighted by the consistency of their routing."""
        return self.gates == "row_consistency" or self.regularisation > 0

    @property
    def aligns_experts(self) -> bool:
        """Whether users' experts are compared."""
        return self.experts != "fedavg"

    @property
    def prototypes(self) -> tuple[str, ...]:
        """The prototypes of experts that users send."""
        if not self.aligns_experts or self.similarity == "anchors":
            return ()
        return ("regions", "roles") if self.similarity == "roles" else ("regions",)

    def merge(self, world: World, parts: Parts, held: Held, uploads: Mapping[User, Upload]) -> Process[None]:
        """Update what the server holds by the uploads of a round, given in the order of the users."""
        aligned = parts.experts if self.aligns_experts else ()
        models = self._named(world, uploads, parts.without(() if self.gates == "fedavg" else parts.gates, aligned))
        pieces = [(yield from average(world, models, world.weights(list(uploads), "by_samples")))]
        if self.weighs_routing:
            pieces += yield from self._gates(world, parts, held, uploads)
        if self.aligns_experts:
            pieces += yield from self._experts(world, parts, held, uploads)
        held.model = world.executor.submit(joined, parts.names, pieces)

    def _gates(self, world: World, parts: Parts, held: Held, uploads: Mapping[User, Upload]) -> Process[list[Weights]]:
        """The new gates as a part of the common model, if they are mixed; the new reference is stored."""
        server, samples = world.server, tuple(user.samples for user in uploads)
        routings = [upload.routing for upload in uploads.values()]
        weighing = (consistency, self.consistency, self.temperature, samples, routings)
        weights = yield from server.do(*weighing, kind="alignment")
        if self.regularisation > 0:
            keep = self.reference_memory if len(uploads) < len(world.users) else 0.0
            referring = (reference, keep, held.reference, weights, routings)
            held.reference = yield from server.do(*referring, kind="alignment")
        if self.gates != "row_consistency" or not parts.gates:
            return []
        gates = self._named(world, uploads, parts.gates)
        return [(yield from server.do(mixed_gates, samples, weights, gates, kind="aggregation"))]

    def _experts(
        self, world: World, parts: Parts, held: Held, uploads: Mapping[User, Upload]
    ) -> Process[list[Weights]]:
        """The new experts as a part of the common model; personal ones are stored instead."""
        server, samples = world.server, tuple(user.samples for user in uploads)
        trees = self._named(world, uploads, parts.experts)
        routings = [upload.routing for upload in uploads.values()]
        prototypes = [upload.prototypes for upload in uploads.values()]
        common = world.executor.submit(steps.named, held.model, parts.experts)
        compared = (trees, common) if self.similarity == "parameters" else ([], {})
        settings = (self.similarity, inf if self.beta is None else self.beta, self.experts == "personal", samples)
        shares, summary = yield from server.do(alignment, *settings, routings, prototypes, *compared, kind="alignment")
        world.measures(summary, world.executor.submit(gate_divergence, routings))
        if self.experts == "aligned":
            merging = (aggregated, self.server_step, 0, common, shares, trees)
            return [(yield from server.do(*merging, kind="aggregation"))]
        for number, user in enumerate(uploads):
            own = (aggregated, self.server_step, number, held.experts[user], shares, trees)
            held.experts[user] = yield from server.do(*own, kind="aggregation")
        return []

    def _named(self, world: World, uploads: Mapping[User, Upload], names: tuple[str, ...]) -> list[Weights]:
        return [world.executor.submit(steps.named, upload.model, names) for upload in uploads.values()]


def joined(names: tuple[str, ...], trees: list[Parameters]) -> Parameters:
    """Parts of a model together, in the order of `names`; a later part replaces what an earlier one has as well."""
    return steps.named(steps.merge(*trees), names)


def parts_of(world: World) -> Parts:
    """The trained parameters of the world's model. Raises ValueError if no expert trains."""
    layers = expert_parameters(world.chain)
    names = tuple(world.chain.parameters())
    gates = tuple(name for name in names if layers.gate(name) is not None)
    experts = tuple(name for name in names if layers.expert(name) is not None)
    if not experts:
        raise ValueError("no parameter of an expert is trained; give learning.adapter the targets fc1 and fc2")
    return Parts(names, gates, experts)
