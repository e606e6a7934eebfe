"""The sections of a scenario file that describe the simulated world, one dataclass each; fields are the YAML's keys."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Le, MinLen

from netsim.battery import BatteryDescription
from netsim.energy import ComputeEnergy, Cycles, RadioTail
from netsim.faults import AlwaysAvailable, Availability, Outage
from netsim.geometry import Disc, StationPlacement, Stations, UserPlacement
from netsim.handover import Handover
from netsim.mobility import Mobility, RandomWaypoint
from netsim.queueing import Batching, Discipline, Fifo
from netsim.radio.antenna import Antenna, Omnidirectional
from netsim.radio.fading import Fading, Rayleigh
from netsim.radio.fidelity import Fidelity, Flow
from netsim.radio.interference import Interference
from netsim.radio.pathloss import PathLoss, UrbanMicro
from netsim.radio.pathloss.buildings import Buildings
from netsim.radio.power_control import PowerControl
from netsim.radio.rate import RateLaw, Shannon
from netsim.radio.rate_recordings import RateRecording
from netsim.radio.scheduling import EqualShares, SchedulingPolicy
from netsim.radio.shadowing import IndependentShadowing, Shadowing
from netsim.slowdown import NoSlowdown, SlowdownLaw
from netsim.storage import Eviction, NoEviction
from netsim.traffic import Arrivals, RecordedArrivals, SizeLaw
from netsim.traffic.sizes import ConstantSize
from netsim.units import Decibels, NonNegativeDecibels
from netsim.values import ConstantPerUser, PerUser

NODES = re.compile(r"core|server\d*|station\d+|user\d*")
"""Names that belong to other nodes in the tables or, as `user`, in a placement; a site cannot have one of them."""


@dataclass(frozen=True)
class StationsDescription:
    """Base stations. Each has one band for the uplink and one for the downlink."""

    placement: StationPlacement = field(default_factory=Stations)
    """Positions of the stations."""
    height_m: Annotated[float, Gt(0)] = 10.0
    """Antenna height in metres (TR 38.901 table 7.2-1: 10 for UMi, 25 for UMa)."""
    tx_power_dbm: Decibels = 30.0
    """Transmit power in dBm, spread evenly over the downlink band (our choice: 1 W, a small cell)."""
    antenna: Antenna = field(default_factory=Omnidirectional)
    """Antenna pattern: gain by direction. With three sectors a position has three stations, numbered consecutively."""
    antenna_gain_db: Decibels = 0.0
    """Antenna gain in dB, added to the pattern for transmission and reception."""
    noise_figure_db: NonNegativeDecibels = 5.0
    """Noise figure of the receiver in dB (TR 38.802 table A.2.1-1: 5 below 6 GHz)."""


@dataclass(frozen=True)
class UsersDescription:
    """Positions and radios of the users. A user is served by the station with the smallest coupling loss."""

    count: Annotated[int, Ge(1)] = 10
    """Number of users."""
    placement: UserPlacement = field(default_factory=Disc)
    """Positions of the users; their first positions if they move."""
    height_m: Annotated[float, Gt(0)] = 1.5
    """Antenna height in metres."""
    tx_power_dbm: PerUser = field(default_factory=lambda: ConstantPerUser(23.0))
    """Transmit power in dBm, all of it within the user's share of the band (TR 38.101-1, power class 3: 23)."""
    power_control: PowerControl | None = None
    """Uplink power control, by which users near their station transmit with less; null is `tx_power_dbm` for all."""
    antenna_gain_db: Decibels = 0.0
    """Antenna gain in dB, for transmission and reception."""
    noise_figure_db: NonNegativeDecibels = 9.0
    """Noise figure of the receiver in dB (TR 38.802 table A.2.1-1: 9 below 6 GHz)."""


