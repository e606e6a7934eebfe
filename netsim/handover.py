"""Handover: when a user that moves goes to another station, and what happens to its transfers under way."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Annotated

import numpy as np
from annotated_types import Ge

from netsim.streams import Floats
from netsim.units import DecibelsUp, from_db

ROUNDING = 1e-9
"""Instants of updates are multiples of their interval to within this many seconds."""


@dataclass(frozen=True)
class Handover:
    """Event A3 of TS 38.331 clause 5.5.4.4: another station has been better for a while, fading apart.

    A user leaves its station at the update of gains at which the condition is met, and has none for a while; then the
    rest of what is under way goes over the other. A user that takes part in a broadcast at one rate stays until that is
    over.
    """

    hysteresis_db: DecibelsUp = 3.0
    """By how much the other must be better, in dB (our choice; TS 38.331 has steps of 0.5 up to 15)."""
    time_to_trigger_s: Annotated[float, Ge(0)] = 0.16
    """For how long, in seconds (our choice; TS 38.331 has values from 0 to 5.12)."""
    interruption_s: Annotated[float, Ge(0)] = 0.05
    """For how long the user can then neither send nor receive, in seconds (our choice)."""


class Triggers:
    """Since when which station has been better than that which serves a user."""

    def __init__(self, law: Handover, users: int, stations: int) -> None:
        self._law, self._margin = law, from_db(law.hysteresis_db)
        self._since_s = np.full((users, stations), inf)

    def due(self, now_s: float, gains: Floats, serving: list[int]) -> dict[int, int]:
        """The users to hand over now, each to the best of the stations that have been better for long enough.

        `gains` are mean power gains of the shape (users, stations), `serving` is the station of each user.
        """
        own = np.take_along_axis(gains, np.array(serving)[:, None], axis=1)
        better = gains > own * self._margin
        self._since_s = np.where(better, np.minimum(self._since_s, now_s), inf)
        ripe = self._since_s <= now_s - self._law.time_to_trigger_s + ROUNDING
        best = np.where(ripe, gains, 0.0).argmax(axis=1)
        return {int(user): int(best[user]) for user in np.flatnonzero(ripe.any(axis=1))}

    def forget(self, user: int) -> None:
        """The user has another station now: every other is compared with that."""
        self._since_s[user] = inf
