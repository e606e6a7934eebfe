"""Handover: the rule by which a moving user changes its station."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Annotated

import numpy as np
from annotated_types import Ge

from netsim.streams import Floats
from netsim.units import NonNegativeDecibels, from_db

ROUNDING = 1e-9
"""Instants of updates are multiples of their interval to within this many seconds."""


@dataclass(frozen=True)
class Handover:
    """Event A3 of TS 38.331 clause 5.5.4.4: handover to a station whose mean gain (without fading) has been better by a
    hysteresis for the time to trigger.

    A user leaves its station at the update of mean gains at which the condition is met. After the handover gap, the
    rest of its ongoing transfers continues at the new station. During a broadcast at one rate its receivers are not
    handed over.
    """

    hysteresis_db: NonNegativeDecibels = 3.0
    """Hysteresis: margin in dB by which the other station must be better (our choice; TS 38.331 has steps of 0.5 up to
    15)."""
    time_to_trigger_s: Annotated[float, Ge(0)] = 0.16
    """Time to trigger in seconds: the condition must hold this long (our choice; TS 38.331 has values from 0 to
    5.12)."""
    interruption_s: Annotated[float, Ge(0)] = 0.05
    """Handover gap in seconds, in which the user can neither transmit nor receive (our choice)."""


class Triggers:
    """For each user and station, the time since which the station has been better than the serving one."""

    def __init__(self, law: Handover, users: int, stations: int) -> None:
        """Start with no station better than another; `users` and `stations` are their numbers."""
        self._law, self._margin = law, from_db(law.hysteresis_db)
        self._since_s = np.full((users, stations), inf)

    def due(self, now_s: float, gains: Floats, serving: Sequence[int]) -> dict[int, int]:
        """Update the conditions, and return the users to hand over now with the number of their new station.

        The new station is the best of those that have been better for the time to trigger. Call at every update of
        mean gains, in order of time.

        Args:
            now_s: simulated time in seconds.
            gains: mean power gains as plain ratios, shape (users, stations).
            serving: number of the serving station of each user.
        """
        own = np.take_along_axis(gains, np.array(serving)[:, None], axis=1)
        better = gains > own * self._margin
        self._since_s = np.where(better, np.minimum(self._since_s, now_s), inf)
        ripe = self._since_s <= now_s - self._law.time_to_trigger_s + ROUNDING
        best = np.where(ripe, gains, 0.0).argmax(axis=1)
        return {int(user): int(best[user]) for user in np.flatnonzero(ripe.any(axis=1))}

    def forget(self, user: int) -> None:
        """Restart the conditions of a user after its handover: stations are compared with the new one from now on."""
        self._since_s[user] = inf
