"""Coding in slots: from signal-to-noise ratios to the bits that arrive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from netsim.radio.rate import RateLaw
from netsim.radio.slot.dealing import Rows
from netsim.streams import Floats


class Sent(NamedTuple):
    """A slot: its number, and for each resource block in use, in order of its owner, the owner's row and the SNR."""

    number: int
    rows: Rows
    snr: Floats
    reported: Floats
    """The SNR that the station knows of."""
    flat: bool = False
    """True if the ratios are the same in all resource blocks of an owner."""


class Received(NamedTuple):
    """The outcome of a slot, an entry for each transmission."""

    bits: Floats
    attempts: Floats
    failed: Floats
    given_up: Floats
    """1 where a block was sent anew as often as may be, and was lost again: the radio link has failed; else 0."""


class Coding(Protocol):
    """From signal-to-noise ratios to bits."""

    def promised(self, snr: Floats) -> Floats:
        """Rate in bit/s/Hz that a scheduler counts on at these ratios, each by itself."""
        ...

    def carries(self, snr: float, resource_blocks: int) -> bool:
        """Return whether anything sent on so many resource blocks at this ratio can ever arrive."""
        ...

    def joined(self, users: Sequence[int]) -> None:
        """The (first) users whose transmissions are going on, those that came last at the end."""
        ...

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Some have left."""
        ...

    def send(self, sent: Sent, remaining_bits: Floats) -> Received:
        """The outcome of a slot at its end; `remaining_bits` has an entry for each transmission."""
        ...


class Ideal:
    """Every resource block carries what the rate law says, and nothing is lost."""

    def __init__(self, rate: RateLaw, symbols: float) -> None:
        """`symbols` is bandwidth times length of a resource block."""
        self.rate, self.symbols = rate, symbols

    def promised(self, snr: Floats) -> Floats:
        return self.rate.efficiency(snr.ravel()).reshape(snr.shape)

    def carries(self, snr: float, resource_blocks: int) -> bool:
        return snr > self.rate.min_snr

    def joined(self, users: Sequence[int]) -> None:
        """Nothing is kept."""

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Nothing is kept."""

    def send(self, sent: Sent, remaining_bits: Floats) -> Received:
        count = len(remaining_bits)
        bits = np.bincount(sent.rows, self.symbols * self.promised(sent.snr), count)
        return Received(np.minimum(bits, remaining_bits), *np.zeros((3, count)))
