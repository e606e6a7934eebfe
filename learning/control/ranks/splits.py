"""Where each user's model is cut, given how important its weights are and what device and server can afford.

A user's cut is worth what its adapters on both sides are worth, as a share of the largest rank everywhere, less the
time that one of its mini-batches takes, in mean times of all users and cuts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from learning.control.ranks.allocation import Floats, Integers, RankProblem, greedy, utility

PASSES = 2
"""Over all users, since what one leaves to the server is taken from what the others can."""


class Choice(NamedTuple):
    """Where users are cut, and the ranks that follow."""

    cuts: Integers
    """(users,): index of a cut; -1 where none fits the user's budget."""
    ranks: Integers
    """(users, weights): on the device below the cut, at the server above it."""


@dataclass(frozen=True, eq=False)
class SplitProblem:
    """Weights in the order of the model, cuts from the shallowest to the deepest."""

    weights: RankProblem
    below: Integers
    """(cuts,): how many of the weights are on the device."""
    base: Floats
    """(cuts,): what the device part costs without its adapters."""
    budgets: Floats
    """(users,): what each device can afford; may be infinite."""
    seconds: Floats
    """(users, cuts): a mini-batch with nobody waited for."""
    server_budget: float
    """For the adapters of all users at the server."""
    time_weight: float = 1.0

    def first(self, count: int) -> RankProblem:
        """The problem of so many of the weights, from the first on."""
        every = self.weights
        return RankProblem(every.importance[:count], every.unit_cost[:count], every.ranks, every.most[:count])

    def device_ranks(self, user: int, cut: int) -> Integers:
        """The user's ranks below a cut."""
        return greedy(self.first(self.below[cut]), self.budgets[user] - self.base[cut])

    def server_rank(self, cuts: Integers) -> int:
        """The largest rank that the server can afford for all weights above the users' cuts."""
        fitting = [0]
        for rank in self.weights.ranks:
            costs = self.weights.unit_cost * self.weights.limited(rank)
            if sum(costs[self.below[cut] :].sum() for cut in cuts if cut >= 0) <= self.server_budget:
                fitting.append(rank)
        return max(fitting)

    def objective(self, user: int, cuts: Integers) -> float:
        """What the user's cut is worth."""
        ranks = self.ranks(user, cuts)
        best = self.weights.value(self.weights.limited(self.weights.ranks[-1]))
        late = self.seconds[user, cuts[user]] / self.seconds.mean()
        return float(self.weights.importance @ utility(ranks)) / max(best, 1e-300) - self.time_weight * float(late)

    def ranks(self, user: int, cuts: Integers) -> Integers:
        """(weights,): the user's ranks on both sides of its cut; none where it has no cut."""
        if cuts[user] < 0:
            return np.zeros_like(self.weights.most)
        above = self.weights.limited(self.server_rank(cuts))[self.below[cuts[user]] :]
        return np.concatenate([self.device_ranks(user, cuts[user]), above])

    def feasible(self, user: int) -> list[int]:
        """Cuts whose device part the user can afford."""
        return [cut for cut, base in enumerate(self.base) if base <= self.budgets[user]]

    def configured(self, cuts: Integers) -> Choice:
        """These cuts, with the ranks that follow."""
        return Choice(cuts, np.array([self.ranks(user, cuts) for user in range(len(cuts))]))


def choose(problem: SplitProblem) -> Choice:
    """Each user's best cut given those of the others, least budgets first; of equally good ones the shallowest."""
    users = range(len(problem.budgets))
    possible = [problem.feasible(user) for user in users]
    cuts = np.array([cuts[0] if cuts else -1 for cuts in possible], dtype=np.int64)
    for _ in range(PASSES):
        for user in sorted(users, key=lambda user: problem.budgets[user]):
            tried = [_with(cuts, user, cut) for cut in possible[user]]
            if tried:
                cuts = max(tried, key=lambda each: problem.objective(user, each))
    return problem.configured(cuts)


def _with(cuts: Integers, user: int, cut: int) -> Integers:
    changed = cuts.copy()
    changed[user] = cut
    return changed
