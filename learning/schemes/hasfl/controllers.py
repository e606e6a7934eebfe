"""Who decides on mini-batches, cuts and the aggregation interval, before each interval: HASFL and its baselines."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Annotated, Literal, NamedTuple, Protocol

import numpy as np
from annotated_types import Ge

from learning.control.cuts import Choice, CutProblem, adapt, alternating, best_batches, best_cuts, best_interval
from learning.control.cuts.problem import Integers
from learning.schemes.hasfl.situation import Situation


class Plan(NamedTuple):
    """What an interval is to be like."""

    choice: Choice
    interval: int
    objective: float = nan
    """Seconds to the target up to a constant, as the bound predicts; none where nothing is optimised."""


class Controller(Protocol):
    """Decides before each interval."""

    def plan(self, situation: Situation, turn: int) -> Plan:
        """The plan of interval number `turn`. Raises ValueError, in one sentence, where there can be none."""
        ...


@dataclass(frozen=True)
class Hasfl:
    """Mini-batches and cuts that the bound predicts to be fastest to the target; or one of the two, the other random.

    Raises OutOfReach where both are optimised and no choice reaches the target.
    """

    batches: Literal["best", "random"] = "best"
    """Whether mini-batches are optimised, or drawn for each interval."""
    cuts: Literal["best", "random"] = "best"
    """Whether cuts are optimised, or drawn for each interval."""
    tune_interval: bool = False
    """Whether the aggregation interval is optimised as well, as AdaptSFL does."""
    max_samples: Annotated[int, Ge(1)] = 64
    """Largest mini-batch."""
    longest_interval: Annotated[int, Ge(1)] = 50
    """Bound on an interval that is optimised."""

    def plan(self, situation: Situation, turn: int) -> Plan:
        problem = situation.problem(self.max_samples)
        choice = self._choice(situation, problem, turn)
        interval = situation.interval
        if self.tune_interval:
            interval = min(best_interval(problem, choice), self.longest_interval)
        return Plan(choice, interval, problem.with_interval(interval).cost(choice))

    def _choice(self, situation: Situation, problem: CutProblem, turn: int) -> Choice:
        if self.batches == self.cuts == "best":
            return alternating(problem)
        drawn = _drawn(situation, problem.max_samples, turn)
        if self.batches == "best":
            return best_batches(problem, drawn.cuts) or drawn._replace(batches=problem.per_sample(drawn.cuts)[3])
        if self.cuts == "best":
            return best_cuts(problem, drawn.batches) or drawn
        return drawn


@dataclass(frozen=True)
class AdaptSFL:
    """Cuts and aggregation interval that the bound predicts to be fastest; everybody's mini-batch is the scenario's."""

    longest_interval: Annotated[int, Ge(1)] = 50
    """Bound on the interval."""

    def plan(self, situation: Situation, turn: int) -> Plan:
        problem = situation.problem(situation.samples)
        cuts = problem.easiest.cuts
        choice, interval = adapt(problem, Choice(problem.per_sample(cuts)[3], cuts))
        interval = min(interval, self.longest_interval)
        return Plan(choice, interval, problem.with_interval(interval).cost(choice))


@dataclass(frozen=True)
class Fixed:
    """Stated mini-batches and cuts."""

    batches: tuple[Annotated[int, Ge(1)], ...] | None = None
    """Samples in a mini-batch: one number for all users, or one for each (default: the scenario's)."""
    cuts: tuple[Annotated[int, Ge(1)], ...] | None = None
    """Blocks on the device: one number for all users, or one for each (default: the scenario's)."""

    def plan(self, situation: Situation, turn: int) -> Plan:
        users, possible = len(situation.world.users), len(situation.parts)
        cuts = _each("cuts", self.cuts or (situation.world.cut,), users)
        if cuts.max() > possible:
            raise ValueError(f"cut {cuts.max()} does not leave a block on either side; possible cuts: 1 to {possible}")
        batches = _each("batches", self.batches, users) if self.batches else situation.samples
        return Plan(Choice(batches, cuts), situation.interval)


@dataclass(frozen=True)
class Random:
    """Mini-batches and cuts drawn for each user and interval, alike between the least and the largest that fit."""

    max_samples: Annotated[int, Ge(1)] = 64
    """Largest mini-batch."""

    def plan(self, situation: Situation, turn: int) -> Plan:
        return Plan(_drawn(situation, situation.max_samples(self.max_samples), turn), situation.interval)


@dataclass(frozen=True)
class Proportional:
    """Mini-batches in proportion to the devices' speeds, on average the scenario's; cuts are the scenario's."""

    max_samples: Annotated[int, Ge(1)] = 64
    """Largest mini-batch."""

    def plan(self, situation: Situation, turn: int) -> Plan:
        users = situation.world.users
        speed = np.array([user.node.flops_per_s for user in users])
        cuts = np.full(len(users), situation.world.cut)
        wanted = np.rint(situation.samples.mean() * speed / speed.mean()).astype(np.int64)
        return Plan(Choice(np.clip(wanted, 1, self.max_samples), cuts), situation.interval)


CONTROLLERS: dict[str, type] = {
    "hasfl": Hasfl,
    "adaptsfl": AdaptSFL,
    "fixed": Fixed,
    "random": Random,
    "proportional": Proportional,
}


def _drawn(situation: Situation, most: Integers, turn: int) -> Choice:
    """For each user a cut at which at least one sample fits, and as many samples as fit there, or fewer."""
    batches, cuts = [], []
    for user, fitting in zip(situation.world.users, most, strict=True):
        draw = situation.world.streams.generator("cut and mini-batch", user.number, turn)
        cut = int(draw.choice(np.flatnonzero(fitting)))
        cuts.append(cut + 1)
        batches.append(int(draw.integers(1, fitting[cut] + 1)))
    return Choice(np.array(batches), np.array(cuts))


def _each(name: str, values: tuple[int, ...], users: int) -> Integers:
    if len(values) not in (1, users):
        raise ValueError(
            f"controller.{name} has {len(values)} numbers; give one for all, or one for each of {users} users"
        )
    return np.broadcast_to(np.array(values), (users,)).copy()
