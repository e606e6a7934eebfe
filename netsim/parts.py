"""The parts of the simulated world that a scenario can name, by family."""

from netsim.energy import ComputeEnergy, Cycles, JoulesPerFlop, OperatingPoints
from netsim.faults import AVAILABILITIES, Availability
from netsim.geometry import STATION_PLACEMENTS, USER_PLACEMENTS, StationPlacement, UserPlacement
from netsim.mobility import MOBILITIES, Mobility
from netsim.profiles import Profiled, ProfiledEnergy
from netsim.queueing import DISCIPLINES, Discipline
from netsim.radio.antenna import ANTENNAS, Antenna
from netsim.radio.fading import FADINGS, Fading
from netsim.radio.fidelity import FIDELITIES, Fidelity
from netsim.radio.pathloss import PATH_LOSSES, PathLoss
from netsim.radio.rate import RATE_LAWS, RateLaw
from netsim.radio.rate_recordings import RATE_RECORDINGS, RateRecording
from netsim.radio.scheduling import SCHEDULING_POLICIES, SchedulingPolicy
from netsim.radio.shadowing import SHADOWINGS, Shadowing
from netsim.slowdown import SLOWDOWN_LAWS, SlowdownLaw
from netsim.storage import EVICTIONS, Eviction
from netsim.traffic import ARRIVALS, SIZE_LAWS, Arrivals, SizeLaw
from netsim.values import PER_USER, PerUser

FAMILIES: dict[type, dict[str, type]] = {
    StationPlacement: STATION_PLACEMENTS,
    UserPlacement: USER_PLACEMENTS,
    Mobility: MOBILITIES,
    Antenna: ANTENNAS,
    PathLoss: PATH_LOSSES,
    Shadowing: SHADOWINGS,
    Fading: FADINGS,
    RateLaw: RATE_LAWS,
    RateRecording: RATE_RECORDINGS,
    SchedulingPolicy: SCHEDULING_POLICIES,
    Fidelity: FIDELITIES,
    SlowdownLaw: SLOWDOWN_LAWS,
    Discipline: DISCIPLINES,
    Eviction: EVICTIONS,
    Availability: AVAILABILITIES,
    Arrivals: ARRIVALS,
    SizeLaw: SIZE_LAWS,
    ComputeEnergy: {
        "cycles": Cycles,
        "joules_per_flop": JoulesPerFlop,
        "operating_points": OperatingPoints,
        "profile": ProfiledEnergy,
    },
    PerUser: {**PER_USER, "profile": Profiled},
}
