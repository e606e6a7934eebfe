"""Receptions: each receiver's part of a transfer, with its own end, bits, energy and row of the table `transfers`."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

from netsim.radio.band import Band, Transmission
from netsim.radio.device import Radio
from netsim.tables import TransferRow
from netsim.units import to_db


@dataclass(frozen=True)
class Payload:
    """The payload of a transfer, and for how many receivers it is."""

    kind: str
    bits: float
    direction: Literal["up", "down"]
    receivers: int
    """Receivers of the signal; each counts for this part of the bits on the air."""
    round: int
    """Round in which it was asked for."""
    asked_s: float
    """Simulated time in seconds at which it was asked for."""


@dataclass(eq=False)
class Reception:
    """One user's part of a transfer: what it receives over its own link, or what its station receives from it.

    The receptions of a multicast share one transmission, at the rate of the weakest; otherwise each has its own, which
    follows the user's radio from band to band.
    """

    radio: Radio
    payload: Payload
    transmission: Transmission | None = field(default=None, init=False)
    """The ongoing transmission; None before it begins."""
    _band: Band = field(init=False)  # the one that it is in

    def begin(self, stream: Hashable | None = None) -> Transmission:
        """Begin with a transmission of its own, perhaps of a stream that others listen to."""
        self.radio.begin()
        radiate = self.radio.radiate if self.radio.activity == "transmit" else None
        self._band = self.radio.band
        self.transmission = self._band.begin(self.radio.link, (self.radio.user,), self.payload.bits, radiate, stream)
        self.radio.reception = self
        return self.transmission

    def share(self, transmission: Transmission) -> None:
        """Begin with a part in a multicast, for which the radio has begun."""
        self._band, self.transmission = self.radio.band, transmission

    @property
    def failed_link(self) -> bool:
        """Whether the transmission was given up because the radio link has failed."""
        return self.transmission is not None and self.transmission.failed_link

    def leave(self) -> None:
        """The user leaves its station: wait until `arrive`. What is complete is over."""
        if self.transmission is not None:
            self._band.suspend(self.transmission)
            self.radio.end()

    def arrive(self) -> None:
        """The user is at its next station: go on with the rest in the band of that, over the link to it."""
        if self.transmission is not None and not self.transmission.done.triggered:
            self.radio.resume()
            self._band, self.transmission.link = self.radio.band, self.radio.link
            self._band.resume(self.transmission)

    def stop(self) -> None:
        """Receive no more of a multicast that goes on for others."""
        if self.transmission is not None:
            self._band.update(self.transmission)
            self.radio.end()

    def end(self) -> None:
        """The transmission is over, complete or not: leave the band that it is in."""
        if self.transmission is not None:
            self._band.end(self.transmission)
            self.radio.reception = None
            self.radio.end()

    def row(self, now_s: float) -> TransferRow:
        """The row of a reception that ends now."""
        payload, transmission = self.payload, self.transmission
        begun_s = now_s if transmission is None else transmission.start_s
        gap_s = 0.0 if transmission is None else transmission.handover_gap.until_s(now_s)
        airtime_s = now_s - begun_s - gap_s
        delivered = 0.0 if transmission is None else transmission.delivered_bits
        snr = None if transmission is None else transmission.mean_snr()
        power = 0.0 if transmission is None else transmission.mean_power()
        return TransferRow(
            round=payload.round,
            user=self.radio.user,
            node=self.radio.station,
            direction=payload.direction,
            kind=payload.kind,
            bits=float(payload.bits),  # a count beyond 2^53 would not fit otherwise
            start_s=payload.asked_s,
            end_s=now_s,
            wait_s=begun_s - payload.asked_s + gap_s,
            airtime_s=airtime_s,
            attempts=0 if transmission is None else transmission.attempts,
            failed=0 if transmission is None else transmission.failed,
            lost=payload.bits - delivered,
            mean_snr_db=to_db(snr) if snr else None,
            mean_rate_bps=delivered / airtime_s if airtime_s > 0 else None,
            energy_j=airtime_s * self.radio.drawing_w(power),
            receivers=payload.receivers,
        )
