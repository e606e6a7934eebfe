"""The controller of ranks and cuts: by the importance of weights that users report, within the budgets of all users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, MinLen

from learning.control.controller import record
from learning.control.observation import observe
from learning.control.ranks.costs import CutCosts, Resource, adaptable
from learning.control.ranks.importance import History, changed
from learning.control.ranks.problem import CutRankChoice, CutRankProblem, Floats, Integers, limited
from learning.control.ranks.solvers import coordinate_ascent, equal_for_all, uniform_per_user, with_ranks
from learning.control.usable import usable
from learning.parties import User
from learning.protocols.split import CutLink
from learning.steps import Weights
from learning.world import World


@dataclass(frozen=True)
class RankBudgets:
    """The allowed ranks of adapters, and the budgets of users."""

    ranks: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1, 2, 4, 8)
    """Ranks that an adapter can have, ascending; in `hsplitlora` a weight can also have none."""
    budget: Resource = "memory"
    """What the budgets limit: the memory of training on a device, or its FLOPs in a mini-batch."""
    budgets: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] | None = None
    """Budgets as fractions of the cost of the device part of a split model with the largest rank everywhere, at the
    scenario's cut, in the largest mini-batch of any user: one number for all users, or one for each (default: the
    devices' memory, where it is limited). Users that cannot afford the lowest rank are excluded from the run."""

    def __post_init__(self) -> None:
        if list(self.ranks) != sorted(set(self.ranks)):
            raise ValueError(f"ranks = {list(self.ranks)} do not ascend")


@dataclass(frozen=True)
class RankSettings(RankBudgets):
    """Choice of a rank for each weight and a cut for each user, by importance and within budgets."""

    importance: Literal["rngwp", "random", "uniform"] = "rngwp"
    """Importance of a weight: gradient times weight over its cost, as measured in probes (`rngwp`); drawn at random, as
    often as a probe would be; or the same for all. Under `rngwp` decisions depend on values; a dry run, which has none,
    takes all weights as equally important."""
    probe_every: Annotated[int, Ge(1)] = 2
    """Rounds from one probe of importance to the next."""
    history: History = History()
    """Moving average over the scores of several probes."""
    configuration: Literal["adaptive", "uniform", "fixed"] = "adaptive"
    """What is chosen: a cut for each user and a rank for each of its weights; at the scenario's cut one rank for all
    weights of a device, within its budget (`uniform`); or the adapter's rank for all users that can afford it
    (`fixed`)."""
    threshold: Annotated[float, Ge(0)] = 0.2
    """Relative change of importance beyond which cuts are chosen again."""
    time_weight: Annotated[float, Ge(0)] = 1.0
    """Weight of the time of a mini-batch, relative to its mean, against the value of the largest rank everywhere."""
    server_budget: Annotated[float, Gt(0)] = 1.0
    """Budget of the server, as a fraction of the cost of the largest rank everywhere for all users."""

    def probes(self, number: int) -> bool:
        """Whether users report importance in round `number`."""
        return self.importance == "rngwp" and number % self.probe_every == 0

    @property
    def stand_in(self) -> str | None:
        """Equal importance of all weights, where decisions otherwise depend on reported importance; else None."""
        reported = self.importance == "rngwp" and self.configuration == "adaptive"
        return "equal importance of all weights" if reported else None


class RankPlan(NamedTuple):
    """A controller's decision for one user."""

    cut: int
    """The block before which the model is cut."""
    device_ranks: dict[str, int]
    """Rank of each weight on the device that may have an adapter, by its name; 0 is no adapter."""
    server_ranks: dict[str, int]
    """Rank of each such weight at the server, by its name; 0 is no adapter."""

    @property
    def ranks(self) -> dict[str, int]:
        """Ranks of all weights by name, in the order of the model."""
        return self.device_ranks | self.server_ranks


