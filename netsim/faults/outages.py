"""Outages listed one by one in a scenario, and the events of all absences."""

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
    """An outage of one device."""

    user: Annotated[int, Ge(0)]
    """Number of the user."""
    from_s: Annotated[float, Ge(0)]
    """Simulated time at which the device goes away, in seconds."""
    until_s: float | None = None
    """Simulated time at which the device returns, in seconds; null is never: it dies."""

    def __post_init__(self) -> None:
        _check(self.from_s, self.until_s)

    @property
    def span(self) -> Span:
        """Start and end in seconds; the end is inf if the device dies."""
        return self.from_s, inf if self.until_s is None else self.until_s


@dataclass(frozen=True)
class SiteOutage:
    """An outage of one site."""

    from_s: Annotated[float, Ge(0)]
    """Simulated time at which the site goes away, in seconds."""
    until_s: float | None = None
    """Simulated time at which the site returns, in seconds; null is never."""

    def __post_init__(self) -> None:
        _check(self.from_s, self.until_s)

    @property
    def span(self) -> Span:
        """Start and end in seconds; the end is inf if the site never returns."""
        return self.from_s, inf if self.until_s is None else self.until_s


def _check(from_s: float, until_s: float | None) -> None:
    if until_s is not None and until_s <= from_s:
        raise ValueError(f"until_s ({until_s:g}) must come after from_s ({from_s:g})")


def absences(presence: Presence, cause: str, spans: Iterator[Span]) -> Steps:
    """Make a device or site absent in given spans; a coroutine for `ExogenousEvents.follow`.

    Args:
        presence: the presence of the device or site.
        cause: cause of the absences, for the table `outages`.
        spans: starts and ends in seconds, in order and without overlap.
    """
    for from_s, until_s in spans:
        if until_s > presence.env.now:
            presence.steady = False
            yield from_s
            presence.leave(cause, permanently=until_s == inf)
            yield until_s
            presence.come_back(cause)


def merged(spans: Iterable[Span]) -> Iterator[Span]:
    """Return the union of spans, in order and without overlap."""
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
