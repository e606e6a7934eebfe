"""Thermal throttling: a device that works gets hot, and slows down to what it can sustain."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log
from typing import Annotated

from annotated_types import Ge, Gt, Le

from netsim.slowdown.job import Job


@dataclass(frozen=True)
class Throttling:
    """Thermal throttling: heat goes up by work and down by rest; a hot device goes only as fast as keeps it there.

    One thermal resistance and capacitance (Skadron et al., Temperature-aware microarchitecture, ISCA 2003) and a
    governor that holds the temperature below a threshold. Heat is temperature above that of rest, in parts of what full
    speed would lead to in the end: `time_constant_s * d heat/dt = speed - heat`. The threshold is then the speed that
    can be sustained. Throttling of CPU inference: Benoit-Cattin et al., Electronics 9(12), 2020. `redraw` is ignored.
    """

    time_constant_s: Annotated[float, Gt(0)] = 120.0
    """Seconds after which 63 % of a change of temperature are over (our choice)."""
    sustained_speed: Annotated[float, Gt(0), Le(1)] = 0.6
    """Part of its nominal speed that a hot device keeps; 1 is no throttling (our choice)."""
    initial_heat: Annotated[float, Ge(0), Le(1)] = 0.0
    """Part of the threshold at which devices begin; 0 is cold."""

    def slowdown(self, job: Job) -> float:
        """That of a device that has rested until then."""
        return self.fresh_device().slowdown(job)

    def fresh_device(self) -> Heat:
        """A device at the beginning."""
        return Heat(self)

    def check(self, count: int) -> None:
        """Fits any number of users."""


class Heat:
    """The heat of one device."""

    def __init__(self, law: Throttling) -> None:
        self._law = law
        self._heat, self._since_s = law.initial_heat * law.sustained_speed, 0.0

    def slowdown(self, job: Job) -> float:
        """Full speed until the device is hot, the sustained one from then on."""
        full_s = min(self._until_hot_s(job.start_s), job.nominal_s)
        return (full_s + (job.nominal_s - full_s) / self._law.sustained_speed) / job.nominal_s

    def worked(self, start_s: float, end_s: float) -> None:
        """The device was busy from then until then, and idle before."""
        cold = (1 - self.at(start_s)) * exp(-(end_s - start_s) / self._law.time_constant_s)
        self._heat, self._since_s = min(1 - cold, self._law.sustained_speed), end_s

    def at(self, instant_s: float) -> float:
        """Heat after a rest until an instant."""
        return self._heat * exp(-(instant_s - self._since_s) / self._law.time_constant_s)

    def _until_hot_s(self, start_s: float) -> float:
        """How long full speed lasts."""
        threshold = self._law.sustained_speed
        return inf if threshold == 1 else self._law.time_constant_s * log((1 - self.at(start_s)) / (1 - threshold))
