"""Stragglers: how much slower than its nominal speed a device does a job."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import exp, log1p
from typing import Annotated, Literal, Protocol

from annotated_types import Ge, Gt, MinLen
from scipy.special import ndtri

from netsim.streams import Streams


class SlowdownLaw(Protocol):
    """Distribution of the factor by which a job takes longer than FLOPs over FLOP/s."""

    def slowdown(self, user: int, chance: float) -> float:
        """The factor > 0 that belongs to a uniform number in (0, 1): the inverse distribution function."""
        ...

    def check(self, count: int) -> None:
        """Raises ValueError if the law does not fit `count` users."""
        ...


@dataclass(frozen=True)
class NoSlowdown:
    """Devices keep their nominal speed."""

    def slowdown(self, user: int, chance: float) -> float:
        return 1.0

    def check(self, count: int) -> None:
        """Fits any number of users."""


@dataclass(frozen=True)
class ShiftedExponential:
    """Shift plus an exponential (Lee et al., Speeding up distributed machine learning using codes, 2018)."""

    shift: Annotated[float, Ge(0)] = 1.0
    """Least slowdown; 1 is nominal speed."""
    rate: Annotated[float, Gt(0)] = 1.0
    """Rate of the exponential; its mean is 1/rate. A very large rate leaves the shift alone."""

    def slowdown(self, user: int, chance: float) -> float:
        return self.shift - log1p(-chance) / self.rate

    def check(self, count: int) -> None:
        """Fits any number of users."""


@dataclass(frozen=True)
class Lognormal:
    """Lognormal with median one."""

    sigma: Annotated[float, Ge(0)] = 0.5
    """Standard deviation of the logarithm; 0 is nominal speed."""

    def slowdown(self, user: int, chance: float) -> float:
        return exp(self.sigma * float(ndtri(chance)))

    def check(self, count: int) -> None:
        """Fits any number of users."""


@dataclass(frozen=True)
class Pareto:
    """Pareto with minimum one: heavy tails; the mean is infinite for alpha <= 1, the variance for alpha <= 2."""

    alpha: Annotated[float, Gt(0)] = 3.0
    """Tail exponent: P(slowdown > x) = x^-alpha."""

    def slowdown(self, user: int, chance: float) -> float:
        return exp(-log1p(-chance) / self.alpha)

    def check(self, count: int) -> None:
        """Fits any number of users."""


@dataclass(frozen=True)
class ListedSlowdowns:
    """A given factor for each user, without chance."""

    factors: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]
    """Slowdown of users 0, 1, 2 and so on; as many as there are users."""

    def slowdown(self, user: int, chance: float) -> float:
        return self.factors[user]

    def check(self, count: int) -> None:
        if len(self.factors) != count:
            raise ValueError(f"{len(self.factors)} slowdown factors are given, but there are {count} users")


SLOWDOWN_LAWS: dict[str, type] = {
    "none": NoSlowdown,
    "shifted_exponential": ShiftedExponential,
    "lognormal": Lognormal,
    "pareto": Pareto,
    "list": ListedSlowdowns,
}


class Slowdowns:
    """Draws slowdowns by name: (user, round), or (user, round, number of the job in that round)."""

    def __init__(self, law: SlowdownLaw, redraw: Literal["round", "job"], streams: Streams) -> None:
        self.law, self.redraw, self.streams = law, redraw, streams
        self._round = 0
        self._jobs: Counter[int] = Counter()

    def draw(self, user: int, round_number: int) -> float:
        """The slowdown of the user's next job in a round."""
        if self.redraw == "round":
            return self.law.slowdown(user, self.streams.uniform("slowdown", user, index=round_number))
        if round_number != self._round:
            self._round = round_number
            self._jobs.clear()
        job = self._jobs[user]
        self._jobs[user] += 1
        return self.law.slowdown(user, self.streams.uniform("slowdown", user, round_number, index=job))
