"""Slowdown laws without state: a slowdown is one uniform draw, by the inverse of a distribution function."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log1p
from typing import Annotated

from annotated_types import Ge, Gt, MinLen
from scipy.special import ndtri

from netsim.slowdown.job import DeviceJob
from netsim.units import LogDeviation, TailShape


@dataclass(frozen=True)
class NoSlowdown:
    """No slowdown: devices work at their nominal speed."""

    def slowdown(self, job: DeviceJob) -> float:
        return 1.0

    def check(self, count: int) -> None:
        """Accept any number of users."""


@dataclass(frozen=True)
class ShiftedExponential:
    """Shifted exponential slowdowns (Lee et al., Speeding up distributed machine learning using codes, 2018)."""

    shift: Annotated[float, Ge(0)] = 1.0
    """Minimum slowdown; 1 is nominal speed."""
    rate: Annotated[float, Gt(0)] = 1.0
    """Rate of the exponential, whose mean is 1/rate; the slowdown tends to the shift for large rates."""

    def slowdown(self, job: DeviceJob) -> float:
        return self.shift - log1p(-job.chance) / self.rate

    def check(self, count: int) -> None:
        """Accept any number of users."""


@dataclass(frozen=True)
class Lognormal:
    """Lognormal slowdowns with median 1."""

    sigma: LogDeviation = 0.5
    """Standard deviation of the logarithm; 0 is nominal speed."""

    def slowdown(self, job: DeviceJob) -> float:
        return exp(self.sigma * float(ndtri(job.chance)))

    def check(self, count: int) -> None:
        """Accept any number of users."""


@dataclass(frozen=True)
class Pareto:
    """Pareto slowdowns with minimum 1. Their mean is infinite for alpha <= 1, their variance for alpha <= 2."""

    alpha: TailShape = 3.0
    """Tail exponent: P(slowdown > x) = x^-alpha."""

    def slowdown(self, job: DeviceJob) -> float:
        return exp(-log1p(-job.chance) / self.alpha)

    def check(self, count: int) -> None:
        """Accept any number of users."""


@dataclass(frozen=True)
class Weibull:
    """Shifted Weibull slowdowns: tails heavier than exponential for shapes below 1, lighter above."""

    shift: Annotated[float, Ge(0)] = 1.0
    """Minimum slowdown; 1 is nominal speed."""
    scale: Annotated[float, Gt(0)] = 1.0
    """Scale of the Weibull: 63 % of slowdowns are below shift plus scale."""
    shape: TailShape = 0.7
    """Shape of the Weibull; 1 is the shifted exponential of rate 1/scale."""

    def slowdown(self, job: DeviceJob) -> float:
        return self.shift + self.scale * float((-log1p(-job.chance)) ** (1 / self.shape))

    def check(self, count: int) -> None:
        """Accept any number of users."""


@dataclass(frozen=True)
class ListedSlowdowns:
    """A constant slowdown for each user."""

    factors: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]
    """Slowdowns of users 0, 1, 2 and so on; as many as there are users."""

    def slowdown(self, job: DeviceJob) -> float:
        return self.factors[job.user]

    def check(self, count: int) -> None:
        if len(self.factors) != count:
            raise ValueError(f"{len(self.factors)} slowdown factors are given, but there are {count} users")
