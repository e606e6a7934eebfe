"""What devices and the server hold under HFedMoE: copies of experts, and which of them are those of the server."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from math import nan
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from learning import steps
from learning.draws import Draw
from learning.executor.deferred import Deferred
from learning.expert_parameters import Expert, ExpertParameters
from learning.parties import User
from learning.ports import Process
from learning.schemes.hfedmoe.training import Selection, over_round, step, usage
from learning.steps import State, Weights
from learning.world import World


class Trained(NamedTuple):
    """Deferred results of a local round: see `training.step` and `over_round`."""

    weights: Weights
    state: State
    used: Deferred[Tensor]
    activity: Deferred[Tensor]


class Activity(NamedTuple):
    """How many experts take part in a mini-batch; see `training.step`."""

    routed: float
    """Experts that tokens are routed to; NaN if that is not known."""
    active: float
    """Experts that are active in the backward pass."""
    active_pairs: float
    """Pairs of token and expert whose expert is active."""
    pairs: float
    """All pairs of token and expert."""


@dataclass
class ServerModel:
    """The server's model, and the versions of its experts."""

    weights: Weights
    """The parameters that train."""
    versions: dict[Expert, int]
    """Expert -> number of aggregations that have changed it."""

    def update(self, weights: Weights, uploaded: Iterable[Expert]) -> None:
        """Set the next model, in which the experts that any user uploaded have changed."""
        self.weights = weights
        for expert in uploaded:
            self.versions[expert] += 1


@dataclass
class Device:
    """A user's device between rounds."""

    user: User
    experts: ExpertParameters
    """The experts of the model."""
    budget: int
    """How many experts may be active in a mini-batch."""
    state: State
    """State of its optimiser."""
    has_backbone: bool = False
    """Whether it has received the parameters that never change."""
    received: dict[Expert, int] = field(default_factory=dict)
    """Expert -> version of the server's copy that it still has; without those that it has trained since."""
    first_use: Deferred[Tensor] | None = None
    """Use of the experts by its first mini-batch, by which a static selection goes; None before."""
    probed: bool = False
    """Whether it has spent the time of finding out."""

    def lacks(self, server: ServerModel) -> list[Expert]:
        """The experts of which it does not have the server's present copy."""
        return [expert for expert, version in server.versions.items() if self.received.get(expert) != version]

    def receive(self, server: ServerModel) -> None:
        """Note that it has the server's present model."""
        self.received = dict(server.versions)

    def train(self, world: World, rule: Selection, number: int, positions: range, weights: Weights) -> Trained:
        """Submit the local steps of a round.

        Args:
            world: the world.
            rule: which experts are active.
            number: number of the round.
            positions: positions of the mini-batches in the user's sequence of mini-batches.
            weights: the server's weights, from which they start.
        """
        batches = [self.user.batch(position) for position in positions]
        model, submit = world.chain, world.executor.submit
        if rule.by == "static" and self.first_use is None:
            self.first_use = submit(usage, model, weights, batches[0][0])
        local, state, used, activity = weights, self.state, [], []
        for place, (x, y) in enumerate(batches):
            given: Deferred[Tensor] | Draw | None = self.first_use
            if rule.by == "random":
                entity, shape = (self.user.number, number, place), (len(self.experts.layers), self.experts.count)
                given = Draw(world.streams, "active experts", entity, shape, world.precision)
            work = model, world.optimiser, rule, self.experts, local, state, x, y, torch.tensor(self.budget), given
            local, state, use, counts = submit(step, *work)
            used.append(use)
            activity.append(counts)
        samples = tuple(self.user.batches.sizes(positions))
        return Trained(local, state, *submit(over_round, used, activity, samples))

    def observe(self, trained: Trained, reads: bool) -> Process[tuple[Tensor, list[Activity]]]:
        """Read the use of experts in a local round and the activity in each mini-batch; note which have been trained.

        Args:
            trained: the local round.
            reads: False where nothing depends on them: all experts are active, and it is not known which are used.

        Returns:
            Use, (3, layers, experts), as `over_round` has it.
            Activity of each mini-batch.
        """
        used, activity = (torch.ones(each.spec.tree.shape) for each in (trained.used, trained.activity))
        if reads:
            count = len(self.experts.experts)
            used[:2] = 1 / self.experts.count
            activity[:] = torch.tensor([count, self.budget, self.budget, count])  # pairs in proportion to experts
            equal_use, equal_activity = used, activity
            used = yield from self.user.read(trained.used, lambda _: equal_use)
            activity = yield from self.user.read(trained.activity, lambda _: equal_activity)
        else:
            activity[:, :2] = torch.tensor([nan, len(self.experts.experts)])
        for expert in self.experts.experts:
            if used[2][expert] > 0:
                self.received.pop(expert, None)
        return used, [Activity(*row) for row in activity.tolist()]

    def sets(self, activity: Sequence[Activity]) -> dict[str, float]:
        """Numbers of experts that tokens were routed to and that were active, on average over mini-batches."""
        return {
            "budget": self.budget,
            "experts_routed": fmean(each.routed for each in activity),
            "experts_active": fmean(each.active for each in activity),
            "active_pairs": fmean(each.active_pairs / each.pairs for each in activity),
        }


def with_experts(world: World, weights: Weights, experts: ExpertParameters, sent: Collection[Expert]) -> Weights:
    """What of a model is sent: all parameters that belong to no expert, and those of the given experts."""
    kept_back = [expert for expert in experts.experts if expert not in sent]
    if not kept_back:
        return weights
    return world.executor.submit(steps.named, weights, experts.without(world.chain.parameters(), kept_back))
