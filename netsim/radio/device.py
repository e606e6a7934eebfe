"""The radio of a user's device: one transfer at a time over the link to the serving station, and its power."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from netsim.energy import Meter
from netsim.faults.presence import Presence
from netsim.process import Process
from netsim.radio.band import Band
from netsim.radio.link import RadioLink
from netsim.radio.nr.blocks import block_bits, block_error_rate
from netsim.radio.rate import Shannon
from netsim.radio.scheduling import ROUNDING, Allocations
from netsim.semaphore import Semaphore


class Movable(Protocol):
    """A part of a transfer that follows the user's radio through a handover."""

    def leave(self) -> None:
        """Go off the air, because the user leaves its serving station."""
        ...

    def arrive(self) -> None:
        """Continue in the band of the user's next station."""
        ...


@dataclass(eq=False)
class Radio:
    """The radio of a user in one direction. It does one transfer at a time; others wait in order for its `lock`.

    A controller observes the channel here, and allocates shares and powers. By Shannon's law the rate is
    `share * bandwidth_hz * log2(1 + power_w * gain_over_noise_hz_per_w / width_hz)`, where a user puts its `power_w`
    into `width_hz = share * bandwidth_hz`, and a station its `max_power_w` into the whole band.
    """

    env: simpy.Environment
    user: int
    """Number of the user."""
    link: RadioLink
    """The link to the serving station."""
    band: Band
    """The band of the serving station in this direction."""
    station: str
    """Name of the serving station in the tables."""
    max_power_w: float
    """Maximum transmit power of the sender in W, which is the user or the station."""
    activity: Literal["transmit", "receive"]
    """Activity of the device during a transfer."""
    circuit_power_w: float
    """Power in W that the device draws during a transfer, whatever it radiates."""
    amplifier_power_w: float
    """Additional power in W that the device draws while it radiates its maximum power."""
    meter: Meter
    presence: Presence
    lock: Semaphore = field(init=False)
    """Held by the present transfer."""
    control_power: Callable[[], None] | None = field(default=None, init=False)
    """Called, if set, at the beginning of each transfer; sets `max_power_w`."""
    staying: int = field(default=0, init=False)
    """Number of broadcasts at one rate in which the radio takes part; the user is not handed over unless it is 0."""
    arrival: simpy.Event | None = field(default=None, init=False)
    """During a handover gap, the event of the arrival at the next station; else None."""
    reception: Movable | None = field(default=None, init=False)
    """The ongoing reception of this radio alone, which follows it from station to station; None without one."""
    _drawing: bool = field(default=False, init=False)
    _drawn_w: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.lock = Semaphore(self.env, 1)

    @property
    def bandwidth_hz(self) -> float:
        """Bandwidth of the station's band in Hz."""
        return self.band.bandwidth_hz

    @property
    def carries_analogue(self) -> bool:
        """True if it can carry analogue messages: not with slots of transport blocks, and not by recorded rates."""
        return self.band.carries_analogue and self.link.recorded is None

    @property
    def gain_over_noise_hz_per_w(self) -> float:
        """Mean power gain over noise power density in Hz/W, divided by the rate law's gap to capacity."""
        return self.link.mean_power_over_noise_hz / self._gap / self.max_power_w

    @property
    def instantaneous_gain_over_noise_hz_per_w(self) -> float:
        """`gain_over_noise_hz_per_w` in the present fading block, averaged over resource blocks."""
        block = np.array([self.env.now // self.link.coherence_time_s], dtype=np.int64)
        return float(np.mean(self.link.power_over_noise_hz(block))) / self._gap / self.max_power_w

    @property
    def _gap(self) -> float:
        return self.link.rate.gap if isinstance(self.link.rate, Shannon) else 1.0

    def block_bits(self, symbols: int, snr: float, error_rate: float) -> int:
        """As `netsim.radio.nr.blocks.block_bits`: it depends on no rate law of the link."""
        return block_bits(symbols, snr, error_rate)

    def block_error_rate(self, bits: int, snr: NDArray[np.float64]) -> float:
        """As `netsim.radio.nr.blocks.block_error_rate`."""
        return block_error_rate(bits, snr)

    def allocate(self, share: float | None, power_w: float | None = None) -> None:
        """Allocate a share of the band and a transmit power from now on, also to ongoing transfers.

        Args:
            share: part of the band, above 0 and at most 1; None is an equal part of what others leave over.
            power_w: transmit power in W, above 0 and at most `max_power_w`, of a user; None is `max_power_w`.

        Raises:
            ValueError: the scheduling policy is not `controlled`, or the share or the power is not allowed.
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
        """Return the power in W that the device draws while it radiates a part `power` of its power, from 0 to 1."""
        return self.circuit_power_w + self.amplifier_power_w * power

    def begin(self) -> None:
        """Begin a transfer, without radiating yet."""
        if self.control_power is not None:
            self.control_power()
        self.resume()

    def resume(self) -> None:
        """Begin a transfer, or continue it at another station: the device draws the circuit power from now on."""
        self._drawing, self._drawn_w = True, self.drawing_w(0.0)
        self.meter.begin(self.activity, self._drawn_w)

    def radiate(self, power: float) -> None:
        """Radiate a part of the power, from 0 to 1, from now on."""
        before_w, self._drawn_w = self._drawn_w, self.drawing_w(power)
        self.meter.change(self.activity, before_w, self._drawn_w)

    def end(self) -> None:
        """End a transfer."""
        if self._drawing:  # false during a handover gap
            self._drawing = False
            self.meter.end(self.activity, self._drawn_w)

    def arrived(self) -> Process[None]:
        """Wait until the user has a serving station; it takes no time outside of handover gaps."""
        while self.arrival is not None:
            yield self.arrival

    def leave(self, band: Band, station: str, link: RadioLink) -> None:
        """Leave the serving station; the ongoing reception is suspended until `arrive`.

        Args:
            band: band of the next station.
            station: name of the next station in the tables.
            link: link to the next station.
        """
        self.arrival = self.env.event()
        if self.reception is not None:
            self.reception.leave()
        self.band, self.station, self.link = band, station, link

    def arrive(self) -> None:
        """Arrive at the next station, and continue the suspended reception."""
        if self.arrival is not None:
            self.arrival.succeed()
            self.arrival = None
        if self.reception is not None:
            self.reception.arrive()
