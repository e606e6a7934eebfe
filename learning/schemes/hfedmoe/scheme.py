"""Federated fine-tuning of mixtures of experts, each device training as many experts as it can afford.

[HFedMoE, Fang et al., arXiv 2601.00583; deviations in docs/systems/hfedmoe.md]

server -> user   frozen parameters        once, with adapters
server -> user   shared parameters, gates, and those experts of which the user lacks the server's copy   per round
for each mini-batch:
  user             forward pass with ordinary routing; importance of each expert that tokens are routed to
  user             backward pass and step on the active experts alone: the best ones within the user's budget
user -> server   shared parameters, gates, dominant experts; use and importance of all experts           per round
server           experts averaged over the users that uploaded them, gates weighted by preference, the rest by samples

Three sets of experts are distinct: those that tokens are routed to, those active in a backward pass, those uploaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Annotated, NamedTuple

from annotated_types import Ge, Interval
from torch import Tensor

from learning.adapters import Bound
from learning.codecs import Bundle, FixedWidth, Identity
from learning.control.controller import record
from learning.control.experts import ExpertBudgets
from learning.control.experts.selection import Over
from learning.expert_parameters import Expert, ExpertParameters, expert_parameters
from learning.expert_training import Mask, forward, partial_step
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process, Timed
from learning.protocols.rounds import gather
from learning.scheme import Scheme
from learning.schemes.hfedmoe import aggregation, training
from learning.schemes.hfedmoe.device import Device, ServerModel, with_experts
from learning.steps import Weights
from learning.world import World

UPLOAD = Bundle((Identity(), FixedWidth(32)))
"""Codec of an upload: parameters, and statistics in 32 bits each."""


class Upload(NamedTuple):
    """What the server receives of a user."""

    weights: Weights
    """Parameters that train, without experts that are not dominant."""
    statistics: Weights
    """Use and importance of all experts, by name."""
    dominant: list[Expert]
    """The experts that were uploaded."""


@dataclass(frozen=True)
class HFedMoE(LocalTraining, Scheme):
    """Federated learning of a mixture of experts; each device trains those that it can afford (Fang et al., 2026)."""

    selection: training.By = "importance"
    """Active experts of a mini-batch: the most important ones, or random ones, or those that the user's first
    mini-batch used most, of those that tokens are routed to and within the budget; or, without a budget, all that
    tokens are routed to, or all."""
    lam: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Weight of the mean gate probability in the importance of an expert; the rest is that of the maximum."""
    beta: Annotated[float, Ge(0)] = 0.1
    """Weight of the divergence of gate probabilities that is subtracted from the importance in a selection."""
    budget: ExpertBudgets = ExpertBudgets()
    """How many experts may be active in a mini-batch."""
    over: Over = "model"
    """What a budget is divided among: nothing (`model`), or the layers, evenly."""
    mask: Mask = "output"
    """What an expert that is not active is spared: its part of the backward pass, or only the gradients of its own
    parameters (`params_only`), while it passes on the gradient of its input."""
    tau: Annotated[float, Interval(ge=0, le=1)] | None = None
    """Mean gate probability from which an expert is dominant for a user, and uploaded (default: 0.5 / experts of a
    layer)."""
    require_update: bool = True
    """Whether an expert must also have been active to be dominant; otherwise its unchanged copy takes part in the
    mean."""
    gates: aggregation.GateWeights = "normalised"
    """Weights of the users' gates in their mean: preference for dominant experts divided by the sum of all users'; not
    divided (`literal`), as in the paper, which shrinks the gate; or numbers of samples (`by_samples`)."""
    scope: aggregation.Scope = "layer"
    """Over which experts the preferences that weight a gate are summed: those of its layer, or all of the model."""

    one_chain = True

    @property
    def stand_in(self) -> str | None:
        """Equal use of the experts, where decisions otherwise depend on the gates; None where they depend on none."""
        if self.selection == "all" and self.tau == 0:
            return None
        return (
            "all experts used equally, so that the active ones have an even share of the tokens, and all are dominant"
        )

    def run(self, world: World) -> Process[None]:
        experts, weights, budgets = expert_parameters(world.chain), world.initial(world.chain), self.budgets(world)
        server = ServerModel(weights, dict.fromkeys(experts.experts, 0))
        devices = {user: Device(user, experts, budgets[user], world.optimiser.init(weights)) for user in world.users}
        for number in world.rounds():
            users = world.selected(number)
            done = yield from gather(world, {each: self.user(world, devices[each], number, server) for each in users})
            if done:
                yield from self.aggregate(world, experts, server, done)
            world.models(server.weights)

    def user(self, world: World, device: Device, number: int, server: ServerModel) -> Process[Upload]:
        """A local round of a user: download, local steps, upload.

        Values do not depend on time: training is submitted at once, so that it is computed for all users together.
        """
        user, weights, positions = device.user, server.weights, self.positions(device.user, number)
        trained = device.train(world, self.rule, number, positions, weights)
        yield from self.download(world, device, server)
        used, activity = yield from device.observe(trained, reads=self.stand_in is not None)
        if self.selection == "static" and not device.probed:
            yield from user.spend(
                ((training.usage, 1),), world.chain, weights, user.batch(positions[0])[0], kind="probe"
            )
            device.probed = True
        for position, own in zip(positions, activity, strict=True):
            x, y = user.batch(position)
            yield from user.spend(((forward, 1),), world.chain, weights, x, y, kind="client_forward")
            charged = partial_step(own.active / len(device.experts.experts), own.active_pairs / own.pairs)
            step = world.chain, world.optimiser, self.mask, weights, device.state, x, y
            yield from user.spend(charged, *step, kind="client_backward")
        dominant = self.dominant(used, device.experts)
        record(world.journal, user, device.sets(activity) | {"experts_uploaded": len(dominant)})
        kept = with_experts(world, trained.weights, device.experts, dominant)
        statistics = world.executor.submit(aggregation.statistics_by_name, device.experts, trained.used)
        kept, statistics = yield from user.send(world.server, (kept, statistics), "model", UPLOAD)
        device.state = trained.state
        return Upload(kept, statistics, dominant)

    @property
    def rule(self) -> training.Selection:
        """Which experts are active in a mini-batch."""
        return training.Selection(self.selection, self.lam, self.beta, self.over, self.mask)

    def download(self, world: World, device: Device, server: ServerModel) -> Timed:
        """Download of what the user lacks of the server's model."""
        if isinstance(world.chain, Bound) and not device.has_backbone:
            yield from world.server.send(device.user, world.chain.frozen, "backbone")
            device.has_backbone = True
        lacking = with_experts(world, server.weights, device.experts, device.lacks(server))
        yield from world.server.send(device.user, lacking, "model")
        device.receive(server)

    def dominant(self, used: Tensor, experts: ExpertParameters) -> list[Expert]:
        """The experts that a user uploads, by their use in its local round, as `training.train` has it."""
        tau = 0.5 / experts.count if self.tau is None else self.tau
        usage, _, updates = used
        return [e for e in experts.experts if usage[e] >= tau and (updates[e] > 0 or not self.require_update)]

    def aggregate(
        self, world: World, experts: ExpertParameters, server: ServerModel, done: Mapping[User, Upload]
    ) -> Timed:
        """The server's next model, and the share of all dominant experts that are dominant for each user."""
        trees, statistics, dominant = map(list, zip(*done.values(), strict=True))
        everywhere = set().union(*dominant)
        for user, own in zip(done, dominant, strict=True):
            record(world.journal, user, {"routing_consistency": len(own) / len(everywhere) if everywhere else nan})
        work = (
            experts,
            self.gates,
            self.scope,
            server.weights,
            trees,
            statistics,
            world.weights(list(done), "by_samples"),
        )
        server.update((yield from world.server.do(aggregation.aggregated, *work, kind="aggregation")), everywhere)

    def budgets(self, world: World) -> dict[User, int]:
        """The budget of each user; all experts where a selection has none."""
        if self.selection in ("routed", "all"):
            return dict.fromkeys(world.users, len(expert_parameters(world.chain).experts))
        return self.budget.of_users(world, self, self.mask)

    def check(self, world: World) -> None:
        """Raises ValueError unless the model has experts, and there is a budget of each user."""
        super().check(world)
        self.budgets(world)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.selection in ("routed", "all") and (self.budget.experts or self.budget.deadline_s):
            raise ValueError(f"selection = {self.selection} has no budget; leave out budget.experts and deadline_s")
