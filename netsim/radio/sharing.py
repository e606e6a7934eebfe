"""Who gets how much of a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from annotated_types import Gt, Le

Receivers = tuple[int, ...]
"""The users that a transmission serves: one, or several in a broadcast."""


class SharingLaw(Protocol):
    """Divides a station's band among transmissions."""

    @property
    def contended(self) -> bool:
        """Whether a share depends on who else is active."""
        ...

    def shares(self, active: Sequence[Receivers], attached: Sequence[int]) -> list[float]:
        """Each active transmission's part of the band, in (0, 1]; `attached` are all users of the station."""
        ...

    def check(self, count: int, attached: Sequence[int]) -> None:
        """Raises ValueError if the law does not fit a station with these of `count` users."""
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

    def shares(self, active: Sequence[Receivers], attached: Sequence[int]) -> list[float]:
        if self.shares_of_users is None:
            return [len(receivers) / len(attached) for receivers in active]
        return [sum(self.shares_of_users[user] for user in receivers) for receivers in active]

    def check(self, count: int, attached: Sequence[int]) -> None:
        if self.shares_of_users is None:
            return
        if len(self.shares_of_users) != count:
            raise ValueError(f"{len(self.shares_of_users)} shares are given, but there are {count} users")
        total = sum(self.shares_of_users[user] for user in attached)
        if total > 1 + 1e-9:
            raise ValueError(f"the shares of a station's users sum to {total:g}; they must not exceed 1")


@dataclass(frozen=True)
class EqualShares:
    """The band is divided equally among the transmissions that are going on; a broadcast counts as one."""

    @property
    def contended(self) -> bool:
        return True

    def shares(self, active: Sequence[Receivers], attached: Sequence[int]) -> list[float]:
        return [1 / len(active) for _ in active]

    def check(self, count: int, attached: Sequence[int]) -> None:
        """Fits every station."""


SHARING_LAWS: dict[str, type] = {"equal": EqualShares, "fixed": FixedShares}