class RankController:
    """Decides for all users at the beginning of a round, by the importance of weights that is known at that time.

    Args:
        settings: how ranks and cuts are chosen.
        world: the world.
        link: codecs of the messages across the cut.

    Raises:
        ValueError: as `adaptable`, and for a wrong number of budgets.
    """

    def __init__(self, settings: RankSettings, world: World, link: CutLink) -> None:
        self.settings, self.world, self.model = settings, world, adaptable(world)
        self.importance: Floats | None = None
        """(weights,): present importance of the weights; None before any was reported."""
        costs, users = CutCosts(world, self.model, link, settings.budget), observe(world.users)
        self._base_cost = np.array([costs.device(user).base for user in users])
        self._unit_cost = np.array([costs.device(user).unit for user in users])
        self._budgets = costs.budgets(users, settings.budgets, settings.ranks[-1])
        largest = self._unit_cost @ limited(settings.ranks[-1], settings.ranks, self.model.max_ranks)
        self._server_budget = settings.server_budget * float(largest.sum()) * (1 + 1e-12)
        timed = settings.configuration == "adaptive" and settings.time_weight > 0
        self._seconds = np.array([costs.seconds(user) if timed else np.ones(len(self.model.cuts)) for user in users])
        self._cuts: Integers | None = None
        self._chosen_for: Floats | None = None
        """The importance for which cuts were chosen."""
        self._plans: dict[User, RankPlan] = {}

    def excluded(self) -> list[User]:
        """Users whose budget is too small for any importance. Raises ValueError if that holds for all users."""
        problem = self._problem()
        if self.settings.configuration == "adaptive":
            able = np.array([bool(problem.feasible(user)) for user in range(len(self._budgets))])
        else:
            able = self._choice(problem).cuts >= 0
        if not able.any():
            raise ValueError(
                "no user's budget is enough for the device part of the model; raise scheme.control.budgets"
            )
        return [user for user in self.world.eligible if not able[user.number]]

    def plans(self, number: int) -> dict[User, RankPlan]:
        """Plans for round `number` of all users whose budget suffices; plans that have changed are recorded."""
        if self.settings.importance == "random" and number % self.settings.probe_every == 0:
            draw = self.world.streams.generator("importance", number)
            self.importance = draw.random(len(self.model.sides))
        choice, before = self._choice(self._problem()), self._plans
        self._plans = {
            user: self._plan(int(cut), ranks)
            for user, cut, ranks in zip(self.world.users, choice.cuts, choice.ranks, strict=True)
            if cut >= 0
        }
        for user, plan in self._plans.items():
            if plan != before.get(user):
                self._record(user, plan)
        return self._plans

    def update(self, reports: Sequence[Weights], weights: tuple[float, ...], progress: float) -> None:
        """Update the importance with scores that users have reported; in a dry run, which has no values, it stays.

        Scores that are not usable (`learning.control.usable`) are ignored.

        Args:
            reports: each user's scores of all weights, by name; deferred.
            weights: weights of the users in the mean of their scores, which sum to one.
            progress: fraction of the training that is over.
        """
        if not self.world.executor.computes:
            return
        reported = self.world.executor.value(list(reports))
        scores = [np.array([float(report[weight]) for weight in self.model.sides]) for report in reported]
        used = [(share, each) for share, each in zip(weights, scores, strict=True) if usable(each)]
        if not used:
            return
        mean = np.asarray(sum(share * each for share, each in used))
        if len(used) < len(scores):
            mean = mean / sum(share for share, _ in used)
        self.importance = self.settings.history.averaged(self.importance, mean, progress)
        for weight, value in zip(self.model.sides, self.importance, strict=True):
            record(self.world.journal, None, {f"importance {weight}": float(value)})

    def _problem(self) -> CutRankProblem:
        """The present problem."""
        return CutRankProblem(
            importance=np.ones(len(self.model.sides)) if self.importance is None else self.importance,
            unit_cost=self._unit_cost,
            ranks=self.settings.ranks,
            max_ranks=self.model.max_ranks,
            below=self.model.below,
            base_cost=self._base_cost,
            budgets=self._budgets,
            seconds=self._seconds,
            server_budget=self._server_budget,
            time_weight=self.settings.time_weight,
        )

    def _choice(self, problem: CutRankProblem) -> CutRankChoice:
        if self.settings.configuration == "adaptive":
            return self._adaptive(problem)
        index = self.model.cuts.index(self.model.nearest_cut(self.world.cut))
        if self.settings.configuration == "uniform":
            return uniform_per_user(problem, index)
        assert self.world.adapter is not None
        return equal_for_all(problem, index, self.world.adapter.rank)

    def _adaptive(self, problem: CutRankProblem) -> CutRankChoice:
        """New ranks, and new cuts too if importance has changed enough since they were chosen."""
        heard = self.importance is not None and changed(self._chosen_for, self.importance, self.settings.threshold)
        if self._cuts is not None and not heard:
            return with_ranks(problem, self._cuts)
        choice = coordinate_ascent(problem)
        self._cuts, self._chosen_for = choice.cuts, self.importance
        return choice

    def _plan(self, cut: int, ranks: Integers) -> RankPlan:
        """The plan of a user by the index of its cut and its ranks (weights,)."""
        named, below = list(zip(self.model.sides, ranks.tolist(), strict=True)), self.model.below[cut]
        return RankPlan(self.model.cuts[cut], dict(named[:below]), dict(named[below:]))

    def _record(self, user: User, plan: RankPlan) -> None:
        """Write a user's plan into the table `decisions`, with what it costs and what the user can afford."""
        place, index = self.world.users.index(user), self.model.cuts.index(plan.cut)
        ranks = np.array(list(plan.device_ranks.values()))
        cost = self._base_cost[place, index] + self._unit_cost[place, : len(ranks)] @ ranks
        named = {f"rank {weight}": rank for weight, rank in plan.ranks.items()}
        record(self.world.journal, user, {"cut": plan.cut, **named, "cost": cost, "budget": self._budgets[place]})
