"""Scheduling policies: the rules that divide a band among the signals on the air, and the grants that they give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

Receivers = tuple[int, ...]
"""The users that a transmission serves: one, or several in a broadcast."""

ROUNDING = 1e-9
"""Shares that sum to one may do so to within this."""


class SchedulingGrant(NamedTuple):
    """The part of a band that a transmission is granted."""

    band: float
    """Part of the band in [0, 1]."""
    time: float = 1.0
    """Part of the time for which it has that part of the band."""
    power: float = 1.0
    """Part of the sender's usual power: all of a user's, for a station what falls into that part of the band."""

    @property
    def radiated(self) -> float:
        """Part of the sender's usual power that is on the air, averaged over time."""
        return self.time * self.power


NOTHING = SchedulingGrant(0.0, 0.0, 0.0)
"""The grant of a transmission that has to wait."""


class ScheduledTransmission(Protocol):
    """A transmission that is going on, as a scheduler sees it."""

    @property
    def receivers(self) -> Receivers: ...

    def efficiency(self, now_s: float) -> float:
        """Goodput in bit/s/Hz that it would have now if it were alone on the band."""
        ...

    def border_s(self, now_s: float) -> float:
        """The instant, in seconds, at which the present fading block ends."""
        ...


class Scheduler(Protocol):
    """Divides a station's band among the transmissions that are going on."""

    @property
    def contended(self) -> bool:
        """Whether a grant depends on more than the receivers and the attached users."""
        ...

    @property
    def follows_fading(self) -> bool:
        """Whether a grant depends on the channels, and so holds only until a fading block ends."""
        ...

    def grants(
        self, active: Sequence[ScheduledTransmission], attached: Sequence[int], now_s: float
    ) -> list[SchedulingGrant]:
        """The grants of the active transmissions from now on, in order; `attached` are all users of the station."""
        ...


class SchedulingPolicy(Protocol):
    """A rule by which a station's band is shared."""

    def check(self, count: int, attached: Sequence[int]) -> None:
        """Raise ValueError if the policy does not fit a station to which these of `count` users are attached."""
        ...

    def scheduler(self) -> Scheduler:
        """A scheduler that divides the bands of all stations in one direction."""
        ...
