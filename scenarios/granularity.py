"""How finely a scenario is simulated: what has an event of its own, and what is computed at once for many users.

All granularities give the same clock, up to the rounding of sums. Which one a run has follows from its scenario.
"""

from __future__ import annotations

from collections.abc import Mapping

from netsim.description import BandDescription
from netsim.radio.fidelity import Flow
from netsim.radio.flow.ongoing import OngoingTransmissions
from scenarios.many_users import lazy_users
from scenarios.schema import Scenario

OPERATIONS = {
    "batched": "like operations of several users at once",
    "eager": "each by itself",
    "dry": "shapes alone, once for like operations",
}
"""How each executor computes the operations of users and servers."""


def granularity(scenario: Scenario) -> Mapping[str, str]:
    """Return in words how finely users, transmissions in either direction, and operations are simulated."""
    sharing, count = scenario.network.sharing, scenario.network.users.count
    existing = "which exist while they take part in a round" if lazy_users(scenario) else "from the beginning"
    words = {"users": f"{count:,}, {existing}; a process for each that takes part"}
    for name, band in (("uplink", sharing.uplink), ("downlink", sharing.downlink)):
        words[name] = _of_band(band, count, coupled=scenario.network.interference is not None)
    if scenario.learning is not None:
        words["operations"] = OPERATIONS[scenario.learning.executor]
    return words


def _of_band(band: BandDescription, users: int, *, coupled: bool) -> str:
    """How the transmissions in the bands of one direction make progress."""
    if not isinstance(band.fidelity, Flow):
        return "all transmissions of a station at once, slot by slot"
    each, many = "each transmission by itself, with an event for its end", OngoingTransmissions.many
    if users <= many or not (coupled or band.scheduler.scheduler().contended):
        return each
    return f"{each}; all at once, with one event for the first end, if more than {many} are on the air in a " + (
        "channel" if coupled else "band"
    )
