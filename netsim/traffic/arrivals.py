"""Arrival processes of requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol

from annotated_types import Ge

from netsim.streams import Streams
from netsim.traffic.draws import exponential_draws, uniform_draws
from netsim.units import MIN_RECURRING_S, RecurringSeconds
from netsim.values import PerUser

MIN_REQUESTS = 1e-6
"""Smallest mean number of requests of a user in a time on and a time off, above 0; all these times are drawn."""


class Arrival(NamedTuple):
    """The arrival of one request. A size of None is drawn by the size law of the stream."""

    instant_s: float
    """Simulated time of the arrival in seconds."""
    uplink_bits: float | None = None
    """Size of the request in bits."""
    flops: float | None = None
    """Floating-point operations at the server."""
    downlink_bits: float | None = None
    """Size of the answer in bits."""


class Arrivals(Protocol):
    """An arrival process of requests."""

    def of_users(self, users: Sequence[int], count: int, streams: Streams, stream: str) -> list[Iterator[Arrival]]:
        """Return the requests of each user of a stream.

        Args:
            users: numbers of the users that make requests.
            count: number of all users.
            streams: random numbers of the run.
            stream: name of the request stream, which names the draws.

        Returns:
            For each of `users` its arrivals in order of time, possibly without end.

        Raises:
            ValueError: the process does not fit the users; the message is one sentence.
        """
        ...


@dataclass(frozen=True)
class PoissonArrivals:
    """Poisson process: independent requests, with exponential times between them."""

    rate_per_s: PerUser
    """Mean number of requests of a user per second; 0 is none."""

    def of_users(self, users: Sequence[int], count: int, streams: Streams, stream: str) -> list[Iterator[Arrival]]:
        rates = checked(self.rate_per_s.of_users(count, streams, f"rate of {stream}"), "rate_per_s")
        return [_poisson(rates[user], streams.key("arrivals", stream, user)) for user in users]


@dataclass(frozen=True)
class PeriodicArrivals:
    """Periodic requests: one per period, delayed by jitter; the phase of each user is drawn uniformly."""

    period_s: PerUser
    """Period of a user's requests in seconds."""
    jitter_s: Annotated[float, Ge(0)] = 0.0
    """Maximum delay of a request in seconds, drawn uniformly for each; at most the period. 0 is no jitter."""

    def of_users(self, users: Sequence[int], count: int, streams: Streams, stream: str) -> list[Iterator[Arrival]]:
        periods = self.period_s.of_users(count, streams, f"period of {stream}")
        for user, period_s in enumerate(periods):
            if period_s < MIN_RECURRING_S or period_s < self.jitter_s:
                raise ValueError(
                    f"the period of user {user} is {period_s:g} s; "
                    f"it must be at least {MIN_RECURRING_S:g} s and no less than jitter_s"
                )
        phases = streams.uniform("phase", stream, index=range(count)).tolist()
        keys = [streams.key("arrivals", stream, user) for user in users]
        return [self._instants(periods[user], phases[user], key) for user, key in zip(users, keys, strict=True)]

    def _instants(self, period_s: float, phase: float, key: int) -> Iterator[Arrival]:
        for number, late in enumerate(uniform_draws(key)):
            yield Arrival((phase + number) * period_s + self.jitter_s * late)


@dataclass(frozen=True)
class OnOffArrivals:
    """Bursts of requests: each user alternates between on and off, for exponential times, with a Poisson rate for each.

    A Markov-modulated Poisson process with two states, in equilibrium from the beginning. Fischer, Meier-Hellstern, The
    Markov-modulated Poisson process (MMPP) cookbook, Performance Evaluation 18(2), 1993.
    """

    rate_per_s: PerUser
    """Mean number of requests of a user per second while it is on."""
    mean_on_s: RecurringSeconds = 10.0
    """Mean duration of a time on, in seconds (our choice)."""
    mean_off_s: RecurringSeconds = 30.0
    """Mean duration of a time off, in seconds (our choice)."""
    off_rate_per_s: Annotated[float, Ge(0)] = 0.0
    """Mean number of requests of a user per second while it is off; with `rate_per_s` it is a plain Poisson process."""

    def of_users(self, users: Sequence[int], count: int, streams: Streams, stream: str) -> list[Iterator[Arrival]]:
        rates = checked(self.rate_per_s.of_users(count, streams, f"rate of {stream}"), "rate_per_s")
        for user, rate in enumerate(rates):
            if 0 < rate * self.mean_on_s + self.off_rate_per_s * self.mean_off_s < MIN_REQUESTS:
                raise ValueError(f"user {user} makes less than one request in a million times on and off")
        first = streams.uniform("on at first", stream, index=range(count)) * (self.mean_on_s + self.mean_off_s)
        begins_on = (first < self.mean_on_s).tolist()
        return [self._instants(rates[user], begins_on[user], streams, stream, user) for user in users]

    def _instants(self, rate: float, on: bool, streams: Streams, stream: str, user: int) -> Iterator[Arrival]:
        """Arrivals as a Poisson process of rate 1 on a clock that runs at the rate of the present state."""
        gaps = exponential_draws(streams.key("arrivals", stream, user))
        lengths = exponential_draws(streams.key("periods", stream, user))
        due, now_s = next(gaps), 0.0
        while rate or self.off_rate_per_s:
            mean_s, speed = (self.mean_on_s, rate) if on else (self.mean_off_s, self.off_rate_per_s)
            left_s = mean_s * next(lengths)
            while due <= speed * left_s:
                now_s += due / speed
                left_s -= due / speed
                yield Arrival(now_s)
                due = next(gaps)
            due -= speed * left_s
            now_s += left_s
            on = not on


def checked(rates: Sequence[float], field: str) -> Sequence[float]:
    """Return the rates unchanged. Raises ValueError, which names `field`, if one is out of range or NaN."""
    for user, rate in enumerate(rates):
        if not 0 <= rate <= 1 / MIN_RECURRING_S:
            raise ValueError(f"{field} of user {user} is {rate:g}; 0 to {1 / MIN_RECURRING_S:g} is allowed")
    return rates


def _poisson(rate: float, key: int) -> Iterator[Arrival]:
    now_s = 0.0
    for gap in exponential_draws(key) if rate else ():
        now_s += gap / rate
        yield Arrival(now_s)
