"""Heterogeneous federated fine-tuning of adapters: a rank for each user. [HetLoRA, Cho et al., arXiv 2401.06432]

server -> user   backbone                 once
server -> user   adapters and head        per round: of each factor what the user's rank has room for
user             local steps on the whole model
user -> server   adapters and head        per round
server           mean, weighted by samples, of factors that are padded with zeros to the largest rank

All adapters have one scale, that of the largest rank, so that those of a user are a part of the server's. Rows that
nobody in a round has room for are zero from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, MinLen
from torch import Tensor

from learning import steps
from learning.adapters import Adapted, Bound
from learning.adapters.combine import padded_mean, truncated
from learning.executor.flops import charge_elementwise
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.federated import descend, turn_of
from learning.protocols.prediction import shapes
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink
from learning.scheme import Scheme
from learning.schemes.hsplitlora.costs import Budget, Costs, check
from learning.world import World

Tree = dict[str, Tensor]


@dataclass(frozen=True)
class HetLoRA(LocalTraining, Scheme):
    """Federated fine-tuning of whole models, each user's adapters as large as its budget allows (Cho et al., 2024)."""

    ranks: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1, 2, 4, 8)
    """Ranks that a user can have, ascending. Who cannot afford the least is left out of the run."""
    budget: Budget = "memory"
    """Whether the bytes of local training are limited, or its FLOPs in a mini-batch."""
    budgets: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] | None = None
    """As in `hsplitlora`, so that equal numbers are equal devices: parts of what a device part costs there."""
    weighting: Literal["by_samples", "uniform"] = "by_samples"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.ranks) != sorted(set(self.ranks)):
            raise ValueError(f"ranks = {list(self.ranks)} do not ascend")

    def run(self, world: World) -> Process[None]:
        costs = self._costs(world)
        ranks = self.affordable(costs)
        largest = max(ranks.values())
        whole = _part(costs, largest, largest)
        parts = {user: _part(costs, rank, largest) for user, rank in ranks.items()}
        model: Any = world.initial(whole)
        states: dict[User, Any] = {
            user: world.optimiser.init(truncated(part.adapted, model)) for user, part in parts.items()
        }
        holders: set[User] = set()

        def work(user: User, number: int, model: Any) -> Process[Any]:
            if user not in holders:
                yield from world.server.send(user, whole.frozen, "backbone")
                holders.add(user)
                world.journal.decision(user.number, "rank", ranks[user])
            own = world.executor.submit(truncated, parts[user].adapted, model)
            train = partial(descend, world, parts[user])
            return (yield from turn_of(user, number, own, states, self, train))

        for number in world.rounds():
            done = yield from gather(world, {user: work(user, number, model) for user in world.selected(number)})
            if done:
                trees, shares = list(done.values()), world.weights(list(done), self.weighting)
                model = yield from world.server.do(mean, model, trees, shares, kind="aggregation")
            world.models((whole, model))

    def affordable(self, costs: Costs) -> dict[User, int]:
        """The largest rank that each user can afford, of those who can afford one. Raises ValueError if nobody can."""
        budgets = costs.budgets(self.budgets)
        ranks = {user: self._rank(costs, user, budget) for user, budget in zip(costs.world.users, budgets, strict=True)}
        if not any(ranks.values()):
            raise ValueError("no user's budget is enough for the whole model with an adapter; raise scheme.budgets")
        return {user: rank for user, rank in ranks.items() if rank}

    def check(self, world: World) -> None:
        """Raises ValueError unless the scenario has an adapter, and weights for it in two layers."""
        super().check(world)
        check(world)

    def left_out(self, world: World) -> list[User]:
        """Users that cannot afford the least rank. Raises ValueError if that is all."""
        affordable = self.affordable(self._costs(world))
        return [user for user in world.able if user not in affordable]

    def _costs(self, world: World) -> Costs:
        return Costs(world, self.budget, CutLink(), self.ranks[-1], timed=False)

    def _rank(self, costs: Costs, user: User, budget: float) -> int:
        """The largest rank that a user can afford; 0 if none."""
        most = min(map(min, costs.sides.values()))
        affordable = takewhile(lambda rank: rank <= most and self.cost(costs, user, rank) <= budget, self.ranks)
        return max(affordable, default=0)

    def cost(self, costs: Costs, user: User, rank: int) -> float:
        """What local training takes of a user's budget; FLOPs are those of its first step."""
        world, part = costs.world, _part(costs, rank, rank)
        positions = self.positions(user, 0)
        data = user.batches.stack(positions if self.budget == "memory" else positions[:1])
        parameters = shapes(world, part)
        state = world.optimiser.init(parameters)
        plan = world.executor.plan(steps.train, part, world.optimiser, parameters, state, *data)
        cost = world.executor.cost(plan)
        return float(cost.memory_bytes if self.budget == "memory" else cost.flops)


def mean(model: Tree, trees: list[Tree], weights: tuple[float, ...]) -> Tree:
    """The mean of what users trained, padded with zeros to the shapes of the server's model.

    Charged two FLOPs for each element that users trained.
    """
    charge_elementwise(2, trees)
    return padded_mean([*trees, model], (*weights, 0.0))


def _part(costs: Costs, rank: int, largest: int) -> Bound:
    """The whole model with this rank everywhere, and the scale of the largest."""
    whole: Any = costs.world.whole
    adapted: Adapted = whole.adapted.with_ranks(dict.fromkeys(costs.sides, rank))
    return replace(adapted, alpha=adapted.scale(largest), scaling="none").bind(whole.frozen)
