"""Numbers that differ from user to user."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import Annotated, Protocol

from annotated_types import Gt, MinLen

from netsim.streams import Streams


class PerUser(Protocol):
    """One number for each user: a bare number means the same for all, a bare list one each."""

    def of_users(self, count: int, streams: Streams, purpose: str) -> list[float]:
        """The numbers of users 0 .. count-1; `purpose` names the draws. ValueError if there are too few or many."""
        ...


@dataclass(frozen=True)
class Constant:
    """The same number for every user."""

    value: float
    """The number."""

    def of_users(self, count: int, streams: Streams, purpose: str) -> list[float]:
        return [self.value] * count


@dataclass(frozen=True)
class Listed:
    """One number for each user, in order."""

    values: Annotated[tuple[float, ...], MinLen(1)]
    """The numbers of users 0, 1, 2 and so on; as many as there are users."""

    def of_users(self, count: int, streams: Streams, purpose: str) -> list[float]:
        if len(self.values) != count:
            raise ValueError(f"the list for {purpose} has {len(self.values)} numbers, but there are {count} users")
        return list(self.values)


@dataclass(frozen=True)
class Uniform:
    """Drawn for each user, uniform between two bounds."""

    low: float
    """Lower bound."""
    high: float
    """Upper bound."""

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) must not exceed high ({self.high:g})")

    def of_users(self, count: int, streams: Streams, purpose: str) -> list[float]:
        return [self.low + (self.high - self.low) * u for u in streams.uniform(purpose, index=range(count)).tolist()]


@dataclass(frozen=True)
class LogUniform:
    """Drawn for each user, its logarithm uniform between two bounds: a spread of factors."""

    low: Annotated[float, Gt(0)]
    """Lower bound."""
    high: Annotated[float, Gt(0)]
    """Upper bound."""

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) must not exceed high ({self.high:g})")

    def of_users(self, count: int, streams: Streams, purpose: str) -> list[float]:
        ratio = log(self.high / self.low)
        return [self.low * exp(ratio * u) for u in streams.uniform(purpose, index=range(count)).tolist()]


PER_USER: dict[str, type] = {"constant": Constant, "list": Listed, "uniform": Uniform, "log_uniform": LogUniform}
