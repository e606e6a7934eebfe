"""Conversions between decibels and SI units. Scenario files and tables have dB, dBm and dBm/Hz, the code SI units."""

from math import log10
from typing import Annotated

from annotated_types import Ge, Interval

LIGHT_M_PER_S = 299_792_458.0
"""Speed of light in vacuum."""

MAX_DB = 200
"""Largest absolute value that a scenario may give in dB, dBi, dBm or dBm/Hz: a factor of 1e20, so that products of
several factors do not overflow."""

Decibels = Annotated[float, Interval(ge=-MAX_DB, le=MAX_DB)]
"""A number in dB, dBi, dBm or dBm/Hz."""

MIN_RECURRING_S = 1e-6
"""Shortest time in seconds from one thing that recurs to the next, such as fading blocks or positions: nothing that is
simulated here changes faster, and a million of them in a simulated second can still be computed."""

RecurringSeconds = Annotated[float, Ge(MIN_RECURRING_S)]
"""A time in seconds after which something recurs."""

TailShape = Annotated[float, Interval(ge=0.1, le=1e6)]
"""Shape of a Weibull or Pareto distribution, whose largest draw, at a chance of 1 - 2^-53, is finite from 0.052 on."""
LogDeviation = Annotated[float, Interval(ge=0, le=30)]
"""Standard deviation of the logarithm of a lognormal quantity, whose largest draw, 8.2 of them, is finite up to 86."""

NonNegativeDecibels = Annotated[float, Interval(ge=0, le=MAX_DB)]
"""A number in dB or dBi that is not negative."""


def from_db(ratio_db: float) -> float:
    """Convert a power ratio in dB to a plain ratio."""
    return float(10.0 ** (ratio_db / 10.0))


def to_db(ratio: float) -> float:
    """Convert a power ratio > 0 to dB."""
    return 10.0 * log10(ratio)


def watts(power_dbm: float) -> float:
    """Convert a power in dBm to W, or a power density in dBm/Hz to W/Hz."""
    return from_db(power_dbm - 30.0)
