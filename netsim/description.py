"""What a scenario says about the simulated world: these dataclasses are the sections of a scenario file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Le, MinLen

from netsim.battery import BatteryDescription
from netsim.energy import ComputeEnergy, Cycles, RadioTail
from netsim.faults import AlwaysThere, Availability, Outage
from netsim.geometry import Disc, StationPlacement, Stations, UserPlacement
from netsim.handover import Handover
from netsim.mobility import Mobility, RandomWaypoint
from netsim.queueing import Discipline, Fifo
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
from netsim.traffic import Arrivals, SizeLaw
from netsim.traffic.sizes import ConstantSize
from netsim.units import Decibels, DecibelsUp
from netsim.values import Constant, PerUser

NODES = re.compile(r"core|server\d*|station\d+|user\d+")
"""Names in the tables of nodes that are not named by a scenario."""


@dataclass(frozen=True)
class StationsDescription:
    """Base stations. Each has an uplink and a downlink band."""

    placement: StationPlacement = field(default_factory=Stations)
    """Where they stand."""
    height_m: Annotated[float, Gt(0)] = 10.0
    """Antenna height in metres (TR 38.901 table 7.2-1: 10 for UMi, 25 for UMa)."""
    tx_power_dbm: Decibels = 30.0
    """Transmit power, spread evenly over the downlink band, in dBm (our choice: 1 W, a small cell)."""
    antenna: Antenna = field(default_factory=Omnidirectional)
    """Gain by direction. With three sectors each place bears three stations, numbered in a row."""
    antenna_gain_db: Decibels = 0.0
    """Antenna gain in dB on top of the pattern, sending and receiving."""
    noise_figure_db: DecibelsUp = 5.0
    """Noise figure of the receiver in dB (TR 38.802 table A.2.1-1: 5 below 6 GHz)."""


@dataclass(frozen=True)
class UsersDescription:
    """The users' places and radios. A user is served by the station that it receives best on average."""

    count: Annotated[int, Ge(1)] = 10
    """Number of users."""
    placement: UserPlacement = field(default_factory=Disc)
    """Where they are."""
    height_m: Annotated[float, Gt(0)] = 1.5
    """Antenna height in metres."""
    tx_power_dbm: PerUser = field(default_factory=lambda: Constant(23.0))
    """Transmit power in dBm; all of it sits in the user's share of the band (TR 38.101-1, power class 3: 23)."""
    power_control: PowerControl | None = None
    """Whether users near their station send with less; null lets everybody send with all of `tx_power_dbm`."""
    antenna_gain_db: Decibels = 0.0
    """Antenna gain in dB, sending and receiving."""
    noise_figure_db: DecibelsUp = 9.0
    """Noise figure of the receiver in dB (TR 38.802 table A.2.1-1: 9 below 6 GHz)."""


@dataclass(frozen=True)
class ChannelDescription:
    """What lies between users and stations."""

    carrier_ghz: Annotated[float, Interval(gt=0, le=1000)] = 3.5
    """Carrier frequency in GHz."""
    path_loss: PathLoss = field(default_factory=UrbanMicro)
    """Mean attenuation over distance."""
    buildings: Buildings | None = None
    """Users inside buildings; null leaves everybody outdoors, or under `inh` in the office."""
    shadowing_std_db: Annotated[float, Interval(ge=0, le=50)] | None = None
    """Standard deviation of lognormal shadowing, drawn once per user and station, in dB; null is what the path loss
    law says, 0 is no shadowing."""
    shadowing: Shadowing = field(default_factory=IndependentShadowing)
    """Whether users close together are shadowed alike, and stations with each other."""
    fading: Fading = field(default_factory=Rayleigh)
    """Small-scale fading, drawn for uplink and downlink apart."""
    rate: RateLaw = field(default_factory=Shannon)
    """How many bits a hertz carries at a signal-to-noise ratio."""
    uplink_recording: RateRecording | None = None
    """Recorded rates of the whole uplink band in place of path loss, fading and rate law; null is those laws."""
    downlink_recording: RateRecording | None = None
    """The same of the downlink band."""
    noise_dbm_per_hz: Decibels = -174.0
    """Thermal noise power density in dBm/Hz (-174 at 290 K)."""


