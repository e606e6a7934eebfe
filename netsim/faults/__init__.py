"""Devices that go away: by laws of availability, in listed outages, or permanently when they die."""

from netsim.faults.availability import AlwaysAvailable, Availability, DailyAvailability, OnOffAvailability, Span
from netsim.faults.outages import Outage, SiteOutage
from netsim.faults.presence import DevicePresence, Presence, SitePresence
from netsim.faults.recorded import RecordedAvailability

__all__ = [
    "AVAILABILITIES",
    "AlwaysAvailable",
    "Availability",
    "DailyAvailability",
    "DevicePresence",
    "OnOffAvailability",
    "Outage",
    "Presence",
    "RecordedAvailability",
    "SiteOutage",
    "SitePresence",
    "Span",
]

AVAILABILITIES: dict[str, type] = {
    "always": AlwaysAvailable,
    "on_off": OnOffAvailability,
    "daily": DailyAvailability,
    "recorded": RecordedAvailability,
}