@dataclass(frozen=True)
class ChannelDescription:
    """The radio channel between users and stations."""

    carrier_ghz: Annotated[float, Interval(gt=0, le=1000)] = 3.5
    """Carrier frequency in GHz."""
    path_loss: PathLoss = field(default_factory=UrbanMicro)
    """Mean attenuation over distance."""
    buildings: Buildings | None = None
    """Users inside buildings; null is all users outdoors, or in the office with path loss `inh`."""
    shadowing_std_db: Annotated[float, Interval(ge=0, le=50)] | None = None
    """Standard deviation of lognormal shadowing in dB, drawn once for each user and station; null is the value of the
    path loss law, 0 is no shadowing."""
    shadowing: Shadowing = field(default_factory=IndependentShadowing)
    """Correlation of shadowing between positions close together, and between stations."""
    fading: Fading = field(default_factory=Rayleigh)
    """Small-scale fading, drawn independently for uplink and downlink."""
    rate: RateLaw = field(default_factory=Shannon)
    """Rate law: spectral efficiency in bit/s/Hz as a function of the signal-to-noise ratio."""
    uplink_recording: RateRecording | None = None
    """Recorded rates of the whole uplink band, which replace path loss, fading and rate law; null is no recording."""
    downlink_recording: RateRecording | None = None
    """Recorded rates of the whole downlink band, which replace path loss, fading and rate law; null is no recording."""
    noise_dbm_per_hz: Decibels = -174.0
    """Thermal noise power density in dBm/Hz (-174 at 290 K)."""


@dataclass(frozen=True)
class BandDescription:
    """The band of a station in one direction."""

    bandwidth_mhz: Annotated[float, Gt(0)] = 10.0
    """Bandwidth in MHz."""
    scheduler: SchedulingPolicy = field(default_factory=EqualShares)
    """Scheduling policy: how the band is divided among ongoing transfers."""
    fidelity: Fidelity = field(default_factory=Flow)
    """Simulation fidelity: fluid flow or slot level."""

    @property
    def bandwidth_hz(self) -> float:
        """Bandwidth in Hz."""
        return self.bandwidth_mhz * 1e6


@dataclass(frozen=True)
class SharingDescription:
    """The bands of every station. Uplink and downlink do not interfere with each other."""

    uplink: BandDescription = field(default_factory=BandDescription)
    """Band from users to stations."""
    downlink: BandDescription = field(default_factory=BandDescription)
    """Band from stations to users."""


@dataclass(frozen=True)
class FaultsDescription:
    """Devices that become unavailable.

    The work of such a device, and all work done for it elsewhere, is abandoned at that instant; work that ends at that
    instant, to within rounding, is complete.

    A device that is away by `availability`, by an outage that ends, or because a job does not fit into its memory,
    stays switched on: it draws idle power, and its radio the rest of its tail. A device that has died, or whose battery
    is empty, is off and draws no power.
    """

    availability: Availability = field(default_factory=AlwaysAvailable)
    """Law of availability: the times at which devices leave and return."""
    outages: tuple[Outage, ...] = ()
    """Further outages of single devices, as a list."""
    mean_lifetime_s: Annotated[float, Gt(0)] | None = None
    """Mean lifetime in seconds, after which a device dies and never returns; null disables random failures."""
    lifetime_shape: Annotated[float, Gt(0)] = 1.0
    """Weibull shape of the lifetimes; 1 is exponential, above 1 is wear, below 1 is infant mortality."""


@dataclass(frozen=True)
class BackhaulDescription:
    """The lines between stations and the core. Each station has one line in either direction."""

    rate_bps: Annotated[float, Gt(0)] = 1e9
    """Rate of each direction of a line in bit/s (our choice: Gigabit Ethernet)."""
    delay_s: Annotated[float, Ge(0)] = 0.0
    """Propagation delay in seconds, from the last bit sent to its arrival; it does not occupy the line."""
    discipline: Discipline = field(default_factory=Fifo)
    """Queueing discipline: the order in which messages are sent; not `batching`."""

    def __post_init__(self) -> None:
        if isinstance(self.discipline, Batching):
            raise ValueError("messages are not sent in batches; choose another discipline than batching")


