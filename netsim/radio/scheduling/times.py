"""Scheduling policies that divide time, with the whole band at a time: fixed, or among ongoing transmissions.

The power of a station is spread over the band, so on the downlink a tenth of the time is as good as a tenth of the
band. A user puts all its power into its share of the band, so in a tenth of the time it radiates a tenth of the energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt, Le

from netsim.radio.scheduling.policy import Contenders, Grants, Scheduler
from netsim.radio.scheduling.shares import FixedShares


@dataclass(frozen=True)
class FixedTimes(FixedShares):
    """TDMA: every user of a station has the whole band for a fixed share of the time, whether it transmits or not.

    A broadcast has the shares of all its receivers.
    """

    shares_of_users: tuple[Annotated[float, Gt(0), Le(1)], ...] | None = None
    """Shares of the time of users 0, 1, 2 and so on, from 0 to 1; null is equal shares for the users of a station."""

    def grants(self, active: Contenders, attached: Sequence[int], now_s: float) -> Grants:
        return Grants(np.ones(len(active)), np.array([self.owned(each.receivers, attached) for each in active]))


@dataclass(frozen=True)
class RoundRobin:
    """Round robin: ongoing transmissions alternate, each with the whole band for an equal share of the time."""

    contended, follows_fading = True, False

    def scheduler(self) -> Scheduler:
        return self

    def grants(self, active: Contenders, attached: Sequence[int], now_s: float) -> Grants:
        return Grants(1.0, 1 / len(active), signals=len(active))

    def check(self, count: int, attached: Sequence[int]) -> None:
        """Accept every station."""
