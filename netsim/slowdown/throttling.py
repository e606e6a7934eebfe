"""Thermal throttling: a device that works becomes hot, and slows down to the speed that it can sustain."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log
from typing import Annotated

from annotated_types import Ge, Gt, Le

from netsim.slowdown.job import DeviceJob


@dataclass(frozen=True)
class Throttling:
    """Thermal throttling: work heats a device, rest cools it; a hot device is limited to its sustained speed.

    One thermal resistance and capacitance (Skadron et al., Temperature-aware microarchitecture, ISCA 2003) and a
    governor that holds the temperature below a threshold. Heat is the temperature above that at rest, as a part of its
    limit at full speed: `time_constant_s * d heat/dt = speed - heat`, with speed as a part of the nominal one. So the
    threshold equals the sustained speed. Throttling of CPU inference: Benoit-Cattin et al., Electronics 9(12), 2020.
    `redraw` has no effect.
    """

    time_constant_s: Annotated[float, Gt(0)] = 120.0
    """Thermal time constant in seconds, after which 63 % of a temperature change are over (our choice)."""
    sustained_speed: Annotated[float, Gt(0), Le(1)] = 0.6
    """Speed of a hot device as a part of its nominal speed; 1 is no throttling (our choice)."""
    initial_heat: Annotated[float, Ge(0), Le(1)] = 0.0
    """Initial heat of devices as a part of the threshold; 0 is cold."""

    def slowdown(self, job: DeviceJob) -> float:
        """Return the slowdown of a job on a device that has rested since the beginning of the run."""
        return self.new_device().slowdown(job)

    def new_device(self) -> Heat:
        """Return the heat of a device at the beginning of a run."""
        return Heat(self)

    def check(self, count: int) -> None:
        """Accept any number of users."""


class Heat:
    """The heat of one device."""

    def __init__(self, law: Throttling) -> None:
        self._law = law
        self._heat, self._since_s = law.initial_heat * law.sustained_speed, 0.0

    def slowdown(self, job: DeviceJob) -> float:
        """Return the slowdown of a job: full speed until the device is hot, then its sustained speed."""
        full_s = min(self._until_hot_s(job.start_s), job.nominal_s)
        return (full_s + (job.nominal_s - full_s) / self._law.sustained_speed) / job.nominal_s

    def worked(self, start_s: float, end_s: float) -> None:
        """Update the heat: the device worked from `start_s` to `end_s` in seconds, and rested since its last job."""
        cold = (1 - self.at(start_s)) * exp(-(end_s - start_s) / self._law.time_constant_s)
        self._heat, self._since_s = min(1 - cold, self._law.sustained_speed), end_s

    def at(self, instant_s: float) -> float:
        """Return the heat at an instant in seconds, after rest since the last job."""
        return self._heat * exp(-(instant_s - self._since_s) / self._law.time_constant_s)

    def _until_hot_s(self, start_s: float) -> float:
        """Seconds of full speed until the device is hot, if it starts to work at `start_s`."""
        threshold = self._law.sustained_speed
        return inf if threshold == 1 else self._law.time_constant_s * log((1 - self.at(start_s)) / (1 - threshold))
