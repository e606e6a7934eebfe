"""Installation of the faults of a scenario: availability, listed outages and deaths become exogenous events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING

from netsim.exogenous import ExogenousEvents
from netsim.faults.availability import Availability, Span, weibull_s
from netsim.faults.outages import SiteOutage, absences, merged
from netsim.faults.presence import DevicePresence, SitePresence
from netsim.streams import Streams

if TYPE_CHECKING:
    from netsim.description import FaultsDescription


def install_site_faults(
    availability: Availability,
    outages: Sequence[SiteOutage],
    presence: SitePresence,
    exogenous: ExogenousEvents,
    streams: Streams,
) -> None:
    """Schedule all absences of a site.

    Args:
        availability: law of availability; its draws are named by the site.
        outages: listed outages.
        presence: the presence of the site.
        exogenous: agenda of the events.
        streams: random numbers of the run.

    Raises:
        ValueError: a recording does not fit; the message is one sentence.
    """
    (away,) = availability.away(1, streams.of(f"site {presence.name}"))
    exogenous.follow(absences(presence, "availability", away))
    exogenous.follow(absences(presence, "outage", merged(outage.span for outage in outages)))
    exogenous.awaited.append(lambda: presence.awaited)


def install_faults(
    faults: FaultsDescription, presences: Sequence[DevicePresence], exogenous: ExogenousEvents, streams: Streams
) -> None:
    """Schedule all absences of devices.

    Args:
        faults: the section `network.faults` of the scenario.
        presences: one for each user, in order.
        exogenous: agenda of the events.
        streams: random numbers of the run.

    Raises:
        ValueError: the faults do not fit the users; the message is one sentence.
    """
    for outage in faults.outages:
        if outage.user >= len(presences):
            raise ValueError(f"an outage is listed for user {outage.user}, but there are {len(presences)} users")
    absent = faults.availability.away(len(presences), streams)
    for presence, away in zip(presences, absent, strict=True):
        listed = [outage.span for outage in faults.outages if outage.user == presence.user]
        causes: dict[str, Iterator[Span]] = {
            "availability": away,
            "outage": merged(span for span in listed if span[1] < inf),
            "death": merged([*(span for span in listed if span[1] == inf), *_death(faults, presence.user, streams)]),
        }
        for cause, spans in causes.items():
            exogenous.follow(absences(presence, cause, spans))
    exogenous.awaited.append(lambda: any(presence.awaited for presence in presences))


def _death(faults: FaultsDescription, user: int, streams: Streams) -> Iterator[Span]:
    if faults.mean_lifetime_s is not None:
        chance = streams.uniform("lifetime", user, index=0)
        yield weibull_s(faults.mean_lifetime_s, faults.lifetime_shape, chance), inf
