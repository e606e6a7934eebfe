"""Laws of availability: the times at which users' devices are away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from math import ceil, gamma, log
from typing import Literal, Protocol

from scipy.special import gammaincinv

from netsim.streams import Streams
from netsim.units import RecurringSeconds, TailShape
from netsim.values import ConstantPerUser, PerUser

Span = tuple[float, float]
"""Start and end of a time for which a device is away, in seconds; the end is inf if it never returns."""


class Availability(Protocol):
    """A law of availability: when devices are away, for example in use by their owners, or out of coverage."""

    def away(self, users: int, streams: Streams) -> list[Iterator[Span]]:
        """Return the absences of each user.

        Args:
            users: number of users.
            streams: random numbers of the run.

        Returns:
            For each user the spans of absence, in order, without overlap, and possibly without end.

        Raises:
            ValueError: the law does not fit the users; the message is one sentence.
        """
        ...


@dataclass(frozen=True)
class AlwaysAvailable:
    """Devices are always available."""

    def away(self, users: int, streams: Streams) -> list[Iterator[Span]]:
        return [iter(()) for _ in range(users)]


@dataclass(frozen=True)
class OnOffAvailability:
    """Alternating renewal process: each device is alternately available and away, for independent Weibull times.

    Weibull laws fit the availability of machines: Nurmi, Brevik, Wolski, Modeling machine availability in enterprise
    and wide-area distributed computing environments, Euro-Par 2005.
    """

    mean_on_s: RecurringSeconds = 600.0
    """Mean time for which a device is available, in seconds (our choice)."""
    mean_off_s: RecurringSeconds = 60.0
    """Mean time for which a device is away, in seconds (our choice)."""
    on_shape: TailShape = 1.0
    """Weibull shape of the times available; 1 is exponential, below 1 has a heavier tail."""
    off_shape: TailShape = 1.0
    """Weibull shape of the times away; 1 is exponential, below 1 has a heavier tail."""
    start: Literal["equilibrium", "on"] = "equilibrium"
    """State at the start of the run: the process in equilibrium, or all devices just available."""

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
class DailyAvailability:
    """Devices are away for the same part of every day; the run starts at the beginning of a day.

    Phones that train at night, idle and charging: Bonawitz et al., Towards federated learning at scale, MLSys 2019.
    """

    away_from_s: PerUser = field(default_factory=lambda: ConstantPerUser(7 * 3600.0))
    """Time of day at which a device leaves, in seconds from the beginning of the day (our choice)."""
    away_for_s: RecurringSeconds = 16 * 3600.0
    """Duration of the absence in seconds (our choice)."""
    day_s: RecurringSeconds = 24 * 3600.0
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
    """Return a Weibull time in seconds, by the inverse of its survival function.

    Args:
        mean_s: mean in seconds.
        shape: shape parameter; 1 is exponential.
        chance: probability in (0, 1) that the time is longer, as a uniform draw.
    """
    return float(mean_s / gamma(1 + 1 / shape) * (-log(chance)) ** (1 / shape))


def residual_s(mean_s: float, shape: float, chance: float) -> float:
    """Return the residual Weibull time of a renewal process in equilibrium, in seconds, by inversion.

    Its density is the survival function of the time over the mean, so that its power `shape` has a gamma law.

    Args:
        mean_s: mean of the Weibull time in seconds.
        shape: shape parameter of the Weibull time.
        chance: uniform draw in (0, 1).
    """
    return float(mean_s / gamma(1 + 1 / shape) * gammaincinv(1 / shape, chance) ** (1 / shape))
