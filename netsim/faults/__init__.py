"""Devices that go away: by laws of availability, in listed outages, or permanently when they die."""

from netsim.faults.availability import AlwaysAvailable, Availability, DailyAvailability, OnOffAvailability, Span
from netsim.faults.outages import Outage
from netsim.faults.presence import Presence
from netsim.faults.recorded import RecordedAvailability

__all__ = [
    "AVAILABILITIES",
    "AlwaysAvailable",
    "Availability",
    "DailyAvailability",
    "OnOffAvailability",
    "Outage",
    "Presence",
    "RecordedAvailability",
    "Span",
]

AVAILABILITIES: dict[str, type] = {
    "always": AlwaysAvailable,
    "on_off": OnOffAvailability,
    "daily": DailyAvailability,
    "recorded": RecordedAvailability,
}