@dataclass(frozen=True)
class MobilityDescription:
    """Users that move. Mean gains are updated at regular intervals: path loss follows the distance, antenna gain the
    direction, and shadowing the position if it is correlated; independent shadowing stays with a user.

    A user has a line of sight wherever the probability of one exceeds a number that is drawn once for each user and
    site, so the state changes with the position, not at random at every update.
    """

    model: Mobility = field(default_factory=RandomWaypoint)
    """Mobility model: the users' paths and speeds."""
    interval_s: Annotated[float, Gt(0)] = 0.1
    """Simulated seconds between updates of positions and mean gains, which are constant in between."""
    min_distance_m: Annotated[float, Ge(0)] = 10.0
    """Minimum horizontal distance to a station in metres: closer users have the path loss of this distance (TR 38.901
    holds from 10)."""


@dataclass(frozen=True)
class NetworkDescription:
    """The wireless network."""

    stations: StationsDescription = field(default_factory=StationsDescription)
    """Base stations."""
    users: UsersDescription = field(default_factory=UsersDescription)
    """Users."""
    channel: ChannelDescription = field(default_factory=ChannelDescription)
    """The radio channel between users and stations."""
    sharing: SharingDescription = field(default_factory=SharingDescription)
    """Bands of the stations, and how they are shared."""
    interference: Interference | None = None
    """Interference between stations that use the same band; null gives each station a band of its own."""
    mobility: MobilityDescription | None = None
    """Movement of the users; null is users that stand still."""
    handover: Handover | None = None
    """Handover rule of users that move; null keeps every user at its first station."""
    faults: FaultsDescription = field(default_factory=FaultsDescription)
    """Devices that leave, return and die."""
    backhaul: BackhaulDescription | None = None
    """Lines between stations and servers; null is a backhaul that takes no time. A message to a server in the core
    crosses one line, to a server at another station two, to the server at the user's own station none."""


@dataclass(frozen=True)
class DevicesDescription:
    """Processors and memory of the users' devices. A processor does one job at a time, first come, first served."""

    flops_per_s: PerUser = field(default_factory=lambda: ConstantPerUser(8e9))
    """Nominal speed in FLOP/s (our choice: a mobile CPU core at 2 GHz and 4 FLOPs a cycle)."""
    memory_bytes: PerUser | None = None
    """Memory for one job in bytes: operands, results (with weights and optimiser state) and activations; null is no
    limit."""
    on_out_of_memory: Literal["reject", "exclude"] = "reject"
    """If the largest job of the first round does not fit into a device: reject the scenario, or exclude the user."""
    storage_bytes: PerUser | None = None
    """Storage for what learning keeps on a device, such as the weights of experts, in bytes; null is no limit."""
    eviction: Eviction = field(default_factory=NoEviction)
    """Which cached items are evicted when storage is full. What learning places on the device is never evicted."""
    memory_bandwidth_bytes_per_s: PerUser | None = None
    """Rate in byte/s at which weights are read from memory; null takes no time. The service time of a job is that of
    its FLOPs or that of reading once each weight that it works with, whichever is longer (roofline model: Williams,
    Waterman and Patterson, Communications of the ACM 52(4), 2009). Controllers that predict times leave this out."""


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
    model, as for devices). A job with few tokens is bound by memory: it takes the time of reading the weights. Requests with `flops` read no weights."""


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

    def __post_init__(self) -> None:
        if self.station is not None and self.delay_s > 0:
            raise ValueError(f"delay_s must be 0 for a site at a station, but is {self.delay_s:g}")


@dataclass(frozen=True)
class StragglersDescription:
    """Stragglers: devices that work more slowly than at their nominal speed."""

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


@dataclass(frozen=True)
class EnergyDescription:
    """Power and energy of the users' devices and, optionally, of the servers.

    Radio defaults: Cui, Goldsmith, Bahai, Energy-constrained modulation optimization, IEEE Transactions on Wireless
    Communications 4(5), 2005.
    """

    amplifier_efficiency: Annotated[float, Gt(0), Le(1)] = 0.35
    """Radiated power over the power that the amplifier draws (Cui et al.: drain efficiency 0.35)."""
    circuit_power_w: Annotated[float, Ge(0)] = 0.0982
    """Power of the other transmit circuits in W while transmitting (Cui et al.: 98.2 mW)."""
    receive_power_w: Annotated[float, Ge(0)] = 0.1125
    """Power of the receive circuits in W while receiving (Cui et al.: about 112.5 mW)."""
    idle_power_w: PerUser = field(default_factory=lambda: ConstantPerUser(0.01))
    """Power in W while a device neither transmits, receives nor computes (our choice: light sleep)."""
    tail: RadioTail | None = None
    """Tail energy: power of radios after a transfer, before they sleep; null is sleep at once."""
    compute: ComputeEnergy = field(default_factory=Cycles)
    """Energy of computing on a user's device. The default is a phone's; for other devices use `profile`."""
    battery: BatteryDescription | None = None
    """Batteries of the users' devices; null is mains power."""
    server_compute: ComputeEnergy | None = None
    """Energy of computing on the servers; null leaves it unknown (empty cells), not zero."""


