"""Whether the users of a scenario must all exist, or only those that take part in a round."""

from __future__ import annotations

from learning.data.partition import Shared
from learning.participation import Sampling
from netsim.description import FaultsDescription
from netsim.lazy import AT_ONCE
from scenarios.schema import Scenario


def lazy_users(scenario: Scenario) -> bool:
    """Return True if users exist only while they take part in a round: they are many, and nothing needs them all."""
    return scenario.network.users.count > AT_ONCE and needs_all(scenario) is None


def needs_all(scenario: Scenario) -> str | None:
    """Return the first field that needs all users to exist from the beginning; None if there is none."""
    network, learning, devices = scenario.network, scenario.learning, scenario.compute.devices
    if learning is None:
        return "learning: null"
    contended = all(band.scheduler.scheduler().contended for band in (network.sharing.uplink, network.sharing.downlink))
    needs = {
        "traffic": scenario.traffic is not None,
        "learning.scheme": not learning.scheme.lazy_users,
        "learning.participants": not isinstance(learning.participants, Sampling),
        "learning.partition": not isinstance(learning.partition, Shared),
        "learning.policy": learning.policy.asynchronous,
        "learning.evaluate_users": learning.evaluate_users,
        "learning.batch_norm": learning.batch_norm != "averaged",
        "network.sharing": not contended,
        "network.mobility": network.mobility is not None,
        "network.interference": network.interference is not None,
        "network.faults": network.faults != FaultsDescription(),
        "network.channel": bool(network.channel.uplink_recording or network.channel.downlink_recording),
        "energy.battery": scenario.energy.battery is not None,
        "compute.devices.memory_bytes": devices.memory_bytes is not None,
        "compute.devices.storage_bytes": devices.storage_bytes is not None,
    }
    return next((field for field, needed in needs.items() if needed), None)
