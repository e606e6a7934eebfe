"""Transfers: users' radios take turns, the band is shared, energy is charged, a row is written for each receiver."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal

import simpy

from netsim.energy import Meter
from netsim.journal import Journal
from netsim.processor import Timed
from netsim.radio.link import Carrying, Link, WorstOf
from netsim.radio.medium import Medium
from netsim.radio.transmission import Transmission
from netsim.tables import TransferRow
from netsim.units import to_db


@dataclass(eq=False)
class Radio:
    """One direction of a user's radio. It does one transfer at a time; further ones wait in order."""

    env: simpy.Environment
    user: int
    link: Link
    activity: Literal["transmit", "receive"]
    power_w: float
    """What the device draws meanwhile."""
    meter: Meter
    turn: simpy.Resource = field(init=False)

    def __post_init__(self) -> None:
        self.turn = simpy.Resource(self.env, 1)


class AirInterface:
    """One direction between a station and its users."""

    def __init__(self, journal: Journal, medium: Medium, node: str, direction: Literal["up", "down"]) -> None:
        self.env, self.journal, self.medium, self.node, self.direction = medium.env, journal, medium, node, direction

    def transfer(self, radios: Sequence[Radio], bits: float, kind: str) -> Timed:
        """Transmit `bits` once, from or to one user, or to several. No bits take no time and leave no row.

        Raises ValueError if `bits` is negative or no number.
        """
        if not bits >= 0:
            raise ValueError(f"{kind}: {bits} bits cannot be transmitted")
        if bits == 0:
            return
        radios = sorted(radios, key=lambda radio: radio.user)  # one order for all, so that turns cannot deadlock
        round_number, asked_s = self.journal.round, self.env.now
        transmission: Transmission | None = None
        interrupt: simpy.Interrupt | None = None
        with ExitStack() as turns:
            try:
                for radio in radios:
                    yield turns.enter_context(radio.turn.request())
                transmission = self._begin(radios, bits)
                yield transmission.done
            except simpy.Interrupt as cause:
                interrupt = cause
            if transmission is not None:
                self._end(radios, transmission)
        for radio in radios:
            self._write(radio, len(radios), bits, kind, round_number, asked_s, transmission)
        if interrupt is not None:
            raise interrupt

    def _begin(self, radios: Sequence[Radio], bits: float) -> Transmission:
        links = [radio.link for radio in radios]
        link: Carrying = links[0] if len(links) == 1 else WorstOf(links)
        for radio in radios:
            radio.meter.begin(radio.activity, radio.power_w)
        return self.medium.begin(link, tuple(radio.user for radio in radios), bits)

    def _end(self, radios: Sequence[Radio], transmission: Transmission) -> None:
        self.medium.end(transmission)
        for radio in radios:
            radio.meter.end(radio.activity, radio.power_w)

    def _write(
        self,
        radio: Radio,
        receivers: int,
        bits: float,
        kind: str,
        round_number: int,
        asked_s: float,
        transmission: Transmission | None,
    ) -> None:
        end_s = self.env.now
        begun_s = end_s if transmission is None else transmission.start_s
        airtime_s = end_s - begun_s
        delivered = 0.0 if transmission is None else transmission.delivered_bits
        snr = None if transmission is None else transmission.mean_snr()
        self.journal.transferred(
            TransferRow(
                round=round_number,
                user=radio.user,
                node=self.node,
                direction=self.direction,
                kind=kind,
                bits=float(bits),  # a count beyond 2^53 would not fit otherwise
                start_s=asked_s,
                end_s=end_s,
                wait_s=begun_s - asked_s,
                airtime_s=airtime_s,
                attempts=0 if transmission is None else 1,
                lost=bits - delivered,
                mean_snr_db=to_db(snr) if snr else None,
                mean_rate_bps=delivered / airtime_s if airtime_s > 0 else None,
                energy_j=airtime_s * radio.power_w,
                receivers=receivers,
            )
        )
