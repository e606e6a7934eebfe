"""Budgets of active experts: how many a device can train within a deadline and within its memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, inf
from typing import Annotated, NamedTuple

from annotated_types import Ge, Gt, MinLen

from learning.control.observation import Observation, observe
from learning.control.prediction import message_bits, trainable_shapes
from learning.expert_parameters import ExpertParameters, expert_parameters
from learning.expert_training import Mask, forward, step_of_all, step_of_others, step_with_zeros
from learning.local_training import LocalTraining
from learning.parties import User
from learning.world import World


class StepCost(NamedTuple):
    """What a local step on a mini-batch is charged, by the shapes that are charged."""

    forward_flops: float
    """FLOPs of the forward pass."""
    others_flops: float
    """FLOPs of the backward pass if no expert is active."""
    experts_flops: float
    """FLOPs that are added if all experts are active."""
    others_bytes: float
    """Memory of the backward pass and the step if no expert is active."""
    updates_bytes: float
    """Memory that is added by gradients, new parameters and new optimiser states of all experts."""
    activations_bytes: float
    """Memory that is added by the activations of all experts."""

    def memory_bytes(self, experts: float, pairs: float) -> float:
        """Memory if some experts are active: their share, and that of the pairs of token and expert, in [0, 1]."""
        return self.others_bytes + experts * self.updates_bytes + pairs * self.activations_bytes


@dataclass(frozen=True)
class ExpertBudgets:
    """How many experts, of all layers together, a user may train on a mini-batch: the least of up to three bounds.

    A budget is at least one expert a layer, and at most all. Without a bound it is all of them.
    """

    experts: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] | None = None
    """Bound by hand: the number of experts of each user, in order, or a list of one number for all (default: none)."""
    deadline_s: Annotated[float, Gt(0)] | None = None
    """Bound by time: the seconds in which a local round is to end, with download and upload of the whole model
    (default: none). It is predicted for the nominal speed of the device, average gains of the radio links, an equal
    share of the band for each user of a round, and equal use of all experts."""
    memory: bool = True
    """Bound by the memory of the device, where that is limited. It is kept for certain, however the tokens are divided
    among the active experts."""

    def check(self, users: int) -> None:
        """Raises ValueError if `experts` has neither one number nor one for each of `users` users."""
        if self.experts is not None and len(self.experts) not in (1, users):
            raise ValueError(f"budget.experts has {len(self.experts)} numbers, but there are {users} users")

    def of_users(self, world: World, training: LocalTraining, mask: Mask) -> dict[User, int]:
        """The budget of each user of a world, for the first local round.

        Args:
            world: the world, whose model has experts.
            training: how many mini-batches a local round has.
            mask: what experts that are not active are spared.
        """
        self.check(len(world.users))
        places = expert_parameters(world.chain)
        costs: dict[object, StepCost] = {}
        budgets = {}
        for each in observe(world.users):
            key = each.sample_shapes, each.batch_size
            if key not in costs:
                costs[key] = step_cost(world, each, mask)
            in_time = self._in_time(world, each, costs[key], len(training.positions(each.user, 0)), places)
            least = min(self._by_hand(each), in_time, self._in_memory(each, costs[key], places), len(places.experts))
            budgets[each.user] = int(max(least, len(places.layers)))
        return budgets

    def _by_hand(self, user: Observation) -> float:
        if self.experts is None:
            return inf
        return self.experts[0] if len(self.experts) == 1 else self.experts[user.user.number]

    def _in_time(self, world: World, user: Observation, cost: StepCost, steps: int, places: ExpertParameters) -> float:
        if self.deadline_s is None:
            return inf
        bits, share = message_bits(world, trainable_shapes(world, world.chain)), 1 / world.cohort_size
        messages_s = bits / user.download_bps(share) + bits / user.upload_bps(share)
        fixed_flops = steps * (cost.forward_flops + cost.others_flops)
        each_flops = steps * cost.experts_flops / len(places.experts)
        return floor((user.flops_per_s * (self.deadline_s - messages_s) - fixed_flops) / each_flops)

    def _in_memory(self, user: Observation, cost: StepCost, places: ExpertParameters) -> float:
        """The largest budget that fits if its experts have as many of the pairs as they can: a token has top K."""
        if not self.memory or user.memory_bytes == inf:
            return inf
        experts, chosen = len(places.experts), len(places.layers) * places.top_k
        fitting = [
            budget
            for budget in range(experts + 1)
            if cost.memory_bytes(budget / experts, min(budget / chosen, 1)) <= user.memory_bytes
        ]
        return max(fitting, default=0)


def step_cost(world: World, user: Observation, mask: Mask) -> StepCost:
    """Cost of a local step on the largest mini-batch of a user, from its shapes."""
    runs, model = world.executor, world.chain
    parameters = trainable_shapes(world, model)
    x, y = user.mini_batch()
    work = model, world.optimiser, mask, parameters, world.optimiser.init(parameters), x, y
    others, zeros, whole = (
        runs.cost(runs.plan(step, *work)) for step in (step_of_others, step_with_zeros, step_of_all)
    )
    return StepCost(
        runs.cost(runs.plan(forward, model, parameters, x, y)).flops,
        others.flops,
        whole.flops - others.flops,
        others.memory_bytes,
        zeros.memory_bytes - others.memory_bytes,
        whole.memory_bytes - zeros.memory_bytes,
    )
