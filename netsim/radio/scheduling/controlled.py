"""Shares of the band, and powers, that a controller sets while the simulation runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netsim.radio.scheduling.policy import ROUNDING, Contenders, Grants, Scheduler
from netsim.sums import in_order


@dataclass(frozen=True)
class Controlled:
    """Shares of the band, and transmit powers of users, that the controller of a scheme sets during the run.

    Users without a share divide the rest of the band equally; a broadcast has the shares of all its receivers.
    """

    def scheduler(self) -> Scheduler:
        return Allocations()

    def check(self, count: int, attached: Sequence[int]) -> None:
        """Accept every station."""


class Allocations:
    """The shares and powers that a controller has set for the users of all stations in one direction."""

    contended, follows_fading = True, False

    def __init__(self) -> None:
        self._shares: dict[int, float] = {}
        self._powers: dict[int, float] = {}

    def allocate(self, user: int, share: float | None, power: float) -> None:
        """Set the share of the band of a user, and the part of its power, from now on.

        Args:
            user: number of the user.
            share: part of the band, from 0 to 1; None is an equal part of what others leave over.
            power: part of the user's power, from 0 to 1.
        """
        self._powers[user] = power
        if share is None:
            self._shares.pop(user, None)
        else:
            self._shares[user] = share

    def grants(self, active: Contenders, attached: Sequence[int], now_s: float) -> Grants:
        """Raises ValueError if the shares of those that are transmitting exceed the band."""
        users = [user for each in active for user in each.receivers]
        taken = in_order(self._shares.get(user, 0.0) for user in users)
        if taken > 1 + ROUNDING:
            raise ValueError(
                f"the shares set for users {', '.join(map(str, users))}, who transmit now, sum to {taken:g}; "
                "they must not exceed 1"
            )
        unset = sum(user not in self._shares for user in users)
        rest = (1 - taken) / unset if unset and taken < 1 - ROUNDING else 0.0
        band = np.array([in_order(self._shares.get(user, rest) for user in each.receivers) for each in active])
        powers = np.array([self._powers.get(each.receivers[0], 1.0) for each in active])
        served = band > 0
        return Grants(band, served.astype(np.float64), np.where(served, powers, 0.0))
