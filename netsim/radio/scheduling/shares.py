"""Scheduling policies that divide the band: into fixed shares, or among ongoing transmissions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt, Le

from netsim.radio.scheduling.policy import ROUNDING, Contenders, Grants, Receivers, Scheduler
from netsim.sums import in_order


@dataclass(frozen=True)
class FixedShares:
    """FDMA: every user of a station has a fixed share of the band, whether it transmits or not.

    A broadcast has the shares of all its receivers.
    """

    shares_of_users: tuple[Annotated[float, Gt(0), Le(1)], ...] | None = None
    """Shares of the band of users 0, 1, 2 and so on, from 0 to 1; null is equal shares for the users of a station."""

    contended = follows_fading = False

    def scheduler(self) -> Scheduler:
        return self

    def grants(self, active: Contenders, attached: Sequence[int], now_s: float) -> Grants:
        return Grants(np.array([self.owned(each.receivers, attached) for each in active]))

    def owned(self, receivers: Receivers, attached: Sequence[int]) -> float:
        """Return the sum of the shares of some users; `attached` are all users of the station."""
        if self.shares_of_users is None:
            return len(receivers) / len(attached)
        return in_order(self.shares_of_users[user] for user in receivers)

    def check(self, count: int, attached: Sequence[int]) -> None:
        if self.shares_of_users is None:
            return
        if len(self.shares_of_users) != count:
            raise ValueError(f"{len(self.shares_of_users)} shares are given, but there are {count} users")
        total = in_order(self.shares_of_users[user] for user in attached)
        if total > 1 + ROUNDING:
            raise ValueError(f"the shares of a station's users sum to {total:g}; they must not exceed 1")


@dataclass(frozen=True)
class EqualShares:
    """Equal shares: the band is divided equally among ongoing transmissions; a broadcast counts as one."""

    contended, follows_fading = True, False

    def scheduler(self) -> Scheduler:
        return self

    def grants(self, active: Contenders, attached: Sequence[int], now_s: float) -> Grants:
        return Grants(1 / len(active), signals=len(active))

    def check(self, count: int, attached: Sequence[int]) -> None:
        """Accept every station."""


@dataclass(frozen=True)
class WeightedShares:
    """Weighted shares: the band is divided among ongoing transmissions in proportion to the weights of their users.

    A broadcast has the sum of the weights of its receivers.
    """

    weights_of_users: tuple[Annotated[float, Gt(0)], ...]
    """Weights of users 0, 1, 2 and so on; a user of weight 2 gets twice the share of a user of weight 1."""

    contended, follows_fading = True, False

    def scheduler(self) -> Scheduler:
        return self

    def grants(self, active: Contenders, attached: Sequence[int], now_s: float) -> Grants:
        weights = [in_order(self.weights_of_users[user] for user in each.receivers) for each in active]
        return Grants(np.array(weights) / in_order(weights))

    def check(self, count: int, attached: Sequence[int]) -> None:
        if len(self.weights_of_users) != count:
            raise ValueError(f"{len(self.weights_of_users)} weights are given, but there are {count} users")
