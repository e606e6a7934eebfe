"""Outages one by one: listed in a scenario, or the end of a device's life."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Annotated

from annotated_types import Ge

from netsim.exogenous import Steps
from netsim.faults.availability import Span
from netsim.faults.presence import Presence


@dataclass(frozen=True)
class Outage:
    """A device that is away from one instant to another."""

    user: Annotated[int, Ge(0)]
    """The user whose device it is."""
    from_s: Annotated[float, Ge(0)]
    """Simulated time at which it goes away, in seconds."""
    until_s: float | None = None
    """Simulated time at which it returns, in seconds; null is never: it dies."""

    def __post_init__(self) -> None:
        if self.until_s is not None and self.until_s <= self.from_s:
            raise ValueError(f"until_s ({self.until_s:g}) must come after from_s ({self.from_s:g})")

    @property
    def span(self) -> Span:
        return self.from_s, inf if self.until_s is None else self.until_s


def absences(presence: Presence, cause: str, spans: Iterator[Span]) -> Steps:
    """Take a device away in these spans: exogenous events."""
    for from_s, until_s in spans:
        if until_s > presence.env.now:
            presence.steady = False
            yield from_s
            presence.leave(cause, for_ever=until_s == inf)
            yield until_s
            presence.come_back(cause)


def merged(spans: Iterable[Span]) -> Iterator[Span]:
    """The same time in spans in order and apart."""
    last: Span | None = None
    for from_s, until_s in sorted(spans):
        if last is not None and from_s <= last[1]:
            last = last[0], max(last[1], until_s)
            continue
        if last is not None:
            yield last
        last = from_s, until_s
    if last is not None:
        yield last
