"""Heterogeneous federated fine-tuning of adapters: a rank for each user. [HetLoRA, Cho et al., arXiv 2401.06432]

server -> user   backbone                 once
server -> user   adapters and head        per round: each factor truncated to the user's rank
user             local steps on the whole model
user -> server   adapters and head        per round
server           mean, weighted by samples, of factors that are padded with zeros to the largest rank

All adapters have one scale, that of the largest rank, so that those of a user are a part of the server's. Rows above
the ranks of all users in a round are zero from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Literal

from torch import Tensor

from learning.adapters import AdaptableModel, Bound
from learning.adapters.combine import padded_mean, truncated
from learning.control.controller import record
from learning.control.observation import observe
from learning.control.ranks import CutCosts, RankBudgets, adaptable, training_cost
from learning.executor.flops import charge_elementwise
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.federated import descend, local_round
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink
from learning.scheme import Scheme
from learning.steps import State, Weights
from learning.world import World

Tree = dict[str, Tensor]


@dataclass(frozen=True)
class HetLoRA(LocalTraining, Scheme):
    """Federated fine-tuning of whole models, each user's adapters as large as its budget allows (Cho et al., 2024)."""

    control: RankBudgets = RankBudgets()
    """The allowed ranks, and the budgets of users."""
    weighting: Literal["by_samples", "uniform"] = "by_samples"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""

    one_chain = True

    def run(self, world: World) -> Process[None]:
        adapters = adaptable(world)
        ranks = self.affordable(world)
        largest = max(ranks.values())
        whole = with_rank(adapters, largest, largest)
        parts = {user: with_rank(adapters, rank, largest) for user, rank in ranks.items()}
        initial = world.initial(whole)
        model: Weights = initial
        states: dict[User, State] = {
            user: world.optimiser.init(truncated(part.adapted, initial)) for user, part in parts.items()
        }
        holders: set[User] = set()

        def work(user: User, number: int, model: Weights) -> Process[Weights]:
            if user not in holders:
                yield from world.server.send(user, whole.frozen, "backbone")
                holders.add(user)
                record(world.journal, user, {"rank": ranks[user]})
            own = world.executor.submit(truncated, parts[user].adapted, model)
            train = partial(descend, world, parts[user])
            return (yield from local_round(world, user, number, own, states, self, train))

        for number in world.rounds():
            done = yield from gather(world, {user: work(user, number, model) for user in world.selected(number)})
            if done:
                trees, shares = list(done.values()), world.weights(list(done), self.weighting)
                model = yield from world.server.do(mean, model, trees, shares, kind="aggregation")
            world.models((whole, model))

    def affordable(self, world: World) -> dict[User, int]:
        """Largest rank that each user can afford, without users that can afford none.

        Raises ValueError if no user can afford any.
        """
        model, users = adaptable(world), observe(world.users)
        budgets = CutCosts(world, model, CutLink(), self.control.budget).budgets(
            users, self.control.budgets, self.control.ranks[-1]
        )
        ranks = {
            each.user: self._rank(world, model, each.user, budget) for each, budget in zip(users, budgets, strict=True)
        }
        if not any(ranks.values()):
            raise ValueError(
                "no user's budget is enough for the whole model with an adapter; raise scheme.control.budgets"
            )
        return {user: rank for user, rank in ranks.items() if rank}

    def check(self, world: World) -> None:
        """Raises ValueError unless the scenario has an adapter, and weights for it in two layers or more."""
        super().check(world)
        adaptable(world)

    def excluded(self, world: World) -> list[User]:
        """Users that cannot afford the lowest rank. Raises ValueError if that holds for all users."""
        affordable = self.affordable(world)
        return [user for user in world.eligible if user not in affordable]

    def _rank(self, world: World, model: AdaptableModel, user: User, budget: float) -> int:
        """Largest rank whose local training fits a user's budget; 0 if none. FLOPs are those of its first step."""
        positions, resource = self.positions(user, 0), self.control.budget
        batches = user.batches.stack(positions if resource == "memory" else positions[:1])
        fitting = [rank for rank in self.control.ranks if rank <= model.max_ranks.min()]
        affordable = takewhile(
            lambda rank: training_cost(world, with_rank(model, rank, rank), *batches, resource) <= budget, fitting
        )
        return max(affordable, default=0)


def mean(model: Tree, trees: list[Tree], weights: tuple[float, ...]) -> Tree:
    """Mean of the users' adapters and heads, padded with zeros to the shapes of the server's model.

    Charged two FLOPs for each element of the users' parameters.

    Args:
        model: the server's parameters, by name, whose shapes the result has.
        trees: each user's parameters, by name.
        weights: each user's weight.
    """
    charge_elementwise(2, trees)
    return padded_mean([*trees, model], (*weights, 0.0))


def with_rank(model: AdaptableModel, rank: int, largest: int) -> Bound:
    """The whole model with adapters of this rank on all weights, and with the scale of the largest rank."""
    adapted = model.with_ranks(rank)
    return replace(adapted, alpha=adapted.scale(largest), scaling="none").bind(model.whole.frozen)
