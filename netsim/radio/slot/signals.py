"""The signals that share the slots of a band: transmissions by themselves, and rateless streams."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from netsim.radio.scheduling import Receivers
from netsim.radio.slot.dealing import Rows
from netsim.radio.slot.transmission import SlotTransmission
from netsim.streams import Floats


class SlotStream:
    """One rateless-coded signal, and the transmissions that listen to it."""

    def __init__(self) -> None:
        self.transmissions: list[SlotTransmission] = []

    @property
    def receivers(self) -> Receivers:
        """Numbers of the users that listen."""
        return tuple(user for transmission in self.transmissions for user in transmission.receivers)


class Signals:
    """Signals in order of arrival, and which of them each transmission (a row) receives."""

    def __init__(self) -> None:
        self.all: list[SlotTransmission | SlotStream] = []
        self.of_rows: Rows = np.zeros(0, np.intp)
        """The signal of each row."""
        self._streams: dict[Hashable, SlotStream] = {}

    def join(self, new: Sequence[SlotTransmission]) -> None:
        """Further rows: each is a new signal, or listens to a stream, perhaps to one that is on the air already."""
        numbers = []
        for transmission in new:
            key = transmission.stream
            if key is None:
                self.all.append(transmission)
                numbers.append(len(self.all) - 1)
                continue
            if key not in self._streams:
                self._streams[key] = SlotStream()
                self.all.append(self._streams[key])
            self._streams[key].transmissions.append(transmission)
            numbers.append(self.all.index(self._streams[key]))
        self.of_rows = np.append(self.of_rows, np.array(numbers, np.intp))

    def keep(self, rows: NDArray[np.bool_], left: Sequence[SlotTransmission]) -> NDArray[np.bool_]:
        """Let go of the other rows, whose transmissions have `left`; returns which signals stay."""
        for transmission in left:
            if transmission.stream is not None:
                self._leave(transmission, transmission.stream)
        of_rows = self.of_rows[rows]
        stay = np.zeros(len(self.all), np.bool_)
        stay[of_rows] = True
        self.all = [signal for signal, stays in zip(self.all, stay.tolist(), strict=True) if stays]
        self.of_rows = (np.cumsum(stay) - 1)[of_rows]
        return stay

    def _leave(self, transmission: SlotTransmission, key: Hashable) -> None:
        listening = self._streams[key].transmissions
        listening.remove(transmission)
        if not listening:
            del self._streams[key]

    def total(self, values: Floats) -> Floats:
        """Values of rows, summed over the rows of each signal; further axes stay as they are."""
        if not self._streams:
            return values
        sums = np.zeros((len(self.all), *values.shape[1:]))
        np.add.at(sums, self.of_rows, values)
        return sums

    def receivers(self, owners: Rows) -> tuple[Rows, Rows]:
        """The rows that receive in a slot, in order, and the resource block of each, from the signal of each block.

        A block of a stream is there once for each of its receivers; one that belongs to no signal (-1) is not.
        """
        if not self._streams:  # the same, but faster where there are many rows
            blocks = np.argsort(owners, kind="stable")[np.count_nonzero(owners < 0) :]
            return owners[blocks], blocks
        rows, blocks = np.nonzero(self.of_rows[:, None] == owners)
        return rows, blocks

    def wanted(self, remaining_bits: Floats) -> tuple[Rows, Floats]:
        """One row of each signal, and the bits that the signal can still use, of those that are missing in each row.

        A rateless stream always has something new to send: it can use any number.
        """
        if not self._streams:
            return self.of_rows, remaining_bits
        rows = np.unique(self.of_rows, return_index=True)[1]
        streams = [isinstance(signal, SlotStream) for signal in self.all]
        return rows, np.where(streams, np.inf, remaining_bits[rows])
