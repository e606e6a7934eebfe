"""The transmissions of a band as rows of arrays, in order of arrival."""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import NDArray

from netsim.radio.band import COMPLETE
from netsim.radio.flow.transmission import FlowTransmission
from netsim.radio.scheduling import NOTHING, SchedulingGrant
from netsim.streams import Floats

COLUMNS = (
    "bits", "remaining_bits", "band", "time", "power", "signal_time", "sending_s", "radiated_time",
    "negligible_bits", "radiated", "noise_rise", "finish_s",
)  # fmt: skip
EMPTY = (0.0, inf, *NOTHING, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, inf)
"""The values of an empty row: it has no part of the band, and would never end."""

SPARE = 8
"""Minimum number of rows."""


class Rows:
    """Columns of shape (capacity,), with rows for the transmissions in order of arrival.

    The rows of transmissions that have left are empty, as are the rows at the end.
    """

    bits: Floats
    """Sizes of the payloads."""
    remaining_bits: Floats
    """Bits that have not arrived."""
    band: Floats
    """Parts of the band, as in `SchedulingGrant`."""
    time: Floats
    """Parts of the time, as in `SchedulingGrant`."""
    power: Floats
    """Parts of the sender's usual power, as in `SchedulingGrant`."""
    signal_time: Floats
    """Integrals of the signal-to-noise ratio over time in seconds."""
    sending_s: Floats
    """Time in seconds with a part of the band."""
    radiated_time: Floats
    """Integrals of `radiated` over time in seconds."""
    negligible_bits: Floats
    """Remaining bits at which a transmission is complete."""
    radiated: Floats
    """Parts of the sender's usual power that are on the air now."""
    noise_rise: Floats
    """Noise and interference over noise at the receiver; 1 for those at several receivers."""
    finish_s: Floats
    """Ends in seconds at the present rates, if they are within the blocks that were searched; inf otherwise."""

    stations: NDArray[np.intp]
    """Numbers of the stations in whose bands they are."""
    users: NDArray[np.intp]
    """Numbers of the users who send them, or of the first of those who receive them."""

    def __init__(self) -> None:
        self.all: list[FlowTransmission | None] = []
        """The transmissions of the rows; None in empty rows."""
        self.row: dict[FlowTransmission, int] = {}
        """Rows of the transmissions, in order of arrival."""
        self._set(_empty(SPARE), np.zeros((2, SPARE), np.intp))

    @property
    def capacity(self) -> int:
        """Number of rows."""
        return len(self.bits)

    @property
    def occupied(self) -> NDArray[np.intp]:
        """The rows that are not empty, in order of arrival."""
        return self.bits.nonzero()[0]

    def add(self, transmission: FlowTransmission) -> NDArray[np.intp] | None:
        """Add a row. Returns None, or the former places of the first rows if they have moved to make room for it."""
        moved = self._make_room() if len(self.all) == self.capacity else None
        row = self.row[transmission] = len(self.all)
        self.all.append(transmission)
        bits = transmission.bits
        reached = transmission.signal_time, transmission.sending_s, transmission.radiated_time
        grant = transmission.grant
        self._columns[:11, row] = (
            bits, transmission.remaining_bits, *grant, *reached, COMPLETE * bits, grant.radiated,
            transmission.link.noise_rise,
        )  # fmt: skip
        self._numbers[:, row] = transmission.station, transmission.receivers[0]
        return moved

    def remove(self, transmission: FlowTransmission) -> None:
        """Empty the row of a transmission."""
        row = self.row.pop(transmission)
        self.all[row] = None
        self._columns[:, row] = EMPTY

    def report(self, transmission: FlowTransmission, now_s: float) -> None:
        """Set the figures of a transmission to those of its row, which are those at `now_s`, in seconds."""
        _, remaining_bits, band, time, power, signal_time, sending_s, radiated_time = self._columns[
            :8, self.row[transmission]
        ].tolist()
        grant = SchedulingGrant(band, time, power)
        transmission.report(now_s, grant, remaining_bits, signal_time, sending_s, radiated_time)

    def grant(self, transmission: FlowTransmission) -> SchedulingGrant:
        """Return the grant of a transmission."""
        return SchedulingGrant(*self._columns[2:5, self.row[transmission]].tolist())

    def _make_room(self) -> NDArray[np.intp]:
        """Move the rows together, and make room for as many again; returns their former places."""
        occupied = self.occupied
        columns = _empty(max(SPARE, 2 * len(occupied)))
        columns[:, : len(occupied)] = self._columns[:, occupied]
        numbers = np.zeros((2, columns.shape[1]), np.intp)
        numbers[:, : len(occupied)] = self._numbers[:, occupied]
        self.all = list(self.row)
        self.row = {transmission: row for row, transmission in enumerate(self.row)}
        self._set(columns, numbers)
        return occupied

    def _set(self, columns: Floats, numbers: NDArray[np.intp]) -> None:
        self._columns, self._numbers = columns, numbers
        self.stations, self.users = numbers
        for name, column in zip(COLUMNS, columns, strict=True):
            setattr(self, name, column)


def _empty(rows: int) -> Floats:
    return np.repeat(np.array(EMPTY)[:, None], rows, axis=1)
