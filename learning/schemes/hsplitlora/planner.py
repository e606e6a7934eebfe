"""Who decides under HSplitLoRA: importance by user reports, then cuts and ranks within the budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from learning.control.ranks import Choice, SplitProblem, changed, choose
from learning.control.ranks.allocation import Floats
from learning.parties import User
from learning.schemes.hsplitlora.costs import Costs
from learning.schemes.hsplitlora.model import Configuration
from learning.usable import usable
from learning.world import World

if TYPE_CHECKING:
    from learning.schemes.hsplitlora.scheme import HSplitLoRA


class Planner:
    """Importance as it is known by now, and the cuts that were chosen for it."""

    def __init__(self, scheme: HSplitLoRA, world: World) -> None:
        self.scheme, self.world = scheme, world
        timed = scheme.configuration == "adaptive" and scheme.time_weight > 0
        self.costs = Costs(world, scheme.budget, scheme.link, scheme.ranks[-1], timed)
        self.budgets = self.costs.budgets(scheme.budgets)
        self.known: Floats | None = None
        """Importance of each weight; None before anything was heard."""
        self._split_for: Floats | None = None
        self._cuts: Any = None
        self._told: dict[User, Configuration] = {}

    def left_out(self) -> list[User]:
        """Users whose budget is too small whatever is important. Raises ValueError if that is all."""
        problem = self._problem(np.ones(len(self.costs.sides)))
        if self.scheme.configuration == "adaptive":
            able = np.array([bool(problem.feasible(user)) for user in range(len(self.budgets))])
        else:
            able = self._choice(problem).cuts >= 0
        if not able.any():
            raise ValueError("no user's budget is enough for the device part of the model; raise scheme.budgets")
        return [user for user in self.world.able if not able[user.number]]

    def plan(self, number: int) -> dict[User, Configuration]:
        """Configurations for a round, without users whose budget is too small."""
        if self.scheme.importance == "random" and number % self.scheme.probe_every == 0:
            self.known = self.world.streams.generator("importance", number).random(len(self.costs.sides))
        importance = np.ones(len(self.costs.sides)) if self.known is None else self.known
        problem = self._problem(importance)
        choice = self._choice(problem)
        configured = {
            user: self._configuration(problem, choice, user)
            for user, cut in zip(self.world.users, choice.cuts, strict=True)
            if cut >= 0
        }
        self._told = configured
        return configured

    def _problem(self, importance: Floats) -> SplitProblem:
        scheme = self.scheme
        return self.costs.problem(importance, scheme.ranks, self.budgets, scheme.server_budget, scheme.time_weight)

    def learn(self, reports: Sequence[Any], weights: tuple[float, ...], progress: float) -> None:
        """Take in the users' scores, all weights of each; the dry executor, which has none, changes nothing.

        Users whose scores are not usable (`learning.usable`) are left out; if all are, nothing changes either.
        """
        if not self.world.executor.computes:
            return
        values = self.world.executor.value(list(reports))
        seen = [np.array([float(score) for part in each for score in part.values()]) for each in values]
        heard = [(share, each) for share, each in zip(weights, seen, strict=True) if usable(each)]
        if not heard:
            return
        mean = sum((share * each for share, each in heard), np.zeros(1))
        if len(heard) < len(seen):
            mean = mean / sum(share for share, _ in heard)
        self.known = self.scheme.history.mixed(self.known, np.asarray(mean), progress)
        for weight, value in zip(self.costs.sides, self.known, strict=True):
            self.world.journal.decision(None, f"importance {weight}", float(value))

    def _choice(self, problem: SplitProblem) -> Choice:
        if self.scheme.configuration == "adaptive":
            return self._adaptive(problem)
        cut, below = self._scenario_cut(problem)
        every, left = problem.weights, self.budgets - problem.base[cut]
        users = range(len(left))
        if self.scheme.configuration == "uniform":
            cuts = np.where(left >= 0, cut, -1)
            above = every.limited(problem.server_rank(cuts))[below:]
            own = [problem.first(below).uniform(left[user]) for user in users]
            return Choice(cuts, np.array([np.concatenate([each, above]) for each in own]))
        assert self.world.adapter is not None
        ranks = np.minimum(self.world.adapter.rank, every.most)
        needed = every.unit_cost[:below] @ ranks[:below]
        return Choice(np.where(needed <= left, cut, -1), np.tile(ranks, (len(left), 1)))

    def _adaptive(self, problem: SplitProblem) -> Choice:
        """New ranks, and new cuts too if importance has changed enough since they were chosen."""
        if self._cuts is not None and not (
            self.known is not None and changed(self._split_for, self.known, self.scheme.threshold)
        ):
            return problem.configured(self._cuts)
        choice = choose(problem)
        self._cuts, self._split_for = choice.cuts, self.known
        return choice

    def _scenario_cut(self, problem: SplitProblem) -> tuple[int, int]:
        """Index of the scenario's cut, and how many weights are below it."""
        cut = self.costs.cuts.index(self.costs.nearest_cut)
        return cut, int(problem.below[cut])

    def _configuration(self, problem: SplitProblem, choice: Choice, user: User) -> Configuration:
        place = self.world.users.index(user)
        index, ranks = int(choice.cuts[place]), choice.ranks[place]
        below, cut = int(problem.below[index]), self.costs.cuts[index]
        named = dict(zip(self.costs.sides, map(int, ranks), strict=True))
        configuration = Configuration(cut, self.costs.adapted(named), dict(list(named.items())[:below]))
        if configuration != self._told.get(user):
            cost = problem.base[index] + problem.weights.unit_cost[:below] @ ranks[:below]
            self._write(user, cut, named, float(cost), float(self.budgets[place]))
        return configuration

    def _write(self, user: User, cut: int, ranks: dict[str, int], cost: float, budget: float) -> None:
        decision = self.world.journal.decision
        decision(user.number, "cut", cut)
        for weight, rank in ranks.items():
            decision(user.number, f"rank {weight}", rank)
        decision(user.number, "cost", cost)
        if np.isfinite(budget):
            decision(user.number, "budget", budget)
