"""Solvers: ranks greedily or exactly, cuts user by user, and the simple rules that they are compared with."""

from __future__ import annotations

from math import inf

import numpy as np

from learning.control.ranks.problem import CutRankChoice, CutRankProblem, Integers, RankProblem

PASSES = 2
"""Over all users, since what one user leaves to the server is taken from what the others can."""


def greedy(problem: RankProblem, budget: float) -> Integers:
    """(weights,): ranks by greedy steps to the next rank with the best ratio of value to cost, within the budget."""
    ranks = np.zeros(len(problem.importance), dtype=np.int64)
    spent = 0.0
    while True:
        best, chosen = -inf, None
        for weight, rank in enumerate(ranks):
            following = next((r for r in problem.ranks if rank < r <= problem.max_ranks[weight]), None)
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
    """(weights,): the optimal ranks, by dynamic programming over weights.

    Partial choices are kept unless a cheaper one has at least the same value.
    """
    states: list[tuple[float, float, tuple[int, ...]]] = [(0.0, 0.0, ())]
    for weight, importance in enumerate(problem.importance):
        allowed = [rank for rank in (0, *problem.ranks) if rank <= problem.max_ranks[weight]]
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


def uniform(problem: RankProblem, budget: float) -> Integers:
    """(weights,): the largest equal rank of all weights within the budget."""
    fitting = [rank for rank in (0, *problem.ranks) if problem.cost(problem.limited(rank)) <= budget]
    return problem.limited(max(fitting, default=0))


def coordinate_ascent(problem: CutRankProblem) -> CutRankChoice:
    """Coordinate ascent: each user's best cut given those of the others, smallest budgets first; ties go to shallow."""
    users = range(len(problem.budgets))
    feasible = [problem.feasible(user) for user in users]
    cuts = np.array([cuts[0] if cuts else -1 for cuts in feasible], dtype=np.int64)
    for _ in range(PASSES):
        for user in sorted(users, key=lambda user: problem.budgets[user]):
            tried = [np.where(np.arange(len(cuts)) == user, cut, cuts) for cut in feasible[user]]
            if tried:
                cuts = max(tried, key=lambda each: problem.worth(user, each[user], user_ranks(problem, user, each)))
    return with_ranks(problem, cuts)


def uniform_per_user(problem: CutRankProblem, cut: int) -> CutRankChoice:
    """One cut for all users that can afford it, and on each device the largest equal rank within its budget."""
    left, below = problem.budgets - problem.base_cost[:, cut], problem.below[cut]
    cuts = np.where(left >= 0, cut, -1)
    above = problem.limited(server_rank(problem, cuts))[below:]
    on_device = [uniform(problem.of_user(user, below), budget) for user, budget in enumerate(left)]
    return CutRankChoice(cuts, np.array([np.concatenate([each, above]) for each in on_device]))


def equal_for_all(problem: CutRankProblem, cut: int, rank: int) -> CutRankChoice:
    """One cut and one rank for all weights, on the device and at the server, of all users that can afford it.

    The rank need not be one of those allowed; a weight with a shorter side gets its length as rank.
    """
    ranks, below = np.minimum(rank, problem.max_ranks), problem.below[cut]
    needed = problem.base_cost[:, cut] + problem.unit_cost[:, :below] @ ranks[:below]
    return CutRankChoice(np.where(needed <= problem.budgets, cut, -1), np.tile(ranks, (len(needed), 1)))


def with_ranks(problem: CutRankProblem, cuts: Integers) -> CutRankChoice:
    """The choice of these cuts (users,), and the best ranks for them."""
    return CutRankChoice(cuts, np.array([user_ranks(problem, user, cuts) for user in range(len(cuts))]))


def user_ranks(problem: CutRankProblem, user: int, cuts: Integers) -> Integers:
    """(weights,): a user's ranks on both sides of its cut, greedy on the device; all 0 where it has no cut."""
    cut = cuts[user]
    if cut < 0:
        return np.zeros_like(problem.max_ranks)
    below = problem.below[cut]
    on_device = greedy(problem.of_user(user, below), problem.budgets[user] - problem.base_cost[user, cut])
    return np.concatenate([on_device, problem.limited(server_rank(problem, cuts))[below:]])


def server_rank(problem: CutRankProblem, cuts: Integers) -> int:
    """The largest rank that the server can afford for all weights above the users' cuts (users,)."""
    fitting = [0]
    for rank in problem.ranks:
        costs = problem.unit_cost * problem.limited(rank)
        above = [costs[user, problem.below[cut] :].sum() for user, cut in enumerate(cuts) if cut >= 0]
        if sum(above) <= problem.server_budget:
            fitting.append(rank)
    return max(fitting)
