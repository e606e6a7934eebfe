"""Recorded links: what somebody measured on a drive takes the place of path loss, fading and rate law.

A recording is played in steps of equal length, in each of which the rate is the mean of what was recorded, so that no
bit is lost or added whatever the length of a step. Users who share the band get their parts of the recorded rate;
nothing disturbs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, inf, lcm

import numpy as np
from numpy.typing import NDArray

from netsim.radio.window import Window, stretch
from netsim.streams import Floats

ROUNDING = 1e-6
"""Parts of a step by which a trace may miss a whole number of them because of rounding."""

FINEST = 1e-9
"""Parts of a step at the end of a silence that count as silent."""

JUMPS = 1000
"""Silences of receivers that are skipped at once in the search for a step in which all of them receive."""

COMMON_STEPS = 2**20
"""Longest common period of receivers' recordings that is searched to its end."""


@dataclass(frozen=True, eq=False)
class LinkTrace:
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

    trace: LinkTrace
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
        return np.asarray(
            np.maximum(bits, 0.0) / self.step_s * self.scale
        )  # by rounding a silent step may lose a part of a bit

    @property
    def steps(self) -> float:
        """Length of the trace in steps; whole, if it is but for rounding."""
        steps = float(self.trace.instants[-1] / (self.step_s / self.trace.unit_s))
        whole = round(steps)
        return whole if whole and abs(steps - whole) < ROUNDING else steps

    def next_step(self, number: int) -> int | None:
        """The first step from this one on in which anything is carried; by rounding, or long after, the one before it.

        None if nothing ever is again.
        """
        instants, carried_bits, unit = self.trace.instants, self.trace.carried_bits, self.step_s / self.trace.unit_s
        phase = float((number + self.first) % self.steps if self.again else number + self.first)
        reached_bits = float(np.interp(phase * unit, instants, carried_bits))
        if reached_bits < carried_bits[-1]:
            rises = float(instants[np.searchsorted(carried_bits, reached_bits, side="right") - 1])
        elif self.again and carried_bits[-1] > 0:
            rises = float(instants[-1] + instants[np.searchsorted(carried_bits, 0.0, side="right") - 1])
        else:
            return None
        return number + max(0, floor(rises / unit - phase + FINEST))

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

    @property
    def min_snr(self) -> float:
        return 0.0

    def efficiency(self, snr: Floats) -> Floats:
        return self.efficiencies


def play(links: Sequence[Playback], band_hz: float, start_s: float, steps: int) -> Window:
    """What links of one step length carry on a band from an instant on: in each step as much as the slowest.

    The signal-to-noise ratio was not recorded; it reads as zero.
    """
    numbers, borders_s = stretch(links[0].step_s, start_s, steps)
    return Window(borders_s, np.zeros(len(numbers)), Recorded(_slowest_bps(links, numbers) / band_hz))


def next_s(links: Sequence[Playback], after_s: float) -> float:
    """The first instant from `after_s` on at which all of these links may carry something; inf if they never do."""
    step_s = links[0].step_s
    number = int(after_s // step_s)
    if len(links) > 1 and _never_together(links, number):
        return inf
    for _ in range(JUMPS):
        ahead = [link.next_step(number) for link in links]
        following = [step for step in ahead if step is not None]
        if len(following) < len(ahead):
            return inf
        if max(following) == number:
            break
        number = max(following)
    return max(after_s, number * step_s)


def _never_together(links: Sequence[Playback], number: int) -> bool:
    """Whether in none of the steps from this one on all carry something: known where all repeat a whole few steps."""
    if not all(link.again and link.steps == int(link.steps) for link in links):
        return False
    period = lcm(*(int(link.steps) for link in links))
    return period <= COMMON_STEPS and not _slowest_bps(links, number + np.arange(period)).any()


def _slowest_bps(links: Sequence[Playback], numbers: NDArray[np.int64]) -> Floats:
    return np.asarray(np.min([link.at(numbers) for link in links], axis=0))