@dataclass(frozen=True)
class BandDescription:
    """One direction of a station's band, and how it is shared."""

    bandwidth_mhz: Annotated[float, Gt(0)] = 10.0
    """Bandwidth in MHz."""
    scheduler: SchedulingPolicy = field(default_factory=EqualShares)
    """Scheduling policy: how the band is divided among the transfers under way."""
    fidelity: Fidelity = field(default_factory=Flow)
    """Simulation fidelity: fluid flow, or slot by slot."""

    @property
    def bandwidth_hz(self) -> float:
        """Bandwidth in Hz."""
        return self.bandwidth_mhz * 1e6


@dataclass(frozen=True)
class SharingDescription:
    """The bands: uplink and downlink do not interfere with each other."""

    uplink: BandDescription = field(default_factory=BandDescription)
    """From users to stations."""
    downlink: BandDescription = field(default_factory=BandDescription)
    """From stations to users."""


@dataclass(frozen=True)
class FaultsDescription:
    """Devices that go away.

    What such a device does, and what is done for it, is given up at that instant; what ends at that instant, to within
    rounding, is done.

    A device that is away by `availability`, by an outage that ends, or because a job does not fit into its memory, is
    on: it draws idle power, and its radio the rest of its tail. One that has died, or whose battery is empty, is off
    and draws nothing.
    """

    availability: Availability = field(default_factory=AlwaysThere)
    """When devices are away of themselves."""
    outages: tuple[Outage, ...] = ()
    """Further times that single devices are away, from the list."""
    mean_lifetime_s: Annotated[float, Gt(0)] | None = None
    """Mean time after which a device dies and never returns, in seconds; null lets nobody die by chance."""
    lifetime_shape: Annotated[float, Gt(0)] = 1.0
    """Weibull shape of the lifetimes; 1 is exponential, more is wear, less is infant mortality."""


@dataclass(frozen=True)
class BackhaulDescription:
    """The lines between stations and the core: each station has one in either direction."""

    rate_bps: Annotated[float, Gt(0)] = 1e9
    """Rate of each direction of a line in bit/s (our choice: Gigabit Ethernet)."""
    delay_s: Annotated[float, Ge(0)] = 0.0
    """Time from the last bit sent to its arrival in seconds; it keeps nobody waiting."""
    discipline: Discipline = field(default_factory=Fifo)
    """Which message is sent when."""


@dataclass(frozen=True)
class MobilityDescription:
    """Users that move. Mean gains change at every look: path loss by the distance, antenna gain by the direction, and
    shadowing by the place if it is correlated; independent shadowing stays with a user.

    There is a line of sight as long as its probability at the present place exceeds a number drawn once for each user
    and site, so it is lost and found at places, and not at every look.
    """

    model: Mobility = field(default_factory=RandomWaypoint)
    """How they move."""
    interval_s: Annotated[float, Gt(0)] = 0.1
    """Simulated seconds between two looks at where users are; in between gains do not change."""
    min_distance_m: Annotated[float, Ge(0)] = 10.0
    """Horizontal distance to a station in metres below which a user counts as that far (TR 38.901 holds from 10)."""


@dataclass(frozen=True)
class NetworkDescription:
    """The wireless network."""

    stations: StationsDescription = field(default_factory=StationsDescription)
    """Base stations."""
    users: UsersDescription = field(default_factory=UsersDescription)
    """Users."""
    channel: ChannelDescription = field(default_factory=ChannelDescription)
    """What lies between them."""
    sharing: SharingDescription = field(default_factory=SharingDescription)
    """Their bands."""
    interference: Interference | None = None
    """Interference between stations; null gives each a band of its own."""
    mobility: MobilityDescription | None = None
    """How users move; null leaves them where they are."""
    handover: Handover | None = None
    """When moving users change stations; null keeps everybody with the first."""
    faults: FaultsDescription = field(default_factory=FaultsDescription)
    """Devices that go away, return, and die."""
    backhaul: BackhaulDescription | None = None
    """What lies between stations and servers; null takes no time. A server at a station is reached over the station's
    lines and that of the other station, a server in the core over one line, and the own station's server over none."""


