"""Recorded links: what somebody measured on a drive takes the place of path loss, fading and rate law.

A recording is played in steps of equal length, in each of which the rate is the mean of what was recorded, so that no
bit is lost or added whatever the length of a step. Users who share the band get their parts of the recorded rate;
nothing disturbs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsim.radio.window import Window, stretch
from netsim.streams import Floats

ROUNDING = 1e-6
"""Parts of a step by which a trace may miss a whole number of them because of rounding."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What one recorded link carried, as a running total: straight lines between (n,) instants."""

    instants: Floats
    """Rising from 0 to the end of the trace, in units of `unit_s`."""
    carried_bits: Floats
    """Bits carried up to each instant, from 0 on; they never fall."""
    unit_s: float = 1.0
    """Seconds of one unit of time."""


@dataclass(frozen=True, eq=False)
class Playback:
    """A recording as one user sees it: step k of the simulation is step `first` + k of the recording.

    The recording need not be a whole number of steps long: where it ends within a step, it goes on in the same step.
    """

    trace: Trace
    step_s: float
    first: int
    again: bool
    """Whether it begins anew at its end; otherwise nothing arrives any more."""
    scale: float = 1.0
    """Factor on all bits."""

    def at(self, numbers: NDArray[np.int64]) -> Floats:
        """The mean rate on the whole band in each of the steps of these numbers, in bit/s."""
        steps = numbers + self.first
        (laps, carried_bits), (laps_after, carried_bits_after) = self._carried(steps), self._carried(steps + 1)
        bits = (carried_bits_after - carried_bits) + (laps_after - laps) * self.trace.carried_bits[-1]
        return np.asarray(bits / self.step_s * self.scale)

    @property
    def steps(self) -> float:
        """Length of the trace in steps; whole, if it is but for rounding."""
        steps = float(self.trace.instants[-1] / (self.step_s / self.trace.unit_s))
        whole = round(steps)
        return whole if whole and abs(steps - whole) < ROUNDING else steps

    def _carried(self, steps: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """How often the trace is over when these steps begin, and the bits that it has carried since."""
        laps, phases = np.divmod(steps, self.steps) if self.again else (np.zeros(len(steps)), steps)
        instants = phases * (self.step_s / self.trace.unit_s)
        return laps, np.interp(instants, self.trace.instants, self.trace.carried_bits)


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
