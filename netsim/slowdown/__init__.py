"""Stragglers: laws of the slowdown of jobs on users' devices."""

from netsim.slowdown.bursts import Bursts
from netsim.slowdown.job import DeviceJob, Pace, SlowdownLaw, Slowdowns
from netsim.slowdown.laws import ListedSlowdowns, Lognormal, NoSlowdown, Pareto, ShiftedExponential, Weibull
from netsim.slowdown.recorded import RecordedSlowdowns
from netsim.slowdown.throttling import Throttling

__all__ = [
    "SLOWDOWN_LAWS",
    "Bursts",
    "DeviceJob",
    "ListedSlowdowns",
    "Lognormal",
    "NoSlowdown",
    "Pace",
    "Pareto",
    "RecordedSlowdowns",
    "ShiftedExponential",
    "SlowdownLaw",
    "Slowdowns",
    "Throttling",
    "Weibull",
]

SLOWDOWN_LAWS: dict[str, type] = {
    "none": NoSlowdown,
    "shifted_exponential": ShiftedExponential,
    "lognormal": Lognormal,
    "pareto": Pareto,
    "weibull": Weibull,
    "bursts": Bursts,
    "throttling": Throttling,
    "list": ListedSlowdowns,
    "recorded": RecordedSlowdowns,
}
