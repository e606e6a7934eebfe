"""Uplink power control: users with more coupling loss transmit with more power, which compensates part of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from netsim.units import Decibels


@dataclass(frozen=True)
class PowerControl:
    """Open-loop fractional power control, TS 38.213 clause 7.1.1: min(maximum power, p0 + alpha * coupling loss).

    The standard's term for the number of resource blocks is left out: p0 is for the whole of a user's part of the band.
    """

    p0_dbm: Decibels = -80.0
    """Target power p0 in dBm, at which the station receives with alpha 1 (our choice)."""
    alpha: Annotated[float, Interval(ge=0, le=1)] = 0.8
    """Part of the coupling loss in dB that is compensated: 1 is full compensation, with 0 all users transmit at p0."""

    def power_dbm(self, max_dbm: float, coupling_loss_db: float) -> float:
        """Return the transmit power of a user in dBm.

        Args:
            max_dbm: maximum power in dBm.
            coupling_loss_db: coupling loss to the serving station in dB.
        """
        return min(max_dbm, self.p0_dbm + self.alpha * coupling_loss_db)