@dataclass(frozen=True)
class DevicesDescription:
    """The users' processors: one job at a time, first come first served."""

    flops_per_s: PerUser = field(default_factory=lambda: Constant(8e9))
    """Nominal speed in FLOP/s (our choice: a mobile CPU core at 2 GHz and 4 FLOPs a cycle)."""
    memory_bytes: PerUser | None = None
    """Memory for a job: operands, results (weights and optimiser state among them) and activations; null is enough."""
    on_out_of_memory: Literal["reject", "exclude"] = "reject"
    """Where the largest job of the first round does not fit into a device: reject the scenario, or exclude the user."""
    storage_bytes: PerUser | None = None
    """Space for what learning stores on a device, such as the weights of experts, in bytes; null is no limit."""


@dataclass(frozen=True)
class ServerDescription:
    """A server: a queue before equal slots."""

    flops_per_s: Annotated[float, Gt(0)] = 1e12
    """Speed of each slot in FLOP/s (our choice: a slice of a GPU)."""
    slots: Annotated[int, Ge(1)] = 1
    """Jobs served at a time."""
    discipline: Discipline = field(default_factory=Fifo)
    """Whom it serves when."""
    capacity: Annotated[int, Ge(1)] | None = None
    """Jobs for which it has room, waiting and served; null is no limit. A request that finds no room is refused; what
    leaves at the instant at which it comes, to within rounding, makes room for it. What learning asks for takes room,
    but is never refused: it waits."""
    storage_bytes: Annotated[float, Ge(0)] | None = None
    """Space for what learning stores here, such as the weights of experts, in bytes; null is no limit."""


@dataclass(frozen=True)
class ServersDescription(ServerDescription):
    """The server of learning, which aggregates, wherever users work, and of requests at stations without a server."""

    station: Annotated[int, Ge(0)] | None = None
    """Number of the station at which it stands; null is in the core, behind all stations."""


@dataclass(frozen=True)
class EdgeServersDescription(ServerDescription):
    """Further servers at stations, all alike. They answer requests, and users of learning may work with theirs."""

    stations: tuple[Annotated[int, Ge(0)], ...] | None = None
    """Numbers of the stations that have one; null is all."""


@dataclass(frozen=True)
class SiteDescription(ServerDescription):
    """One more server, with a name, at which learning can have work done, such as the calls of experts."""

    station: Annotated[int, Ge(0)] | None = None
    """Number of the station at which it stands; null is in the core, behind all stations."""
    delay_s: Annotated[float, Ge(0)] = 0.0
    """One-way delay between the core and this site in seconds, as of a distant cloud; a site at a station has none."""

    def __post_init__(self) -> None:
        if self.station is not None and self.delay_s > 0:
            raise ValueError(f"delay_s = {self.delay_s:g} is that of a site in the core, and this is at a station")


@dataclass(frozen=True)
class StragglersDescription:
    """Devices that are slower than they should be."""

    slowdown: SlowdownLaw = field(default_factory=NoSlowdown)
    """Factor by which a job takes longer than at nominal speed: its distribution, or a recording."""
    redraw: Literal["round", "job"] = "round"
    """Whether a device draws its slowdown once a round, or for each job."""