@dataclass(frozen=True)
class RequestStream:
    """A stream of requests. Each sends bits on the uplink, is computed at a server and is answered on the downlink; or
    the model that a scheme has distributed over the network answers it."""

    arrivals: Arrivals
    """Arrival process: the times at which a user makes requests."""
    uplink_bits: SizeLaw = field(default_factory=lambda: ConstantSize(0.0))
    """Size of a request in bits; 0 takes no time."""
    flops: SizeLaw = field(default_factory=lambda: ConstantSize(0.0))
    """Floating-point operations of the server for a request; 0 takes no time."""
    downlink_bits: SizeLaw = field(default_factory=lambda: ConstantSize(0.0))
    """Size of the answer in bits; 0 takes no time."""
    timeout_s: Annotated[float, Gt(0)] | None = None
    """Seconds from the arrival after which a request is abandoned, wherever it is; null is never. A request that is
    answered exactly then is served."""
    users: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)] | None = None
    """Numbers of the users that make requests; null is all. Recorded requests are divided among these users only."""
    at: Literal["nearest", "central"] = "nearest"
    """Server of the requests: `nearest` is the edge server at the user's station, if it has one, or else the central
    server; `central` is always the central server."""
    answered_by: Literal["server", "model"] = "server"
    """What answers the requests: `server` is one job of `flops` at a server, between messages of `uplink_bits` and
    `downlink_bits`; `model` is the model of `learning`, whose scheme decides what is computed and sent where, so that
    these three fields and `at` must be left out. The scheme must be one that answers requests."""

    def __post_init__(self) -> None:
        if self.users is not None and len(set(self.users)) < len(self.users):
            raise ValueError("users names a user twice")
        if self.answered_by == "model":
            sizes = ("uplink_bits", "flops", "downlink_bits")
            given = [name for name in sizes if getattr(self, name) != ConstantSize(0.0)]
            given += ["at"] if self.at != "nearest" else []
            if isinstance(self.arrivals, RecordedArrivals):
                columns = [f"{name}_column" for name in sizes]
                given += [f"arrivals.{name}" for name in columns if getattr(self.arrivals, name) is not None]
            if given:
                raise ValueError(
                    f"found {' and '.join(given)} where answered_by is model; leave out uplink_bits, flops, "
                    "downlink_bits and at, because the model determines what is computed and sent, and where"
                )


@dataclass(frozen=True)
class TrafficDescription:
    """Requests of users to the servers, with or without learning."""

    streams: dict[str, RequestStream]
    """Streams by name (letters, digits and _). Transfers and computations of stream x have the kind request_x if a
    server answers it, and the kinds of the scheme if the model does."""
    duration_s: Annotated[float, Gt(0)] | None = None
    """Simulated seconds during which requests arrive; null is as long as learning lasts. The run ends when learning and
    this time are over and every request is served, refused or abandoned."""

    def __post_init__(self) -> None:
        for name in self.streams:
            if not name.isidentifier():
                raise ValueError(f'"{name}" cannot name a stream; use letters, digits and _')
