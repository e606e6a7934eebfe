"""Ranks under a budget: the more important a weight, the larger its adapter.

Maximise sum_w H_w log2(1 + r_w) over r_w in {0} and the allowed ranks, subject to sum_w m_w r_w <= budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RankProblem:
    """Weights that may have adapters; one row each. Raises ValueError unless ranks ascend from 1 or more."""

    importance: Floats
    unit_cost: Floats
    """What each unit of rank costs, in the unit of the budget."""
    ranks: tuple[int, ...]
    """Those allowed besides 0, which is no adapter."""
    most: Integers
    """The largest rank that each weight has room for."""

    def __post_init__(self) -> None:
        if not self.ranks or self.ranks[0] < 1 or list(self.ranks) != sorted(set(self.ranks)):
            raise ValueError(f"ranks {list(self.ranks)} do not ascend from 1 or more")

    def value(self, ranks: Integers) -> float:
        """What is to be large."""
        return float(self.importance @ utility(ranks))

    def cost(self, ranks: Integers) -> float:
        """What must not be more than the budget."""
        return float(self.unit_cost @ ranks)

    def limited(self, rank: int) -> Integers:
        """(weights,): this rank everywhere, or the largest allowed one that a weight has room for."""
        return np.array([max((r for r in (0, *self.ranks) if r <= min(rank, most)), default=0) for most in self.most])

    def uniform(self, budget: float) -> Integers:
        """The largest rank that all weights can have alike."""
        fitting = [rank for rank in (0, *self.ranks) if self.cost(self.limited(rank)) <= budget]
        return self.limited(max(fitting, default=0))


def utility(ranks: Integers) -> Floats:
    """What a rank is worth to a weight of importance one: ever less, the larger it is already."""
    return np.asarray(np.log2(1.0 + ranks))


def greedy(problem: RankProblem, budget: float) -> Integers:
    """Again and again the step to the next rank that is worth most for its cost, among those that fit."""
    ranks = np.zeros(len(problem.importance), dtype=np.int64)
    spent = 0.0
    while True:
        best, chosen = -inf, None
        for weight, rank in enumerate(ranks):
            following = next((r for r in problem.ranks if rank < r <= problem.most[weight]), None)
            if following is None:
                continue
            cost = problem.unit_cost[weight] * (following - rank)
            gain = problem.importance[weight] * np.log2((1 + following) / (1 + rank))
            if spent + cost <= budget and gain / cost > best:
                best, chosen = gain / cost, (weight, following, cost)
        if chosen is None:
            return ranks
        ranks[chosen[0]] = chosen[1]
        spent += chosen[2]


def exact(problem: RankProblem, budget: float) -> Integers:
    """The best ranks, by dynamic programming over weights: of partial choices, those that no cheaper one beats."""
    states: list[tuple[float, float, tuple[int, ...]]] = [(0.0, 0.0, ())]
    for weight, importance in enumerate(problem.importance):
        allowed = [rank for rank in (0, *problem.ranks) if rank <= problem.most[weight]]
        longer = [
            (cost + problem.unit_cost[weight] * rank, value + importance * np.log2(1 + rank), (*chosen, rank))
            for cost, value, chosen in states
            for rank in allowed
        ]
        states = []
        for state in sorted((each for each in longer if each[0] <= budget), key=lambda each: (each[0], -each[1])):
            if not states or state[1] > states[-1][1]:
                states.append(state)
    return np.array(states[-1][2], dtype=np.int64)
