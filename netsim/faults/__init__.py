"""Devices that go away: by laws of availability, by outages that a scenario lists, for ever where they die."""

from netsim.faults.availability import AlwaysThere, Availability, Daily, OnOff, Span
from netsim.faults.outages import Outage
from netsim.faults.presence import Presence
from netsim.faults.recorded import RecordedAvailability

__all__ = [
    "AVAILABILITIES",
    "AlwaysThere",
    "Availability",
    "Daily",
    "OnOff",
    "Outage",
    "Presence",
    "RecordedAvailability",
    "Span",
]

AVAILABILITIES: dict[str, type] = {
    "always": AlwaysThere,
    "on_off": OnOff,
    "daily": Daily,
    "recorded": RecordedAvailability,
}
