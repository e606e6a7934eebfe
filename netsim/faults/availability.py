"""When devices are there: laws of availability."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from math import ceil, gamma, log
from typing import Annotated, Literal, Protocol

from annotated_types import Gt
from scipy.special import gammaincinv

from netsim.streams import Streams
from netsim.values import Constant, PerUser

Span = tuple[float, float]
"""From when until when a device is away in seconds; until infinity if it never returns."""


class Availability(Protocol):
    """When users' devices are away of themselves: used by their owners, out of coverage, without a charger."""

    def away(self, users: int, streams: Streams) -> list[Iterator[Span]]:
        """For each of so many users the spans that it is away: in order, apart, and perhaps without end.

        Raises ValueError, in one sentence, if the law does not fit the users.
        """
        ...


@dataclass(frozen=True)
class AlwaysThere:
    """Devices are always there."""

    def away(self, users: int, streams: Streams) -> list[Iterator[Span]]:
        return [iter(()) for _ in range(users)]


@dataclass(frozen=True)
class OnOff:
    """Devices come and go: times there and away alternate, Weibull or exponential, for each user its own.

    An alternating renewal process. That Weibull laws fit machines: Nurmi, Brevik, Wolski, Modeling machine availability
    in enterprise and wide-area distributed computing environments, Euro-Par 2005.
    """

    mean_on_s: Annotated[float, Gt(0)] = 600.0
    """Mean time that a device is there in seconds (our choice)."""
    mean_off_s: Annotated[float, Gt(0)] = 60.0
    """Mean time that it is away in seconds (our choice)."""
    on_shape: Annotated[float, Gt(0)] = 1.0
    """Weibull shape of the times there; 1 is exponential, less has a heavier tail."""
    off_shape: Annotated[float, Gt(0)] = 1.0
    """Weibull shape of the times away."""
    start: Literal["equilibrium", "on"] = "equilibrium"
    """Whether the run begins in the midst of it, or everybody has just arrived."""

    def away(self, users: int, streams: Streams) -> list[Iterator[Span]]:
        return [self._spans(user, streams) for user in range(users)]

    def _spans(self, user: int, streams: Streams) -> Iterator[Span]:
        state, on, off = streams.uniform("availability at first", user, index=range(3)).tolist()
        now_s, on_s = 0.0, weibull_s(self.mean_on_s, self.on_shape, on)
        if self.start == "equilibrium":
            if state < self.mean_on_s / (self.mean_on_s + self.mean_off_s):
                on_s = residual_s(self.mean_on_s, self.on_shape, on)
            else:
                now_s = residual_s(self.mean_off_s, self.off_shape, off)
                yield 0.0, now_s
        for number in count():
            off, on = streams.uniform("availability", user, index=(2 * number, 2 * number + 1)).tolist()
            from_s = now_s + on_s
            now_s = from_s + weibull_s(self.mean_off_s, self.off_shape, off)
            yield from_s, now_s
            on_s = weibull_s(self.mean_on_s, self.on_shape, on)


@dataclass(frozen=True)
class Daily:
    """Devices are away for the same part of every day.

    Phones that train at night, idle and charging: Bonawitz et al., Towards federated learning at scale, MLSys 2019.
    """

    away_from_s: PerUser = field(default_factory=lambda: Constant(7 * 3600.0))
    """When in the day a device goes, in seconds from the day's beginning, at which the run begins too (our choice)."""
    away_for_s: Annotated[float, Gt(0)] = 16 * 3600.0
    """How long it stays away in seconds (our choice)."""
    day_s: Annotated[float, Gt(0)] = 24 * 3600.0
    """Length of a day in seconds."""

    def __post_init__(self) -> None:
        if self.away_for_s >= self.day_s:
            raise ValueError(f"away_for_s ({self.away_for_s:g}) must be shorter than day_s ({self.day_s:g})")

    def away(self, users: int, streams: Streams) -> list[Iterator[Span]]:
        return [self._spans(from_s) for from_s in self.away_from_s.of_users(users, streams, "time of going away")]

    def _spans(self, from_s: float) -> Iterator[Span]:
        first = -ceil((from_s + self.away_for_s) / self.day_s)  # may reach into the run
        for day in count(first):
            yield from_s + day * self.day_s, from_s + self.away_for_s + day * self.day_s


def weibull_s(mean_s: float, shape: float, chance: float) -> float:
    """A Weibull time with this mean, by the inverse of its distribution function."""
    return float(mean_s / gamma(1 + 1 / shape) * (-log(chance)) ** (1 / shape))


def residual_s(mean_s: float, shape: float, chance: float) -> float:
    """What is left of such a time for who comes upon it in equilibrium.

    Its density is the probability that the time lasts longer, over the mean: a gamma law of the power `shape`.
    """
    return float(mean_s / gamma(1 + 1 / shape) * gammaincinv(1 / shape, chance) ** (1 / shape))
