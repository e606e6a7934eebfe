"""Numbers that can differ between users: constant, listed or drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Annotated, Protocol

from annotated_types import Gt, MinLen

from netsim.lazy import drawn
from netsim.streams import Streams


class PerUser(Protocol):
    """One number for each user. A bare number is the same for all users, a bare list is one number for each."""

    def of_users(self, count: int, streams: Streams, purpose: str) -> Sequence[float]:
        """Return the numbers of users 0 to count - 1.

        Args:
            count: number of users.
            streams: random numbers of the run.
            purpose: name of the quantity, such as "device speed"; it names the draws, and occurs in messages.

        Raises:
            ValueError: a list has not `count` numbers, or the quantity is not available.
        """
        ...


@dataclass(frozen=True)
class ConstantPerUser:
    """The same number for every user."""

    value: float
    """Number of every user."""

    def of_users(self, count: int, streams: Streams, purpose: str) -> Sequence[float]:
        return drawn(count, lambda users: [self.value] * len(users))


@dataclass(frozen=True)
class ListedPerUser:
    """One number for each user, in order."""

    values: Annotated[tuple[float, ...], MinLen(1)]
    """Numbers of users 0, 1, 2 and so on; as many as there are users."""

    def of_users(self, count: int, streams: Streams, purpose: str) -> Sequence[float]:
        if len(self.values) != count:
            raise ValueError(f"the list for {purpose} has {len(self.values)} numbers, but there are {count} users")
        return list(self.values)


@dataclass(frozen=True)
class UniformPerUser:
    """Drawn independently for each user, uniform between two bounds."""

    low: float
    """Lower bound."""
    high: float
    """Upper bound."""

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) must not exceed high ({self.high:g})")

    def of_users(self, count: int, streams: Streams, purpose: str) -> Sequence[float]:
        def draw(users: Sequence[int]) -> list[float]:
            return [self.low + (self.high - self.low) * u for u in streams.uniform(purpose, index=users).tolist()]

        return drawn(count, draw)


@dataclass(frozen=True)
class LogUniformPerUser:
    """Drawn independently for each user, log-uniform between two bounds: the logarithm is uniform."""

    low: Annotated[float, Gt(0)]
    """Lower bound."""
    high: Annotated[float, Gt(0)]
    """Upper bound."""

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) must not exceed high ({self.high:g})")

    def of_users(self, count: int, streams: Streams, purpose: str) -> Sequence[float]:
        ratio = log(self.high / self.low)

        def draw(users: Sequence[int]) -> list[float]:
            return [self.low * exp(ratio * u) for u in streams.uniform(purpose, index=users).tolist()]

        return drawn(count, draw)


PER_USER: dict[str, type] = {
    "constant": ConstantPerUser,
    "list": ListedPerUser,
    "uniform": UniformPerUser,
    "log_uniform": LogUniformPerUser,
}
