"""Which ranks the adapters of a model get, and where each user's model is cut, under the budgets of all.

Ranks of one user, given its cut: maximise sum_w H_w log2(1 + r_w) over r_w in {0} and the allowed ranks, subject to
sum_w m_w r_w <= budget. H_w is the importance of weight w, and m_w the cost of a unit of its rank.

Cuts: a user's cut is worth what its ranks on both sides are worth, as a share of the largest rank everywhere, less the
time of one of its mini-batches in mean times of all users and cuts. The server has one rank for all weights above the
cuts.
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
    """(weights,): without unit; only ratios matter."""
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
        """The objective, which is to be maximised."""
        return float(self.importance @ utility(ranks))

    def cost(self, ranks: Integers) -> float:
        """What must not exceed the budget."""
        return float(self.unit_cost @ ranks)

    def limited(self, rank: int) -> Integers:
        """As the function `limited`, of these weights."""
        return limited(rank, self.ranks, self.max_ranks)


@dataclass(frozen=True, eq=False)
class CutRankProblem:
    """Cuts and ranks of all users; weights in the order of the model, cuts from the shallowest to the deepest."""

    importance: Floats
    """(weights,): the same for all users."""
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
    """(users,): what each device can afford; may be infinite."""
    seconds: Floats
    """(users, cuts): time of a mini-batch in which no other user keeps processors or links busy."""
    server_budget: float
    """For the adapters of all users at the server, in the unit of the budgets."""
    time_weight: float = 1.0
    """What the mean time of a mini-batch counts, against the largest rank everywhere."""

    def of_user(self, user: int, weights: int | None = None) -> RankProblem:
        """The ranks of one user: of so many weights from the first on, or of all."""
        part = slice(weights)
        return RankProblem(self.importance[part], self.unit_cost[user, part], self.ranks, self.max_ranks[part])

    def limited(self, rank: int) -> Integers:
        """As the function `limited`, of all weights."""
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
    """Where all users are cut, and their ranks."""

    cuts: Integers
    """(users,): index of a cut; -1 where none fits the user's budget."""
    ranks: Integers
    """(users, weights): on the device below the cut, at the server above it; 0 for users without a cut."""


def limited(rank: int, ranks: tuple[int, ...], max_ranks: Integers) -> Integers:
    """(weights,): `rank` everywhere, or the largest of the allowed `ranks` that a weight has room for; 0 if none."""
    return np.array([max((r for r in ranks if r <= min(rank, room)), default=0) for room in max_ranks])


def utility(ranks: Integers) -> Floats:
    """What ranks are worth on weights of importance one: log2(1 + rank), so that each further unit is worth less."""
    return np.asarray(np.log2(1.0 + ranks))
