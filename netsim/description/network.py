"""The section `network`: stations, users, the radio channel, faults, mobility and the backhaul."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, Gt, Interval

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
from netsim.units import MAX_DB, Decibels, NonNegativeDecibels, RecurringSeconds, TailShape
from netsim.values import ConstantPerUser, PerUser


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
    """Number of users. More than 10,000 exist only while they take part in a round, if nothing else is needed of them:
    a scheme that knows no others (`fedavg`, `fedprox`, `sfl_v1`, `sfl_v2`), participants and a partition that select
    and supply some users alone (`random` or `round_robin`; `shared`), a policy in rounds, and no requests, mobility,
    interference, faults, recorded rates, batteries, limits of memory or storage, or fixed parts of a band. Then a
    billion take no more memory than those of a round; `users` has a row of each that has taken part, and `energy` one
    for each round in which it has."""
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
    noise_dbm_per_hz: Annotated[float, Interval(ge=-MAX_DB, le=0)] = -174.0
    """Thermal noise power density in dBm/Hz (-174 at 290 K)."""


@dataclass(frozen=True)
class BandDescription:
    """The band of a station in one direction."""

    bandwidth_mhz: Annotated[float, Interval(ge=1e-4, le=100_000)] = 10.0
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
    lifetime_shape: TailShape = 1.0
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
    interval_s: RecurringSeconds = 0.1
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
