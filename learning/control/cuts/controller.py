"""Controllers of mini-batches, cuts and the aggregation interval: HASFL, AdaptSFL, and simple baselines."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Annotated, Literal, NamedTuple, Protocol

import numpy as np
from annotated_types import Ge

from learning.control.cuts import CutChoice, CutProblem, adapt, alternating, best_batches, best_cuts, best_interval
from learning.control.cuts.forecast import CutForecast
from learning.control.cuts.problem import Integers


class CutPlan(NamedTuple):
    """Mini-batches and cuts of all users for the rounds of one interval."""

    choice: CutChoice
    """Samples in a mini-batch and blocks on the device, for each user."""
    interval: int
    """Rounds until device parts are aggregated."""
    objective: float = nan
    """Predicted seconds to the target, up to a constant; NaN where nothing is optimised."""


class CutController(Protocol):
    """A controller of mini-batches, cuts and interval, which decides before each interval."""

    def plan(self, forecast: CutForecast, number: int) -> CutPlan:
        """Decide for one interval.

        Args:
            forecast: predicted times of all users and cuts, and the bound on convergence.
            number: number of the interval, from 0, by which random choices are drawn.

        Raises:
            ValueError: there is no feasible plan; the message is one sentence.
        """
        ...

    @property
    def uses_bound(self) -> bool:
        """Whether plans depend on the constants of the bound on convergence, which may be estimated from gradients."""
        return False


@dataclass(frozen=True)
class Hasfl(CutController):
    """Mini-batches and cuts that minimise the predicted time to the target; or one of the two, the other random.

    Raises OutOfReach where both are optimised and no choice reaches the target.
    """

    batches: Literal["best", "random"] = "best"
    """Whether mini-batches are optimised (`best`), or drawn for each interval (`random`)."""
    cuts: Literal["best", "random"] = "best"
    """Whether cuts are optimised (`best`), or drawn for each interval (`random`)."""
    tune_interval: bool = False
    """Whether the aggregation interval is optimised as well, as AdaptSFL does."""
    max_samples: Annotated[int, Ge(1)] = 64
    """Upper bound on a mini-batch, in samples."""
    max_interval: Annotated[int, Ge(1)] = 50
    """Upper bound on an optimised interval, in rounds."""

    def plan(self, forecast: CutForecast, number: int) -> CutPlan:
        problem = forecast.problem(self.max_samples)
        choice = self._choice(forecast, problem, number)
        interval = forecast.interval
        if self.tune_interval:
            interval = min(best_interval(problem, choice), self.max_interval)
        return CutPlan(choice, interval, problem.with_interval(interval).cost(choice))

    @property
    def uses_bound(self) -> bool:
        return self.tune_interval or "best" in (self.batches, self.cuts)

    def _choice(self, forecast: CutForecast, problem: CutProblem, number: int) -> CutChoice:
        if self.batches == self.cuts == "best":
            return alternating(problem)
        drawn = _drawn(forecast, problem.max_samples, number)
        if self.batches == "best":
            return best_batches(problem, drawn.cuts) or drawn._replace(batches=problem.per_sample(drawn.cuts)[3])
        if self.cuts == "best":
            return best_cuts(problem, drawn.batches) or drawn
        return drawn


@dataclass(frozen=True)
class AdaptSFL(CutController):
    """Cuts and aggregation interval that minimise the predicted time to the target, at the scenario's mini-batches."""

    max_interval: Annotated[int, Ge(1)] = 50
    """Upper bound on the interval, in rounds."""

    def plan(self, forecast: CutForecast, number: int) -> CutPlan:
        problem = forecast.problem(forecast.batch_sizes)
        cuts = problem.easiest.cuts
        choice, interval = adapt(problem, CutChoice(problem.per_sample(cuts)[3], cuts))
        interval = min(interval, self.max_interval)
        return CutPlan(choice, interval, problem.with_interval(interval).cost(choice))

    @property
    def uses_bound(self) -> bool:
        return True


@dataclass(frozen=True)
class Fixed(CutController):
    """Mini-batches and cuts as stated, the same in every interval."""

    batches: tuple[Annotated[int, Ge(1)], ...] | None = None
    """Samples in a mini-batch: one number for all users, or one for each (default: the scenario's)."""
    cuts: tuple[Annotated[int, Ge(1)], ...] | None = None
    """Blocks on the device: one number for all users, or one for each (default: the scenario's)."""

    def plan(self, forecast: CutForecast, number: int) -> CutPlan:
        users, possible = len(forecast.world.users), len(forecast.cuts)
        cuts = _each("cuts", self.cuts or (forecast.world.cut,), users)
        if cuts.max() > possible:
            raise ValueError(f"cut {cuts.max()} does not leave a block on either side; possible cuts: 1 to {possible}")
        batches = _each("batches", self.batches, users) if self.batches else forecast.batch_sizes
        return CutPlan(CutChoice(batches, cuts), forecast.interval)


@dataclass(frozen=True)
class RandomCuts(CutController):
    """Mini-batches and cuts drawn for each user and interval, uniformly among those that fit its device."""

    max_samples: Annotated[int, Ge(1)] = 64
    """Upper bound on a mini-batch, in samples."""

    def plan(self, forecast: CutForecast, number: int) -> CutPlan:
        return CutPlan(_drawn(forecast, forecast.max_samples(self.max_samples), number), forecast.interval)


@dataclass(frozen=True)
class Proportional(CutController):
    """Mini-batches in proportion to the devices' speeds, on average the scenario's; cuts are the scenario's."""

    max_samples: Annotated[int, Ge(1)] = 64
    """Upper bound on a mini-batch, in samples."""

    def plan(self, forecast: CutForecast, number: int) -> CutPlan:
        speed = np.array([user.flops_per_s for user in forecast.users])
        cuts = np.full(len(speed), forecast.world.cut)
        wanted = np.rint(forecast.batch_sizes.mean() * speed / speed.mean()).astype(np.int64)
        return CutPlan(CutChoice(np.clip(wanted, 1, self.max_samples), cuts), forecast.interval)


CONTROLLERS: dict[str, type] = {
    "hasfl": Hasfl,
    "adaptsfl": AdaptSFL,
    "fixed": Fixed,
    "random": RandomCuts,
    "proportional": Proportional,
}


def _drawn(forecast: CutForecast, max_samples: Integers, number: int) -> CutChoice:
    """For each user a cut at which at least one sample fits, then a mini-batch of one sample up to what fits there."""
    batches, cuts = [], []
    for user, fitting in zip(forecast.world.users, max_samples, strict=True):
        draw = forecast.world.streams.generator("cut and mini-batch", user.number, number)
        cut = int(draw.choice(np.flatnonzero(fitting)))
        cuts.append(cut + 1)
        batches.append(int(draw.integers(1, fitting[cut] + 1)))
    return CutChoice(np.array(batches), np.array(cuts))


def _each(name: str, values: tuple[int, ...], users: int) -> Integers:
    if len(values) not in (1, users):
        raise ValueError(
            f"controller.{name} has {len(values)} numbers; give one for all, or one for each of {users} users"
        )
    return np.broadcast_to(np.array(values), (users,)).copy()
