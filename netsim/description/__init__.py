"""The sections of a scenario file that describe the simulated world, one dataclass each; fields are the YAML's keys."""

from netsim.description.compute import (
    ComputeDescription,
    DevicesDescription,
    EdgeServersDescription,
    ServerDescription,
    ServersDescription,
    SiteDescription,
    StragglersDescription,
)
from netsim.description.energy import EnergyDescription
from netsim.description.network import (
    BackhaulDescription,
    BandDescription,
    ChannelDescription,
    FaultsDescription,
    MobilityDescription,
    NetworkDescription,
    SharingDescription,
    StationsDescription,
    UsersDescription,
)
from netsim.description.traffic import RequestStream, TrafficDescription

__all__ = [
    "BackhaulDescription",
    "BandDescription",
    "ChannelDescription",
    "ComputeDescription",
    "DevicesDescription",
    "EdgeServersDescription",
    "EnergyDescription",
    "FaultsDescription",
    "MobilityDescription",
    "NetworkDescription",
    "RequestStream",
    "ServerDescription",
    "ServersDescription",
    "SharingDescription",
    "SiteDescription",
    "StationsDescription",
    "StragglersDescription",
    "TrafficDescription",
    "UsersDescription",
]
