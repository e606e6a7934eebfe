"""Analogue messages: real numbers as amplitudes of uncoded symbols, which arrive in constant time and with noise."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from netsim.process import Process
from netsim.radio.device import Radio
from netsim.reception import Payload, Reception
from netsim.transfer import AirInterface

SYMBOL_BITS = 32
"""Bits of a received symbol where a station passes it on as a number."""


@dataclass(eq=False)
class AnalogueReception(Reception):
    """The reception of an analogue message; its bits are symbols, at the symbol rate at any signal-to-noise ratio."""

    of_symbols: ClassVar[bool] = True


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
    ended: list[AnalogueReception] = []

    def received(radio: Radio, payload: Payload) -> AnalogueReception:
        ended.append(AnalogueReception(radio, payload))
        return ended[0]

    yield from air.transfer(radio, symbols, kind, received=received)
    snr = ended[0].transmission.mean_snr() if ended and ended[0].transmission is not None else None
    return inf if snr is None else snr