@dataclass(frozen=True)
class ComputeDescription:
    """Processors."""

    devices: DevicesDescription = field(default_factory=DevicesDescription)
    """Those of the users."""
    servers: ServersDescription = field(default_factory=ServersDescription)
    """That of the edge server."""
    edge_servers: EdgeServersDescription | None = None
    """Those of further servers at the stations; null is none."""
    sites: dict[str, SiteDescription] = field(default_factory=dict)
    """Those of further servers by name, letters, digits and _, such as `edge0` or `cloud`."""
    stragglers: StragglersDescription = field(default_factory=StragglersDescription)
    """How much slower than nominal the users' devices are."""

    def __post_init__(self) -> None:
        for name in self.sites:
            if not name.isidentifier() or NODES.fullmatch(name):
                raise ValueError(
                    f'"{name}" cannot name a site; use letters, digits and _, and none of the names that other nodes '
                    "have in the tables: core, server, server0, station0, user0, ..."
                )


@dataclass(frozen=True)
class EnergyDescription:
    """What the users' devices, and if wanted the server, spend.

    Radio defaults: Cui, Goldsmith, Bahai, Energy-constrained modulation optimization, IEEE Transactions on Wireless
    Communications 4(5), 2005.
    """

    amplifier_efficiency: Annotated[float, Gt(0), Le(1)] = 0.35
    """Radiated power over the power that the amplifier draws (Cui et al.: drain efficiency 0.35)."""
    circuit_power_w: Annotated[float, Ge(0)] = 0.0982
    """Power of the other transmit circuits in W while sending (Cui et al.: 98.2 mW)."""
    receive_power_w: Annotated[float, Ge(0)] = 0.1125
    """Power of the receive circuits in W while receiving (Cui et al.: about 112.5 mW)."""
    idle_power_w: PerUser = field(default_factory=lambda: Constant(0.01))
    """Power in W while a device neither sends, receives nor computes (our choice: light sleep)."""
    tail: RadioTail | None = None
    """What radios draw after transfers before they go to sleep; null is sleep at once."""
    compute: ComputeEnergy = field(default_factory=Cycles)
    """Energy of computing on a user's device. The default is a phone's; others have profiles."""
    battery: BatteryDescription | None = None
    """What the users' devices have in store; null is a socket in the wall."""
    server_compute: ComputeEnergy | None = None
    """Energy of computing on the server; null leaves it unknown, not zero."""


@dataclass(frozen=True)
class RequestStream:
    """Requests of one sort: bits on the uplink, work at the server, bits on the downlink."""

    arrivals: Arrivals
    """When a user asks."""
    uplink_bits: SizeLaw = field(default_factory=lambda: ConstantSize(0.0))
    """Bits that a request sends to the server; 0 takes no time."""
    flops: SizeLaw = field(default_factory=lambda: ConstantSize(0.0))
    """Floating-point operations that the server does for a request; 0 takes no time."""
    downlink_bits: SizeLaw = field(default_factory=lambda: ConstantSize(0.0))
    """Bits of the answer; 0 takes no time."""
    timeout_s: Annotated[float, Gt(0)] | None = None
    """Time after which a request is given up, wherever it is, in seconds; null is never. What ends then is in time."""
    users: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)] | None = None
    """Numbers of the users that ask; null is all. What is dealt out, such as recorded requests, goes to these alone."""
    at: Literal["nearest", "central"] = "nearest"
    """Which server is asked: the edge server at the user's station, if there is one, or always that of learning."""

    def __post_init__(self) -> None:
        if self.users is not None and len(set(self.users)) < len(self.users):
            raise ValueError("users names a user twice")


@dataclass(frozen=True)
class TrafficDescription:
    """Requests that users make of the server, beside learning or without it."""

    streams: dict[str, RequestStream]
    """Streams by name, letters, digits and _; what a request of stream x sends and computes is of kind request_x."""
    duration_s: Annotated[float, Gt(0)] | None = None
    """Until when requests arrive, in seconds of simulated time; null is as long as learning goes on. The run ends when
    learning is over, the time has come, and every request has been served or given up."""

    def __post_init__(self) -> None:
        for name in self.streams:
            if not name.isidentifier():
                raise ValueError(f'the name "{name}" cannot name a stream; use letters, digits and _')
