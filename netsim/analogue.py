"""Analogue messages: real numbers as amplitudes of uncoded symbols, which arrive in constant time and with noise."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from netsim.process import Process
from netsim.radio.device import Radio
from netsim.radio.link import Carrying, SymbolLink
from netsim.reception import Reception
from netsim.transfer import AirInterface

SYMBOL_BITS = 32
"""Bits of a received symbol where a station passes it on as a number."""


@dataclass(eq=False)
class AnalogueReception(Reception):
    """The reception of an analogue message; its bits are symbols, at the symbol rate at any signal-to-noise ratio."""

    def link(self) -> Carrying:
        return SymbolLink(self.radio.link)


def transmit_symbols(air: AirInterface, radio: Radio, symbols: float, kind: str) -> Process[float]:
    """Transmit uncoded symbols from one user, two per second and hertz; none take no time and leave no row.

    Args:
        air: the uplink of the user's station.
        radio: the user's uplink radio, in a band that `carries_analogue`.
        symbols: number of real symbols.
        kind: kind of payload, for the table `transfers`.

    Returns:
        The ratio of signal to noise and interference, averaged over the airtime; inf if nothing was on the air.

    Raises:
        simpy.Interrupt: the transfer was interrupted.
    """
    if not symbols:
        return inf
    reception = AnalogueReception(radio, air.payload(symbols, kind, 1))
    yield from air.carry(reception)
    snr = None if reception.transmission is None else reception.transmission.mean_snr()
    return inf if snr is None else snr
