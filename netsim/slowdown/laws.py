"""Slowdowns without memory: each follows from one uniform number by the inverse of a distribution function."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log1p
from typing import Annotated

from annotated_types import Ge, Gt, MinLen
from scipy.special import ndtri

from netsim.slowdown.job import Job


@dataclass(frozen=True)
class NoSlowdown:
    """Devices keep their nominal speed."""

    def slowdown(self, job: Job) -> float:
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

    def slowdown(self, job: Job) -> float:
        return self.shift - log1p(-job.chance) / self.rate

    def check(self, count: int) -> None:
        """Fits any number of users."""


@dataclass(frozen=True)
class Lognormal:
    """Lognormal with median one."""

    sigma: Annotated[float, Ge(0)] = 0.5
    """Standard deviation of the logarithm; 0 is nominal speed."""

    def slowdown(self, job: Job) -> float:
        return exp(self.sigma * float(ndtri(job.chance)))

    def check(self, count: int) -> None:
        """Fits any number of users."""


@dataclass(frozen=True)
class Pareto:
    """Pareto with minimum one: heavy tails; the mean is infinite for alpha <= 1, the variance for alpha <= 2."""

    alpha: Annotated[float, Gt(0)] = 3.0
    """Tail exponent: P(slowdown > x) = x^-alpha."""

    def slowdown(self, job: Job) -> float:
        return exp(-log1p(-job.chance) / self.alpha)

    def check(self, count: int) -> None:
        """Fits any number of users."""


@dataclass(frozen=True)
class Weibull:
    """Shift plus a Weibull: tails heavier than exponential for shapes below one, lighter above."""

    shift: Annotated[float, Ge(0)] = 1.0
    """Least slowdown; 1 is nominal speed."""
    scale: Annotated[float, Gt(0)] = 1.0
    """Scale of the Weibull: beyond the shift, 63 % of draws lie below it."""
    shape: Annotated[float, Gt(0)] = 0.7
    """Shape; 1 is the shifted exponential of rate 1/scale."""

    def slowdown(self, job: Job) -> float:
        return self.shift + self.scale * float((-log1p(-job.chance)) ** (1 / self.shape))

    def check(self, count: int) -> None:
        """Fits any number of users."""


@dataclass(frozen=True)
class ListedSlowdowns:
    """A given factor for each user, without chance."""

    factors: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]
    """Slowdown of users 0, 1, 2 and so on; as many as there are users."""

    def slowdown(self, job: Job) -> float:
        return self.factors[job.user]

    def check(self, count: int) -> None:
        if len(self.factors) != count:
            raise ValueError(f"{len(self.factors)} slowdown factors are given, but there are {count} users")
