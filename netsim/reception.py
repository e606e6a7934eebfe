"""Receptions: the part of one receiver in a transfer, with an end, bits, energy and a row of `transfers`."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

from netsim.process import Process
from netsim.radio.band import Band, Transmission
from netsim.radio.device import Radio
from netsim.radio.link import SymbolLink
from netsim.tables import TransferRow
from netsim.units import to_db


class Payload(NamedTuple):
    """The payload of a transfer and the number of its receivers."""

    kind: str
    """Kind of payload, for the tables."""
    bits: float
    """Size of the payload."""
    direction: Literal["up", "down"]
    """From users to the station, or from the station to users."""
    receivers: int
    """Number of receivers of the signal, which share the bits on the air equally in the table."""
    round: int
    """Round in which the transfer was requested."""
    requested_s: float
    """Simulated time in seconds at which the transfer was requested."""


@dataclass(eq=False)
class Reception:
    """One user's part of a transfer, on the downlink or the uplink.

    The receptions of a multicast share one transmission at the rate of the weakest link; any other reception has a
    transmission of its own, which moves with the user's radio from band to band.
    """

    of_symbols: ClassVar[bool] = False
    """True if its bits are symbols, which arrive at the symbol rate at any signal-to-noise ratio."""
    ends_itself: ClassVar[bool] = False
    """True if `completed` tells when it is over, which can be before its transmission is complete."""

    radio: Radio
    payload: Payload
    transmission: Transmission | None = field(default=None, init=False)
    """The ongoing transmission; None before it begins."""
    on_air_bits: float | None = field(default=None, init=False)
    """At its end, the bits on the air for which it accounts; None is an equal part of the delivered bits."""
    _band: Band = field(init=False)  # band of the transmission

    def begin(self, stream: Hashable | None = None) -> Transmission:
        """Begin with a new transmission; `stream` is the rateless stream to which it belongs, None is none."""
        self.radio.begin()
        radiate = self.radio.radiate if self.radio.activity == "transmit" else None
        self._band = self.radio.band
        link = SymbolLink(self.radio.link) if self.of_symbols else self.radio.link
        self.transmission = self._band.begin(link, (self.radio.user,), self.payload.bits, radiate, stream)
        self.radio.reception = self
        return self.transmission

    def completed(self, transmission: Transmission) -> Process[None]:
        """Wait until the reception, which has begun, is over."""
        yield transmission.done

    def share(self, transmission: Transmission) -> None:
        """Begin with the common transmission of a multicast; the radio must have begun already."""
        self._band, self.transmission = self.radio.band, transmission

    @property
    def failed_link(self) -> bool:
        """True if the transmission was abandoned because the radio link failed."""
        return self.transmission is not None and self.transmission.failed_link

    def leave(self) -> None:
        """Suspend the transmission until `arrive`, because the user leaves its station."""
        if self.transmission is not None:
            self._band.suspend(self.transmission)
            self.radio.end()

    def arrive(self) -> None:
        """Resume the rest of the transmission in the band of the user's next station, unless it is complete."""
        if self.transmission is not None and not self.transmission.done.triggered:
            self.radio.resume()
            link = SymbolLink(self.radio.link) if self.of_symbols else self.radio.link
            self._band, self.transmission.link = self.radio.band, link
            self._band.resume(self.transmission)

    def stop(self) -> None:
        """End this reception of a multicast that continues for other receivers."""
        if self.transmission is not None:
            self._band.update(self.transmission)
            self.radio.end()

    def end(self) -> None:
        """End the reception, complete or not, and remove its transmission from the band."""
        if self.transmission is not None:
            self._band.end(self.transmission)
            self.radio.reception = None
            self.radio.end()

    def row(self, now_s: float) -> TransferRow:
        """Return the row of `transfers` of a reception that ends at `now_s`, in seconds."""
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
            start_s=payload.requested_s,
            end_s=now_s,
            wait_s=begun_s - payload.requested_s + gap_s,
            airtime_s=airtime_s,
            attempts=0 if transmission is None else transmission.attempts,
            failed=0 if transmission is None else transmission.failed,
            lost=payload.bits - delivered,
            mean_snr_db=to_db(snr) if snr else None,
            mean_rate_bps=delivered / airtime_s if airtime_s > 0 else None,
            energy_j=airtime_s * self.radio.drawing_w(power),
            receivers=payload.receivers,
        )
