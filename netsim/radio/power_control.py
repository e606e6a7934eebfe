"""Uplink power control: users far from their station send with more power, but do not make up for all of the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from netsim.units import Decibels


@dataclass(frozen=True)
class PowerControl:
    """Open-loop fractional power control, TS 38.213 clause 7.1.1: min(largest power, p0 + alpha * coupling loss).

    The standard's term for the number of resource blocks is left out: p0 is for all of a user's part of the band.
    """

    p0_dbm: Decibels = -80.0
    """Power at which the station would receive if alpha were one, in dBm (our choice)."""
    alpha: Annotated[float, Interval(ge=0, le=1)] = 0.8
    """Part of the coupling loss in dB that is made up for: 1 is all of it, 0 gives all users p0."""

    def power_dbm(self, max_dbm: float, coupling_loss_db: float) -> float:
        """What a user radiates over this loss."""
        return min(max_dbm, self.p0_dbm + self.alpha * coupling_loss_db)
