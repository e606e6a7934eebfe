"""The transmissions that take part in slots, a row each: what is computed for all of them at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf

import numpy as np
from numpy.typing import NDArray

from netsim.radio.band import COMPLETE, Transmission
from netsim.radio.scheduling import SchedulingGrant
from netsim.radio.slot.coding import Received
from netsim.radio.slot.dealing import Rows
from netsim.radio.slot.transmission import SlotTransmission
from netsim.streams import Floats

TALLIES = ("_slots", "_snrs", "_radiated", "_attempts", "_failed")
"""Columns that begin at zero."""


class Transmissions:
    """Rows in order of arrival. `all` are the transmissions themselves, whose figures are brought up to date last."""

    def __init__(self, delay_slots: int) -> None:
        self.all: list[SlotTransmission] = []
        self.bits = self.remaining_bits = self.powers = np.zeros(0)
        self.signals = np.zeros((0, 1))
        """Power over noise density in Hz: one column, or one for each resource block."""
        self._past: deque[Floats] = deque([self.signals], maxlen=delay_slots + 1)
        self._borders_s = np.zeros(0)  # until when a signal holds
        self._slots = self._snrs = self._radiated = self._attempts = self._failed = np.zeros(0)

    @property
    def reported(self) -> Floats:
        """The `signals` that the station knows: `delay_slots` old."""
        return self._past[0]

    def at(self, signals: Floats, rows: Rows, blocks: Rows) -> Floats:
        """Those of some rows at some resource blocks."""
        return np.asarray(signals[rows, 0 if signals.shape[1] == 1 else blocks])

    def add(self, new: Sequence[SlotTransmission], now_s: float) -> None:
        """Further rows; what the station knows of them at first is the present."""
        if not new:
            return
        seen = [transmission.signal_at(now_s) for transmission in new]
        signals = np.array([signal for signal, _ in seen])
        if not self.all:
            self.signals = signals[:0]
            self._past = deque([self.signals] * len(self._past), maxlen=self._past.maxlen)
        self.all += new
        self.signals = np.concatenate([self.signals, signals])
        self._past = deque((np.concatenate([past, signals]) for past in self._past), maxlen=self._past.maxlen)
        self._borders_s = np.append(self._borders_s, [border_s for _, border_s in seen])
        self.bits = np.append(self.bits, [each.bits for each in new])
        self.remaining_bits = np.append(self.remaining_bits, [each.remaining_bits for each in new])
        reached = ((each.slots, each.signal, each.radiated, each.attempts, each.failed) for each in new)
        for name, values in zip(TALLIES, zip(*reached, strict=True), strict=True):
            setattr(self, name, np.append(getattr(self, name), values))

    def grant(self, grants: Sequence[SchedulingGrant]) -> None:
        """Set the grants of the rows, in order, from now on."""
        for transmission, grant in zip(self.all, grants, strict=True):
            transmission.grant = grant
        self.powers = np.array([grant.power for grant in grants])

    def refresh(self, now_s: float) -> None:
        """Evaluate the links whose fading block is over, and remember the signals of this slot for later reports."""
        over = (self._borders_s <= now_s).nonzero()[0]
        if len(over):
            self.signals = self.signals.copy()
            for row in over.tolist():
                self.signals[row], self._borders_s[row] = self.all[row].signal_at(now_s)
        self._past.append(self.signals)

    def row(self, transmission: Transmission) -> int | None:
        """The row of a transmission; None where it takes no part."""
        return next((row for row, each in enumerate(self.all) if each is transmission), None)

    def forget(self, row: int) -> None:
        """Evaluate the link of a row anew in the next slot: it has changed."""
        self.all[row].refresh_link()
        self._borders_s[row] = -inf

    def sent(self, count: Rows, snr_sums: Floats) -> None:
        """Resource blocks of each row in a slot, and the sum of their signal-to-noise ratios."""
        self._slots += count > 0
        self._snrs += snr_sums / np.maximum(count, 1)

    def radiate(self, now_s: float, powers: Floats) -> None:
        """From now on each row's sender radiates a part of its power."""
        for row in (powers != self._radiated).nonzero()[0].tolist():
            self.all[row].radiate(now_s, powers.item(row))
        self._radiated = powers

    def receive(self, received: Received) -> NDArray[np.bool_]:
        """Add the outcome of a slot; returns which rows are complete."""
        self.remaining_bits -= received.bits
        self._attempts += received.attempts
        self._failed += received.failed
        over: NDArray[np.bool_] = self.remaining_bits <= COMPLETE * self.bits
        self.remaining_bits[over] = 0.0
        return over

    def report(self, row: int) -> None:
        """Tell a transmission what it has come to."""
        transmission = self.all[row]
        transmission.remaining_bits = self.remaining_bits.item(row)
        transmission.signal, transmission.slots = self._snrs.item(row), int(self._slots[row])
        transmission.attempts, transmission.failed = int(self._attempts[row]), int(self._failed[row])

    def keep(self, rows: NDArray[np.bool_], now_s: float) -> None:
        """Let go of the others."""
        for row in (~rows).nonzero()[0].tolist():
            self.report(row)
            self.all[row].radiate(now_s, 0.0)
        self.all = [transmission for transmission, kept in zip(self.all, rows.tolist(), strict=True) if kept]
        self.signals = self.signals[rows]
        self._past = deque((past[rows] for past in self._past), maxlen=self._past.maxlen)
        for name in ("bits", "remaining_bits", "powers", "_borders_s", *TALLIES):
            setattr(self, name, getattr(self, name)[rows])
