"""Transfers: users' radios take turns, the band is shared, energy is charged, a row is written for each receiver."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import simpy

from netsim.energy import Meter
from netsim.faults.presence import Presence
from netsim.journal import Journal
from netsim.processor import Timed
from netsim.radio.band import Band, Transmission
from netsim.radio.link import Carrying, MulticastLink, RadioLink
from netsim.radio.rate import Shannon
from netsim.radio.sharing import ROUNDING, Allocations
from netsim.tables import OutageRow, TransferRow
from netsim.units import to_db


@dataclass(eq=False)
class Radio:
    """One direction of a user's radio. It does one transfer at a time; further ones wait in order.

    A controller reads here what the channel is like, and sets what the user gets of the band. If the rate follows
    Shannon's law it is `share * bandwidth_hz * log2(1 + power_w * gain_over_noise_hz_per_w / width_hz)`, where a user
    puts its `power_w` into `width_hz = share * bandwidth_hz`, and a station its `max_power_w` into the whole band.
    """

    env: simpy.Environment
    user: int
    link: RadioLink
    air: AirInterface
    """Of the station that serves the user."""
    max_power_w: float
    """What the sender can radiate: the user, or the station."""
    activity: Literal["transmit", "receive"]
    circuit_power_w: float
    """What the device draws during a transfer whatever it radiates."""
    amplifier_power_w: float
    """What it draws on top while it radiates all its power."""
    meter: Meter
    presence: Presence
    lock: simpy.Resource = field(init=False)
    control_power: Callable[[], None] | None = field(default=None, init=False)
    """If set, called before each transfer, to choose `max_power_w`."""
    staying: int = field(default=0, init=False)
    """Broadcasts that it takes part in: the user is not handed over in the middle of one."""
    arrival: simpy.Event | None = field(default=None, init=False)
    """Between two stations: happens when the user is at the next one."""
    _alone: Transmission | None = field(default=None, init=False)  # under way, for this radio only
    _drawing: bool = field(default=False, init=False)
    _drawn_w: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.lock = simpy.Resource(self.env, 1)

    @property
    def medium(self) -> Band:
        """The station's band."""
        return self.air.medium

    @property
    def bandwidth_hz(self) -> float:
        """Width of the station's band."""
        return self.medium.bandwidth_hz

    @property
    def gain_over_noise_hz_per_w(self) -> float:
        """Mean power gain over noise power density; a rate law with a gap to capacity divides it by that."""
        return self.link.mean_power_over_noise_hz / self._gap / self.max_power_w

    @property
    def instantaneous_gain_over_noise_hz_per_w(self) -> float:
        """The same in the present fading block, averaged over resource blocks."""
        block = np.array([self.env.now // self.link.coherence_time_s], dtype=np.int64)
        return float(np.mean(self.link.power_over_noise_hz(block))) / self._gap / self.max_power_w

    @property
    def _gap(self) -> float:
        return self.link.rate.gap if isinstance(self.link.rate, Shannon) else 1.0

    def allocate(self, share: float | None, power_w: float | None = None) -> None:
        """From now on, transfers under way included: a part of the band, and the power to radiate there.

        None is an equal part of what others leave over, and all the power.

        Raises:
            ValueError: the sharing law is not `controlled`, or the share or the power cannot be.
        """
        scheduler = self.medium.scheduler
        if not isinstance(scheduler, Allocations):
            raise ValueError("shares and powers can be allocated only where the band's sharing law is controlled")
        if share is not None and not 0 < share <= 1:
            raise ValueError(f"user {self.user} cannot get a share of {share:g}; above 0 and at most 1 is allowed")
        if power_w is not None and self.activity == "receive":
            raise ValueError("a station's power is spread evenly over its band and cannot be allocated")
        if power_w is not None and not 0 < power_w <= self.max_power_w * (1 + ROUNDING):
            raise ValueError(
                f"user {self.user} cannot radiate {power_w:g} W; above 0 and at most {self.max_power_w:g} is allowed"
            )
        scheduler.allocate(self.user, share, 1.0 if power_w is None else power_w / self.max_power_w)
        self.medium.reconsider()

    def drawing_w(self, power: float) -> float:
        """What the device draws during a transfer in which it radiates a part of its power."""
        return self.circuit_power_w + self.amplifier_power_w * power

    def begin(self) -> None:
        """A transfer begins; nothing is radiated yet."""
        if self.control_power is not None:
            self.control_power()
        self._draw()

    def _draw(self) -> None:
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

    def carry(self, transmission: Transmission | None) -> None:
        """What is under way for this radio alone follows it from station to station; None is nothing."""
        self._alone = transmission

    def leave(self, air: AirInterface, link: RadioLink) -> None:
        """Leave the station for another; what is under way waits until `arrive`."""
        self.arrival = self.env.event()
        if self._alone is not None:
            self.medium.suspend(self._alone)
            self._alone.link = link
            self.end()
        self.air, self.link = air, link

    def arrive(self) -> None:
        """Be at the next station, and go on there."""
        if self.arrival is not None:
            self.arrival.succeed()
            self.arrival = None
        if self._alone is not None and not self._alone.done.triggered:
            self._draw()
            self.medium.resume(self._alone)


class AirInterface:
    """One direction between a station and its users."""

    def __init__(self, journal: Journal, medium: Band, node: str, direction: Literal["up", "down"]) -> None:
        self.env, self.journal, self.medium, self.node, self.direction = medium.env, journal, medium, node, direction

    def transfer(self, radio: Radio, bits: float, kind: str) -> Timed:
        """Transmit `bits` from or to one user. No bits take no time and leave no row.

        Raises ValueError if `bits` is negative or no number, simpy.Interrupt if the radio link fails.
        """
        yield from self._transmit([radio], bits, kind, watched=False)

    def broadcast(self, radios: Iterable[Radio], bits: float, kind: str) -> Generator[simpy.Event, Any, list[Radio]]:
        """The same once to all of several users that are there; returns those that got all of it.

        Who goes away meanwhile gets no more. The station does not notice: it keeps the rate that it chose for all,
        until the last has gone. Where the radio link fails, nobody gets any more.
        """
        there = [radio for radio in radios if not radio.presence.away]
        there.sort(key=lambda radio: radio.user)  # one order for all, so that turns cannot deadlock
        yield from self._transmit(there, bits, kind, watched=True)
        return there

    def _transmit(self, radios: list[Radio], bits: float, kind: str, *, watched: bool) -> Timed:
        """If `watched`, whoever goes away is taken out of `radios`."""
        if not bits >= 0:
            raise ValueError(f"{kind}: {bits} bits cannot be transmitted")
        if bits == 0 or not radios:
            return
        write = partial(self._write, len(radios), bits, kind, self.journal.round, self.env.now)
        transmission: Transmission | None = None
        interrupt: simpy.Interrupt | None = None
        nobody = self.env.event() if watched else None

        def went(radio: Radio) -> None:
            radios.remove(radio)
            if transmission is not None:
                self.medium.update(transmission)
                radio.end()
            write(radio, transmission)
            if nobody is not None and not radios:
                nobody.succeed()

        with ExitStack() as held:
            for radio in radios if watched else ():
                held.enter_context(radio.presence.watched(partial(went, radio)))
            try:
                for radio in list(radios):
                    yield held.enter_context(radio.lock.request())
                for radio in list(radios):
                    while radio.arrival is not None:
                        yield radio.arrival
                if radios:
                    transmission = self._begin(radios, bits)
                    radios[0].carry(None if watched else transmission)
                    yield transmission.done if nobody is None else transmission.done | nobody
            except simpy.Interrupt as cause:
                interrupt = cause
            if transmission is not None:
                self._end(radios, transmission)
        for radio in radios:
            write(radio, transmission)
        if transmission is not None and transmission.failed_link and interrupt is None:
            interrupt = self._failed(radios)
            if watched:
                radios.clear()
                return
        if interrupt is not None:
            raise interrupt

    def _failed(self, radios: Sequence[Radio]) -> simpy.Interrupt:
        """The radio link has failed: to who wanted the transfer it is as if the device had gone away for an instant."""
        for radio in radios:
            self.journal.outage(OutageRow(radio.user, self.env.now, self.env.now, "radio_link"))
        return simpy.Interrupt(f"the radio link of user {', '.join(str(radio.user) for radio in radios)} has failed")

    def _begin(self, radios: Sequence[Radio], bits: float) -> Transmission:
        for radio in radios:
            radio.begin()
        links = [radio.link for radio in radios]
        link: Carrying = links[0] if len(links) == 1 else MulticastLink(links)
        radiate = radios[0].radiate if radios[0].activity == "transmit" else None
        return radios[0].medium.begin(link, tuple(radio.user for radio in radios), bits, radiate)

    def _end(self, radios: Sequence[Radio], transmission: Transmission) -> None:
        medium = radios[0].medium if radios else self.medium
        medium.end(transmission)
        for radio in radios:
            radio.carry(None)
            radio.end()

    def _write(
        self,
        receivers: int,
        bits: float,
        kind: str,
        round_number: int,
        asked_s: float,
        radio: Radio,
        transmission: Transmission | None,
    ) -> None:
        end_s = self.env.now
        begun_s = end_s if transmission is None else transmission.start_s
        off_s = 0.0 if transmission is None else transmission.handover_gap.until_s(end_s)
        airtime_s = end_s - begun_s - off_s
        delivered = 0.0 if transmission is None else transmission.delivered_bits
        snr = None if transmission is None else transmission.mean_snr()
        power = 0.0 if transmission is None else transmission.mean_power()
        self.journal.transferred(
            TransferRow(
                round=round_number,
                user=radio.user,
                node=radio.air.node,
                direction=self.direction,
                kind=kind,
                bits=float(bits),  # a count beyond 2^53 would not fit otherwise
                start_s=asked_s,
                end_s=end_s,
                wait_s=begun_s - asked_s + off_s,
                airtime_s=airtime_s,
                attempts=0 if transmission is None else transmission.attempts,
                failed=0 if transmission is None else transmission.failed,
                lost=bits - delivered,
                mean_snr_db=to_db(snr) if snr else None,
                mean_rate_bps=delivered / airtime_s if airtime_s > 0 else None,
                energy_j=airtime_s * radio.drawing_w(power),
                receivers=receivers,
            )
        )
