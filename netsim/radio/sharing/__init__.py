"""Who gets how much of a band, and when."""

from netsim.radio.sharing.controlled import Allocations, Controlled
from netsim.radio.sharing.law import NOTHING, ROUNDING, Claim, Receivers, Scheduler, SchedulingGrant, SharingLaw
from netsim.radio.sharing.opportunistic import MaxRate, ProportionalFair
from netsim.radio.sharing.shares import EqualShares, FixedShares, WeightedShares
from netsim.radio.sharing.times import FixedTimes, RoundRobin

__all__ = [
    "NOTHING",
    "ROUNDING",
    "SHARING_LAWS",
    "Allocations",
    "Claim",
    "Controlled",
    "EqualShares",
    "FixedShares",
    "FixedTimes",
    "MaxRate",
    "ProportionalFair",
    "Receivers",
    "RoundRobin",
    "Scheduler",
    "SchedulingGrant",
    "SharingLaw",
    "WeightedShares",
]  # fmt: skip

SHARING_LAWS: dict[str, type] = {
    "equal": EqualShares,
    "fixed": FixedShares,
    "weighted": WeightedShares,
    "controlled": Controlled,
    "tdma": FixedTimes,
    "round_robin": RoundRobin,
    "proportional_fair": ProportionalFair,
    "max_rate": MaxRate,
}
