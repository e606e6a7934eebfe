"""The section `compute`: devices, servers, sites and stragglers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from netsim.faults import AlwaysAvailable, Availability, SiteOutage
from netsim.queueing import Discipline, Fifo
from netsim.slowdown import NoSlowdown, SlowdownLaw
from netsim.storage import Eviction, NoEviction
from netsim.values import ConstantPerUser, PerUser

NODES = re.compile(r"core|server\d*|station\d+|user\d*")
"""Names that belong to other nodes in the tables or, as `user`, in a placement; a site cannot have one of them."""


@dataclass(frozen=True)
class DevicesDescription:
    """Processors and memory of the users' devices. A processor does one job at a time, first come, first served."""

    flops_per_s: PerUser = field(default_factory=lambda: ConstantPerUser(8e9))
    """Nominal speed in FLOP/s (our choice: a mobile CPU core at 2 GHz and 4 FLOPs a cycle)."""
    memory_bytes: PerUser | None = None
    """Memory for one job in bytes: operands, results (with weights and optimiser state) and activations; null is no
    limit."""
    on_out_of_memory: Literal["reject", "exclude", "drop"] = "reject"
    """If a job does not fit into the memory of a device: reject the scenario, or exclude the user from the run, both by
    the largest job of a first round without values; or drop the user from each round in which a job of it does not
    fit, at the instant at which that job would begin. The latter needs a policy in rounds."""
    storage_bytes: PerUser | None = None
    """Storage for what learning keeps on a device, such as the weights of experts, in bytes; null is no limit."""
    eviction: Eviction = field(default_factory=NoEviction)
    """Which cached items are evicted when storage is full. What learning places on the device is never evicted."""
    memory_bandwidth_bytes_per_s: PerUser | None = None
    """Rate in byte/s at which weights are read from memory; null takes no time. The service time of a job is that of
    its FLOPs or that of reading once each weight that it works with, whichever is longer (roofline model: Williams,
    Waterman and Patterson, Communications of the ACM 52(4), 2009). Controllers of training leave this out
    of the times that they predict."""


@dataclass(frozen=True)
class ServerDescription:
    """A server: one queue for one or several slots of equal speed."""

    flops_per_s: Annotated[float, Gt(0)] = 1e12
    """Speed of each slot in FLOP/s (our choice: a slice of a GPU)."""
    slots: Annotated[int, Ge(1)] = 1
    """Number of jobs served at a time."""
    discipline: Discipline = field(default_factory=Fifo)
    """Queueing discipline: the order in which jobs are served."""
    capacity: Annotated[int, Ge(1)] | None = None
    """Maximum number of jobs, waiting or in service; null is no limit. A request that arrives at a full server is
    refused; a job that leaves at the same instant, to within rounding, makes room first. Jobs of learning count, but
    are never refused: they wait."""
    storage_bytes: Annotated[float, Ge(0)] | None = None
    """Storage for what learning keeps on the server, such as the weights of experts, in bytes; null is no limit."""
    eviction: Eviction = field(default_factory=NoEviction)
    """Which cached items are evicted when storage is full. What learning places on the server is never evicted."""
    memory_bandwidth_bytes_per_s: Annotated[float, Gt(0)] | None = None
    """Rate in byte/s at which a slot reads weights from memory; null takes no time. The service time of a job of
    learning is that of its FLOPs or that of reading once each weight that it works with, whichever is longer (roofline
    model, as for devices). A job with few tokens is bound by memory: it takes the time of reading the weights.
    Requests with `flops` read no weights."""
    slowdown: SlowdownLaw = field(default_factory=NoSlowdown)
    """Distribution or recording of the slowdown of the server, the factor by which a job takes longer than at nominal
    speed, drawn for each job. Rules that select servers or predict times do not know it. `list` is for users' devices;
    `throttling` needs a server with one slot."""


@dataclass(frozen=True)
class ServersDescription(ServerDescription):
    """The central server. It aggregates in learning, and serves the requests of stations without an edge server."""

    station: Annotated[int, Ge(0)] | None = None
    """Number of the station at which the server is; null is in the core, which all stations reach over the backhaul."""


@dataclass(frozen=True)
class EdgeServersDescription(ServerDescription):
    """Edge servers at stations, all alike. They serve requests, and in learning the users of their station
    (`learning.servers: nearest`)."""

    stations: tuple[Annotated[int, Ge(0)], ...] | None = None
    """Numbers of the stations that have an edge server; null is all stations."""


@dataclass(frozen=True)
class SiteDescription(ServerDescription):
    """A named server that learning can use, for example for the calls of experts."""

    station: Annotated[int, Ge(0)] | None = None
    """Number of the station at which the site is; null is in the core, which all stations reach over the backhaul."""
    delay_s: Annotated[float, Ge(0)] = 0.0
    """One-way delay in seconds between the core and the site, such as a distant cloud; must be 0 at a station."""
    availability: Availability = field(default_factory=AlwaysAvailable)
    """Law of availability: the times at which the site goes away and returns. Its work and all messages to and from it
    are abandoned when it goes away; what it stores stays there. Laws with a value for each user take the first."""
    outages: tuple[SiteOutage, ...] = ()
    """Further outages of the site, as a list."""

    def __post_init__(self) -> None:
        if self.station is not None and self.delay_s > 0:
            raise ValueError(f"delay_s must be 0 for a site at a station, but is {self.delay_s:g}")


@dataclass(frozen=True)
class StragglersDescription:
    """Stragglers: users' devices that work more slowly than at their nominal speed; for those of servers, see their
    `slowdown`."""

    slowdown: SlowdownLaw = field(default_factory=NoSlowdown)
    """Distribution or recording of the slowdown, the factor by which a job takes longer than at nominal speed."""
    redraw: Literal["round", "job"] = "round"
    """Draw the slowdown of a device once a round, or for each job."""


@dataclass(frozen=True)
class ComputeDescription:
    """Processors, memory and storage of all nodes."""

    devices: DevicesDescription = field(default_factory=DevicesDescription)
    """Users' devices."""
    servers: ServersDescription = field(default_factory=ServersDescription)
    """The central server."""
    edge_servers: EdgeServersDescription | None = None
    """Edge servers at the stations; null is none."""
    sites: dict[str, SiteDescription] = field(default_factory=dict)
    """Further servers by name (letters, digits and _), such as `edge0` or `cloud`."""
    stragglers: StragglersDescription = field(default_factory=StragglersDescription)
    """Slowdown of the users' devices."""

    def __post_init__(self) -> None:
        for name in self.sites:
            if not name.isidentifier() or NODES.fullmatch(name):
                raise ValueError(
                    f'"{name}" cannot name a site; use letters, digits and _, and none of the names that other nodes '
                    "have: core, server, server0, station0, user, user0, ..."
                )
