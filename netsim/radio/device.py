"""The radio of a user's device: one transfer at a time, by a link to the serving station, and what that draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import simpy

from netsim.energy import Meter
from netsim.faults.presence import Presence
from netsim.process import Process
from netsim.radio.band import Band
from netsim.radio.link import RadioLink
from netsim.radio.rate import Shannon
from netsim.radio.scheduling import ROUNDING, Allocations


class Movable(Protocol):
    """Part of a transfer that follows the user's radio through a handover."""

    def leave(self) -> None:
        """The user leaves its serving station: go off the air."""
        ...

    def arrive(self) -> None:
        """The user is at its next station: go on in the band of that."""
        ...


@dataclass(eq=False)
class Radio:
    """One direction of a user's radio. It does one transfer at a time; further ones wait in order for its `lock`.

    A controller reads here what the channel is like, and sets what the user gets of the band. If the rate follows
    Shannon's law it is `share * bandwidth_hz * log2(1 + power_w * gain_over_noise_hz_per_w / width_hz)`, where a user
    puts its `power_w` into `width_hz = share * bandwidth_hz`, and a station its `max_power_w` into the whole band.
    """

    env: simpy.Environment
    user: int
    link: RadioLink
    band: Band
    """The band of the station that serves the user, in this direction."""
    station: str
    """Name of that station in the tables."""
    max_power_w: float
    """Power in W that the sender can radiate: the user, or the station."""
    activity: Literal["transmit", "receive"]
    circuit_power_w: float
    """Power in W that the device draws during a transfer whatever it radiates."""
    amplifier_power_w: float
    """Power in W that it draws on top while it radiates all its power."""
    meter: Meter
    presence: Presence
    lock: simpy.Resource = field(init=False)
    control_power: Callable[[], None] | None = field(default=None, init=False)
    """Called, if set, before each transfer, to choose `max_power_w`."""
    staying: int = field(default=0, init=False)
    """Number of broadcasts at one rate that it takes part in: meanwhile the user is not handed over."""
    arrival: simpy.Event | None = field(default=None, init=False)
    """In a handover gap: the event that happens when the user is at its next station; else None."""
    reception: Movable | None = field(default=None, init=False)
    """The reception under way for this radio alone, which follows it from station to station."""
    _drawing: bool = field(default=False, init=False)
    _drawn_w: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.lock = simpy.Resource(self.env, 1)

    @property
    def bandwidth_hz(self) -> float:
        """Width of the station's band."""
        return self.band.bandwidth_hz

    @property
    def gain_over_noise_hz_per_w(self) -> float:
        """Mean power gain over noise power density; a rate law with a gap to capacity divides it by that."""
        return self.link.mean_power_over_noise_hz / self._gap / self.max_power_w

    @property
    def instantaneous_gain_over_noise_hz_per_w(self) -> float:
        """`gain_over_noise_hz_per_w` in the present fading block, averaged over resource blocks."""
        block = np.array([self.env.now // self.link.coherence_time_s], dtype=np.int64)
        return float(np.mean(self.link.power_over_noise_hz(block))) / self._gap / self.max_power_w

    @property
    def _gap(self) -> float:
        return self.link.rate.gap if isinstance(self.link.rate, Shannon) else 1.0

    def allocate(self, share: float | None, power_w: float | None = None) -> None:
        """From now on, transfers under way included: a part of the band, and the power to radiate there.

        None is an equal part of what others leave over, and all the power.

        Raises:
            ValueError: the scheduling policy is not `controlled`, or the share or the power cannot be.
        """
        scheduler = self.band.scheduler
        if not isinstance(scheduler, Allocations):
            raise ValueError("shares and powers can be allocated only where the band's scheduling policy is controlled")
        if share is not None and not 0 < share <= 1:
            raise ValueError(f"user {self.user} cannot get a share of {share:g}; above 0 and at most 1 is allowed")
        if power_w is not None and self.activity == "receive":
            raise ValueError("a station's power is spread evenly over its band and cannot be allocated")
        if power_w is not None and not 0 < power_w <= self.max_power_w * (1 + ROUNDING):
            raise ValueError(
                f"user {self.user} cannot radiate {power_w:g} W; above 0 and at most {self.max_power_w:g} is allowed"
            )
        scheduler.allocate(self.user, share, 1.0 if power_w is None else power_w / self.max_power_w)
        self.band.reconsider()

    def drawing_w(self, power: float) -> float:
        """Power in W that the device draws while it radiates this part of its power, from 0 to 1."""
        return self.circuit_power_w + self.amplifier_power_w * power

    def begin(self) -> None:
        """A transfer begins; nothing is radiated yet."""
        if self.control_power is not None:
            self.control_power()
        self.resume()

    def resume(self) -> None:
        """A transfer begins, or goes on at another station: from now on the device draws the circuit's power."""
        self._drawing, self._drawn_w = True, self.drawing_w(0.0)
        self.meter.begin(self.activity, self._drawn_w)

    def radiate(self, power: float) -> None:
        """From now on radiate a part of the power."""
        self.meter.end(self.activity, self._drawn_w)
        self._drawn_w = self.drawing_w(power)
        self.meter.begin(self.activity, self._drawn_w)

    def end(self) -> None:
        """The transfer is over."""
        if self._drawing:  # not while it is between two stations
            self._drawing = False
            self.meter.end(self.activity, self._drawn_w)

    def arrived(self) -> Process[None]:
        """Wait until the user has a station; no time where it has one."""
        while self.arrival is not None:
            yield self.arrival

    def leave(self, band: Band, station: str, link: RadioLink) -> None:
        """Leave the serving station for the one of that name; what is under way waits until `arrive`."""
        self.arrival = self.env.event()
        if self.reception is not None:
            self.reception.leave()
        self.band, self.station, self.link = band, station, link

    def arrive(self) -> None:
        """Be at the next station, and go on there."""
        if self.arrival is not None:
            self.arrival.succeed()
            self.arrival = None
        if self.reception is not None:
            self.reception.arrive()
