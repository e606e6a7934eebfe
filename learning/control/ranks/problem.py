"""The problem of ranks and cuts: ranks of a model's adapters and each user's cut, under the budgets of all users.

Ranks of one user, given its cut: maximise sum_w H_w log2(1 + r_w) over r_w in {0} and the allowed ranks, subject to
sum_w m_w r_w <= budget. H_w is the importance of weight w, and m_w the cost of a unit of its rank.

Cuts: the objective of a user's cut is the value of its ranks on both sides, as a fraction of the value of the largest
rank everywhere, less the time of one of its mini-batches over the mean time of all users and cuts. The server has one
rank for all weights above the cuts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RankProblem:
    """Ranks of a user's weights under one budget. Raises ValueError unless the allowed ranks ascend from 1 or more."""

    importance: Floats
    """(weights,): importance of the weights, without unit; only ratios matter."""
    unit_cost: Floats
    """(weights,): cost of a unit of rank, in the unit of the budget."""
    ranks: tuple[int, ...]
    """The allowed ranks, ascending; besides them 0, which is no adapter."""
    max_ranks: Integers
    """(weights,): the largest rank that each weight has room for."""

    def __post_init__(self) -> None:
        if not self.ranks or self.ranks[0] < 1 or list(self.ranks) != sorted(set(self.ranks)):
            raise ValueError(f"ranks {list(self.ranks)} do not ascend from 1 or more")

    def value(self, ranks: Integers) -> float:
        """The objective of these ranks, (weights,), which is to be maximised."""
        return float(self.importance @ utility(ranks))

    def cost(self, ranks: Integers) -> float:
        """Cost of these ranks, (weights,), which must not exceed the budget."""
        return float(self.unit_cost @ ranks)

    def limited(self, rank: int) -> Integers:
        """(weights,): `rank` everywhere, or the largest of the allowed ranks that a weight has room for; 0 if none."""
        return limited(rank, self.ranks, self.max_ranks)


@dataclass(frozen=True, eq=False)
class CutRankProblem:
    """Cuts and ranks of all users; weights in the order of the model, cuts from the shallowest to the deepest."""

    importance: Floats
    """(weights,): importance of the weights, the same for all users."""
    unit_cost: Floats
    """(users, weights): cost of a unit of rank in a user's mini-batches, in the unit of its budget."""
    ranks: tuple[int, ...]
    """The allowed ranks, as in `RankProblem`."""
    max_ranks: Integers
    """(weights,): the largest rank that each weight has room for."""
    below: Integers
    """(cuts,): how many of the weights are on the device."""
    base_cost: Floats
    """(users, cuts): cost of the device part without adapters, in the unit of the budgets."""
    budgets: Floats
    """(users,): budgets of the devices; may be infinite."""
    seconds: Floats
    """(users, cuts): time of a mini-batch in which no other user occupies processors or links."""
    server_budget: float
    """Budget of the adapters of all users at the server, in the unit of the budgets."""
    time_weight: float = 1.0
    """Weight of the mean time of a mini-batch, against the value of the largest rank everywhere."""

    def of_user(self, user: int, weights: int | None = None) -> RankProblem:
        """The rank problem of one user: of the first `weights` weights, or of all."""
        part = slice(weights)
        return RankProblem(self.importance[part], self.unit_cost[user, part], self.ranks, self.max_ranks[part])

    def limited(self, rank: int) -> Integers:
        """(weights,): `rank` everywhere, or the largest of the allowed ranks that a weight has room for; 0 if none."""
        return limited(rank, self.ranks, self.max_ranks)

    def feasible(self, user: int) -> list[int]:
        """Indices of the cuts whose device part the user can afford."""
        return [cut for cut, cost in enumerate(self.base_cost[user]) if cost <= self.budgets[user]]

    def worth(self, user: int, cut: int, ranks: Integers) -> float:
        """The objective of one user at a cut with these ranks (weights,), which is to be maximised."""
        every = self.of_user(user)
        best = every.value(self.limited(self.ranks[-1]))
        late = self.seconds[user, cut] / self.seconds.mean()
        return every.value(ranks) / max(best, 1e-300) - self.time_weight * float(late)


class CutRankChoice(NamedTuple):
    """Cuts and ranks of all users."""

    cuts: Integers
    """(users,): index of a cut; -1 where none fits the user's budget."""
    ranks: Integers
    """(users, weights): ranks, on the device below the cut and at the server above it; 0 for users without a cut."""


def limited(rank: int, ranks: tuple[int, ...], max_ranks: Integers) -> Integers:
    """(weights,): `rank` everywhere, or the largest of the allowed `ranks` that a weight has room for; 0 if none."""
    return np.array([max((r for r in ranks if r <= min(rank, room)), default=0) for room in max_ranks])


def utility(ranks: Integers) -> Floats:
    """Value of ranks on weights of importance one: log2(1 + rank), a concave function of the rank."""
    return np.asarray(np.log2(1.0 + ranks))
