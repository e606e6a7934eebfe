"""Decibels to SI and back: dB, dBm and dBm/Hz stand in scenario files and tables, SI everywhere else."""

from math import log10
from typing import Annotated

from annotated_types import Interval

LIGHT_M_PER_S = 299_792_458.0
"""The speed of light in vacuum."""

MAX_DB = 200
"""What a scenario may give in dB, dBi, dBm or dBm/Hz, to either side: a factor of 1e20, of which no product of several
overflows."""

Decibels = Annotated[float, Interval(ge=-MAX_DB, le=MAX_DB)]
"""Any of these."""

DecibelsUp = Annotated[float, Interval(ge=0, le=MAX_DB)]
"""The same of what cannot be negative."""


def from_db(ratio_db: float) -> float:
    """A power ratio in dB as a plain number."""
    return float(10.0 ** (ratio_db / 10.0))


def to_db(ratio: float) -> float:
    """A power ratio > 0 in dB."""
    return 10.0 * log10(ratio)


def watts(power_dbm: float) -> float:
    """A power in dBm (or a density in dBm/Hz) in watts (W/Hz)."""
    return from_db(power_dbm - 30.0)
