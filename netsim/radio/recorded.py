"""Recorded links: what somebody measured on a drive takes the place of path loss, fading and rate law.

A recording is cut into steps of equal length, in each of which the rate is the mean of what was recorded. Users who
share the band get their parts of the recorded rate; nothing disturbs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsim.radio.window import Window, stretch
from netsim.streams import Floats


@dataclass(frozen=True, eq=False)
class Playback:
    """A recording as one user sees it: step k of the simulation is step `first` + k of the recording."""

    rates_bps: Floats
    step_s: float
    first: int
    again: bool
    """Whether it begins anew at its end; otherwise nothing arrives any more."""

    def at(self, numbers: NDArray[np.int64]) -> Floats:
        """The rate on the whole band in the steps of these numbers."""
        count = len(self.rates_bps)
        steps = numbers + self.first
        recorded = self.rates_bps[steps % count]
        return recorded if self.again else np.where(steps < count, recorded, 0.0)


@dataclass(frozen=True, eq=False)
class Recorded:
    """Stands in for the rate law of a window: efficiencies that no signal-to-noise ratio changes."""

    efficiencies: Floats

    @property
    def delay_blocks(self) -> int:
        return 0

    def efficiency(self, snr: Floats) -> Floats:
        return self.efficiencies


def play(links: Sequence[Playback], band_hz: float, start_s: float, steps: int) -> Window:
    """What links of one step length carry on a band from an instant on: in each step as much as the slowest.

    The signal-to-noise ratio was not recorded; it reads as zero.
    """
    numbers, borders_s = stretch(links[0].step_s, start_s, steps)
    slowest_bps = np.min([link.at(numbers) for link in links], axis=0)
    return Window(borders_s, np.zeros(len(numbers)), Recorded(slowest_bps / band_hz))
