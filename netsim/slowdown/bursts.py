"""Bursts of background load: a device slows down in the middle of a job, and recovers."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, factorial, floor, inf
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from netsim.integral import Integral
from netsim.slowdown.job import DeviceJob
from netsim.streams import Floats, uniforms
from netsim.units import RecurringSeconds

PER_CELL = 8
"""Mean number of Poisson points in a cell of time."""

MAX_POINTS = 63
"""Maximum number of points in a cell, by the draws reserved for one; more would come once in 10^36 cells."""

COUNTS = np.cumsum([exp(-PER_CELL) * PER_CELL**k / factorial(k) for k in range(MAX_POINTS)])
"""Distribution function of the number of points in a cell, at 0, 1, 2 and so on."""


@dataclass(frozen=True)
class Bursts:
    """Bursts of background load: idle and busy periods alternate, both exponential. `redraw` has no effect.

    A two-state Markov process in equilibrium, independent for each user. The duration of a job follows exactly from the
    load during the job; the slowdown in its row is that of the whole job. Simulation time grows with the number of
    bursts per job.
    """

    mean_idle_s: RecurringSeconds = 20.0
    """Mean length of a period without background load in seconds (our choice)."""
    mean_burst_s: RecurringSeconds = 5.0
    """Mean length of a burst in seconds (our choice)."""
    burst_slowdown: Annotated[float, Ge(1)] = 4.0
    """Factor by which work takes longer during a burst; 1 is no slowdown."""

    def slowdown(self, job: DeviceJob) -> float:
        load = Load(self, job.streams.key("background load", job.user))
        return load.duration_s(job.start_s, job.nominal_s) / job.nominal_s

    def check(self, count: int) -> None:
        """Accept any number of users."""


class Load:
    """The background load of one user.

    At the points of a Poisson process the state is drawn again, busy with its equilibrium probability. For two states
    this is the Markov process whose transition rates add up to the rate of the points. Time is divided into cells, and
    the points of a cell are named draws, so that the state at any instant can be computed without the past.
    """

    def __init__(self, law: Bursts, key: int) -> None:
        """Prepare a load; `key` names its stream of random numbers."""
        self.key = key
        self.busy_part = law.mean_burst_s / (law.mean_idle_s + law.mean_burst_s)
        self.cell_s = PER_CELL / (1 / law.mean_idle_s + 1 / law.mean_burst_s)
        self._burst_speed = 1 / law.burst_slowdown

    def points(self, cell: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the Poisson points of a cell, and the state from each on.

        Args:
            cell: number of the cell; cell n begins at n `cell_s`.

        Returns:
            The points in seconds, ascending, shape (points,); True where the state is busy from then on, same shape.
        """
        draws = uniforms(self.key, 2 * (MAX_POINTS + 1) * cell + np.arange(2 * MAX_POINTS + 1))
        count = min(int(COUNTS.searchsorted(draws[0])), MAX_POINTS)
        instants_s = (cell + np.sort(draws[1 : 1 + count])) * self.cell_s
        return instants_s, draws[1 + MAX_POINTS : 1 + MAX_POINTS + count] < self.busy_part

    def busy(self, instant_s: float) -> bool:
        """Return True if there is background load at an instant in seconds."""
        cell = floor(instant_s / self.cell_s)
        instants_s, states = self.points(cell)
        before = int(instants_s.searchsorted(instant_s, "right"))
        while before == 0:
            cell -= 1
            _, states = self.points(cell)
            before = len(states)
        return bool(states[before - 1])

    def duration_s(self, start_s: float, work_s: float) -> float:
        """Return the duration in seconds of work that begins at `start_s` and would take `work_s` without load."""
        busy, cell, since_s = self.busy(start_s), floor(start_s / self.cell_s), 0.0
        while True:
            integral = self._speeds(busy, cell, start_s, since_s)
            done_s = integral.crossing_s(work_s)
            if done_s < inf:
                return done_s
            work_s -= integral.total
            busy, since_s, cell = integral.values[-1] < 1, integral.borders_s[-1], cell + 1

    def _speeds(self, busy: bool, cell: int, start_s: float, since_s: float) -> Integral:
        """Speed over the rest of a cell. Times count from `start_s`, so that short jobs late in a run are exact."""
        instants_s, states = self.points(cell)
        left = instants_s - start_s > since_s
        end_s = max((cell + 1) * self.cell_s - start_s, since_s)
        borders_s = np.concatenate(([since_s], instants_s[left] - start_s, [end_s]))
        speeds = np.where(np.concatenate(([busy], states[left])), self._burst_speed, 1.0)
        return Integral(borders_s.data, speeds.data)
