"""Parts of the time, with the whole band in each: owned for ever, or divided among those who are transmitting.

A station's power is spread over the band, so to it a tenth of the time is as good as a tenth of the band. A user's is
not: it puts its power into what it gets of the band, and so radiates a tenth of the energy in a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Le

from netsim.radio.scheduling.policy import ScheduledTransmission, Scheduler, SchedulingGrant
from netsim.radio.scheduling.shares import FixedShares


@dataclass(frozen=True)
class FixedTimes(FixedShares):
    """TDMA: every user of a station owns a part of the time for ever, active or not, and has the whole band in it.

    A broadcast goes in the times of all its receivers.
    """

    shares_of_users: tuple[Annotated[float, Gt(0), Le(1)], ...] | None = None
    """Part of the time of users 0, 1, 2 and so on; null means equal parts for the users of a station."""

    def grants(
        self, active: Sequence[ScheduledTransmission], attached: Sequence[int], now_s: float
    ) -> list[SchedulingGrant]:
        return [SchedulingGrant(1.0, self.owned(each.receivers, attached)) for each in active]


@dataclass(frozen=True)
class RoundRobin:
    """The transmissions that are going on take turns, for equal parts of the time, with the whole band in each."""

    contended, follows_fading = True, False

    def scheduler(self) -> Scheduler:
        return self

    def grants(
        self, active: Sequence[ScheduledTransmission], attached: Sequence[int], now_s: float
    ) -> list[SchedulingGrant]:
        return [SchedulingGrant(1.0, 1 / len(active))] * len(active)

    def check(self, count: int, attached: Sequence[int]) -> None:
        """Fits every station."""
