"""Recorded links: measured rates replace path loss, fading and rate law.

A recording is played in steps of equal length, in each of which the rate is the mean of the recording, so that the
number of bits does not depend on the length of a step. Users that share the band have their shares of the recorded
rate; there is no interference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor, inf, lcm

import numpy as np
from numpy.typing import NDArray

from netsim.radio.window import ArrayWindow, Window, stretch
from netsim.streams import Floats

ROUNDING = 1e-6
"""Tolerance, in steps, within which the length of a trace counts as a whole number of steps."""

FINEST = 1e-9
"""Tolerance, in steps, at the end of a silence."""

JUMPS = 1000
"""Maximum number of silences that are skipped in one search for a step in which all receivers receive."""

COMMON_STEPS = 2**20
"""Maximum common period of receivers' recordings, in steps, that is searched completely."""


@dataclass(frozen=True, eq=False)
class LinkTrace:
    """A recorded link as the cumulative number of bits, piecewise linear between n instants."""

    instants: Floats
    """Instants from 0 to the end of the trace, rising, in units of `unit_s`, shape (n,)."""
    carried_bits: Floats
    """Cumulative bits up to each instant, from 0, not falling, shape (n,)."""
    unit_s: float = 1.0
    """Seconds of one unit of time."""


@dataclass(frozen=True, eq=False)
class Playback:
    """The recording of one user's link: step k of the simulation is step `first` + k of the recording.

    The recording need not be a whole number of steps long: if it ends within a step, it repeats within that step.
    """

    trace: LinkTrace
    step_s: float
    """Length of a step in seconds."""
    first: int
    """Step of the recording at which the run begins."""
    again: bool
    """True repeats the recording at its end; false carries nothing any more."""
    scale: float = 1.0
    """Factor of all bits."""

    def at(self, numbers: NDArray[np.int64]) -> Floats:
        """Return the mean rate on the whole band in bit/s, in the steps with these numbers, of the same shape."""
        steps = numbers + self.first
        (laps, carried_bits), (laps_after, carried_bits_after) = self._carried(steps), self._carried(steps + 1)
        bits = (carried_bits_after - carried_bits) + (laps_after - laps) * self.trace.carried_bits[-1]
        return np.asarray(
            np.maximum(bits, 0.0) / self.step_s * self.scale
        )  # by rounding a silent step may lose a part of a bit

    @cached_property
    def fastest_bps(self) -> float:
        """Upper bound of the rates on the whole band in bit/s, for steps of any length."""
        bits, widths_s = np.diff(self.trace.carried_bits), np.diff(self.trace.instants) * self.trace.unit_s
        rates_bps = np.full(len(bits), inf)  # where bits come at an instant
        np.divide(bits, widths_s, out=rates_bps, where=widths_s > 0)
        return float(rates_bps.max(initial=0.0, where=bits > 0)) * self.scale

    @property
    def steps(self) -> float:
        """Length of the trace in steps, rounded to a whole number if it is within the tolerance."""
        steps = float(self.trace.instants[-1] / (self.step_s / self.trace.unit_s))
        whole = round(steps)
        return whole if whole and abs(steps - whole) < ROUNDING else steps

    def next_step(self, number: int) -> int | None:
        """Return the first step from step `number` on in which bits are carried; None if there is none.

        By rounding, or late in a run, it can be the step before that.
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
        """Completed repetitions of the trace at the beginning of these steps, and bits carried since the last one."""
        laps, phases = np.divmod(steps, self.steps) if self.again else (np.zeros(len(steps)), steps)
        instants = phases * (self.step_s / self.trace.unit_s)
        return laps, np.interp(instants, self.trace.instants, self.trace.carried_bits)


@dataclass(frozen=True, eq=False)
class Recorded:
    """Recorded efficiencies in place of a rate law; they do not depend on the signal-to-noise ratio."""

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
    """Return the window of recorded links: in each step the rate is that of the slowest link.

    The signal-to-noise ratio was not recorded, and is 0 in the window.

    Args:
        links: recordings of the receivers, with the same length of a step.
        band_hz: bandwidth in Hz.
        start_s: simulated time in seconds at which the window begins.
        steps: number of steps.
    """
    numbers, borders_s = stretch(links[0].step_s, start_s, steps)
    return ArrayWindow(borders_s, np.zeros(len(numbers)), Recorded(_slowest_bps(links, numbers) / band_hz))


def next_s(links: Sequence[Playback], after_s: float) -> float:
    """Return the first time in seconds, from `after_s` on, at which all of these links may carry bits; inf if never."""
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
    """True if there is no step from `number` on in which all links carry bits; only recognised for short periods."""
    if not all(link.again and link.steps == int(link.steps) for link in links):
        return False
    period = lcm(*(int(link.steps) for link in links))
    return period <= COMMON_STEPS and not _slowest_bps(links, number + np.arange(period)).any()


def _slowest_bps(links: Sequence[Playback], numbers: NDArray[np.int64]) -> Floats:
    return np.asarray(np.min([link.at(numbers) for link in links], axis=0))
