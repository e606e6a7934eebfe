"""Scheduling policies: how a station divides its band among transmissions."""

from netsim.radio.scheduling.controlled import Allocations, Controlled
from netsim.radio.scheduling.opportunistic import MaxRate, ProportionalFair
from netsim.radio.scheduling.policy import (
    NOTHING,
    ROUNDING,
    Contenders,
    Grants,
    Receivers,
    ScheduledTransmission,
    Scheduler,
    SchedulingGrant,
    SchedulingPolicy,
    Served,
)
from netsim.radio.scheduling.shares import EqualShares, FixedShares, WeightedShares
from netsim.radio.scheduling.times import FixedTimes, RoundRobin

__all__ = [
    "NOTHING",
    "ROUNDING",
    "SCHEDULING_POLICIES",
    "Allocations",
    "Contenders",
    "Controlled",
    "EqualShares",
    "FixedShares",
    "FixedTimes",
    "Grants",
    "MaxRate",
    "ProportionalFair",
    "Receivers",
    "RoundRobin",
    "ScheduledTransmission",
    "Scheduler",
    "SchedulingGrant",
    "SchedulingPolicy",
    "Served",
    "WeightedShares",
]  # fmt: skip

SCHEDULING_POLICIES: dict[str, type] = {
    "equal": EqualShares,
    "fixed": FixedShares,
    "weighted": WeightedShares,
    "controlled": Controlled,
    "tdma": FixedTimes,
    "round_robin": RoundRobin,
    "proportional_fair": ProportionalFair,
    "max_rate": MaxRate,
}
