"""Who gets how much of a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol

from annotated_types import Gt, Le

Receivers = tuple[int, ...]
"""The users that a transmission serves: one, or several in a broadcast."""


class Grant(NamedTuple):
    """What a transmission gets of a band."""

    band: float
    """Part of the band in [0, 1]."""
    power: float = 1.0
    """Part of the sender's usual power: all of a user's, for a station what falls into that part of the band."""


NOTHING = Grant(0.0, 0.0)
"""What a transmission gets that has to wait."""


class Scheduler(Protocol):
    """Divides a station's band among the transmissions that are going on."""

    @property
    def contended(self) -> bool:
        """Whether a grant depends on anything but the receivers."""
        ...

    def grants(self, active: Sequence[Receivers], attached: Sequence[int]) -> list[Grant]:
        """What each active transmission gets; `attached` are all users of the station."""
        ...


class SharingLaw(Protocol):
    """How a station's band is shared."""

    def check(self, count: int, attached: Sequence[int]) -> None:
        """Raises ValueError if the law does not fit a station with these of `count` users."""
        ...

    def scheduler(self) -> Scheduler:
        """What divides the bands of all stations in one direction."""
        ...


@dataclass(frozen=True)
class FixedShares:
    """FDMA: every user of a station owns a part of the band for ever, active or not.

    A broadcast goes over the parts of all its receivers.
    """

    shares_of_users: tuple[Annotated[float, Gt(0), Le(1)], ...] | None = None
    """Part of the band of users 0, 1, 2 and so on; null means equal parts for the users of a station."""

    @property
    def contended(self) -> bool:
        return False

    def scheduler(self) -> Scheduler:
        return self

    def grants(self, active: Sequence[Receivers], attached: Sequence[int]) -> list[Grant]:
        if self.shares_of_users is None:
            return [Grant(len(receivers) / len(attached)) for receivers in active]
        return [Grant(sum(self.shares_of_users[user] for user in receivers)) for receivers in active]

    def check(self, count: int, attached: Sequence[int]) -> None:
        if self.shares_of_users is None:
            return
        if len(self.shares_of_users) != count:
            raise ValueError(f"{len(self.shares_of_users)} shares are given, but there are {count} users")
        total = sum(self.shares_of_users[user] for user in attached)
        if total > 1 + ROUNDING:
            raise ValueError(f"the shares of a station's users sum to {total:g}; they must not exceed 1")


@dataclass(frozen=True)
class EqualShares:
    """The band is divided equally among the transmissions that are going on; a broadcast counts as one."""

    @property
    def contended(self) -> bool:
        return True

    def scheduler(self) -> Scheduler:
        return self

    def grants(self, active: Sequence[Receivers], attached: Sequence[int]) -> list[Grant]:
        return [Grant(1 / len(active))] * len(active)

    def check(self, count: int, attached: Sequence[int]) -> None:
        """Fits every station."""


@dataclass(frozen=True)
class Controlled:
    """Shares of the band, and transmit powers of users, that a scheme's controller sets while the simulation runs.

    Users without a share divide equally what those who are transmitting leave over; a broadcast goes over the parts of
    all its receivers.
    """

    def scheduler(self) -> Scheduler:
        return Allocations()

    def check(self, count: int, attached: Sequence[int]) -> None:
        """Fits every station."""


class Allocations:
    """What a controller has set for the users of all stations in one direction."""

    contended = True

    def __init__(self) -> None:
        self._shares: dict[int, float] = {}
        self._powers: dict[int, float] = {}

    def allocate(self, user: int, share: float | None, power: float) -> None:
        """From now on a part of the band, or with None of what is left over, and a part of the user's power."""
        self._powers[user] = power
        if share is None:
            self._shares.pop(user, None)
        else:
            self._shares[user] = share

    def grants(self, active: Sequence[Receivers], attached: Sequence[int]) -> list[Grant]:
        """Raises ValueError if the shares of those that are transmitting exceed the band."""
        users = [user for receivers in active for user in receivers]
        taken = sum(self._shares.get(user, 0.0) for user in users)
        if taken > 1 + ROUNDING:
            raise ValueError(
                f"the shares set for users {', '.join(map(str, users))}, who transmit now, sum to {taken:g}; "
                "they must not exceed 1"
            )
        unset = sum(user not in self._shares for user in users)
        rest = (1 - taken) / unset if unset and taken < 1 - ROUNDING else 0.0
        return [self._of(receivers, rest) for receivers in active]

    def _of(self, receivers: Receivers, rest: float) -> Grant:
        band = sum(self._shares.get(user, rest) for user in receivers)
        return Grant(band, self._powers.get(receivers[0], 1.0)) if band else NOTHING


ROUNDING = 1e-9
"""Shares that sum to one may do so to within this."""

SHARING_LAWS: dict[str, type] = {"equal": EqualShares, "fixed": FixedShares, "controlled": Controlled}
