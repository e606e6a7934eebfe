"""Transport blocks: modulation and coding by late reports, an outer loop, block errors, and copies that add up."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
from numpy.typing import NDArray

from netsim.radio.nr.adaptation import MCS_OF_CQI, outer_loop
from netsim.radio.nr.codes import CQI_TABLES, MCS_TABLES, CodeTable
from netsim.radio.nr.error_rate import error_rate
from netsim.radio.nr.transport import transport_block_bits
from netsim.radio.rate import AdaptiveModulation
from netsim.radio.slot.coding import Received, Sent
from netsim.radio.slot.dealing import Rows
from netsim.streams import Floats, uniforms

PER_BLOCK = ("payload", "size", "resource_blocks", "mcs", "ratio", "sent", "due", "chance")
COLUMNS = (*PER_BLOCK, "losses")

At = tuple[Rows, Rows]
"""Rows, and the block of each."""


class Adaptive:
    """Each transmission has up to `round_trip_slots` transport blocks under way, as it takes so long to hear of one.

    A block that was not decoded is due again when that is known, and then goes before new ones; its copies are combined
    (chase combining), each with the energy of the resource blocks that it got. What is not decoded after the last
    attempt is sent anew in other blocks, as a radio link in acknowledged mode does, `resends` times at most.
    """

    def __init__(
        self,
        law: AdaptiveModulation,
        symbols: float,
        key: int,
        round_trip_slots: int,
        outer_loop_db: float,
        resends: float = inf,
    ) -> None:
        """`symbols` is bandwidth times length of a resource block; `key` names the draws."""
        self.law, self.key, self.resends = law, key, resends
        self.round_trip_slots, self.outer_loop_db = round_trip_slots, outer_loop_db
        self._elements = symbols * (1 - law.overhead)
        self._codes, self._reports = MCS_TABLES[law.table], CQI_TABLES[law.table]
        self._needed = self._reports.needed(law.block_bits, law.target_error_rate)
        self._efficiencies = np.append(0.0, self._reports.efficiency) * (1 - law.overhead)  # by report
        self._formats = Formats(self._codes, self._elements, 0)
        self._users, self._offset_db = np.zeros(0, np.int64), np.zeros(0)
        self._set(np.zeros((len(COLUMNS), 0, round_trip_slots)))

    payload: Floats
    """Bits of each block under way, of shape (rows, round_trip_slots), as are the following; 0 if there is none."""
    size: Floats
    resource_blocks: Floats
    mcs: Floats
    ratio: Floats
    sent: Floats
    due: Floats
    chance: Floats
    losses: Floats
    """Blocks in a row that were lost in this place after all attempts."""

    def _set(self, columns: Floats) -> None:
        self._columns = columns
        for name, column in zip(COLUMNS, columns, strict=True):
            setattr(self, name, column)

    def promised(self, snr: Floats) -> Floats:
        return np.asarray(self._efficiencies[self._needed.searchsorted(snr, side="right")])

    def carries(self, snr: float, resource_blocks: int) -> bool:
        codes, every = self._codes, np.arange(len(self._codes.codes))
        sizes = transport_block_bits(resource_blocks * self._elements, codes.modulation_order, codes.code_rate)
        energy = self.law.attempts * (1 + 1 / resource_blocks)  # copies may get one resource block more than the first
        return bool((codes.error_rate(every, energy * snr, sizes) < 1).any())

    def joined(self, users: Sequence[int]) -> None:
        new = len(users) - len(self._users)
        self._users = np.array(users, dtype=np.int64)
        self._offset_db = np.append(self._offset_db, np.zeros(new))
        self._set(np.concatenate([self._columns, np.zeros((len(COLUMNS), new, self.round_trip_slots))], axis=1))

    def keep(self, rows: NDArray[np.bool_]) -> None:
        self._users, self._offset_db = self._users[rows], self._offset_db[rows]
        self._set(self._columns[:, rows])

    def send(self, sent: Sent, remaining_bits: Floats) -> Received:
        bits, attempts, failed, given_up = np.zeros((4, len(remaining_bits)))
        if len(sent.rows):
            own = Own(sent.rows, flat=sent.flat)
            rows = own.rows
            if own.count.max() > self._formats.resource_blocks:
                self._formats = Formats(self._codes, self._elements, int(own.count.max()))
            waiting = remaining_bits[rows] - self.payload[rows].sum(axis=1)
            block, new = self._choose(rows, sent.number, waiting)
            at, on_air = (rows, np.maximum(block, 0)), block >= 0
            if new.any():
                self._fill((rows[new], block[new]), new, own, sent, waiting)
            lost = self._transmit(at, on_air, own, sent)
            if self.outer_loop_db:
                first = on_air & (self.sent[at] == 1)
                self._learn(rows[first], lost[first])
            arrived = on_air & ~lost
            attempts[rows], failed[rows] = on_air, lost
            bits[rows] = np.where(arrived, self.payload[at], 0.0)
            self._settle(at, arrived, lost, sent.number)
            given_up[rows] = on_air & (self.losses[at] > self.resends)
        return Received(bits, attempts, failed, given_up)

    def _choose(self, rows: Rows, number: int, waiting: Floats) -> tuple[Rows, NDArray[np.bool_]]:
        """The block that each sends, -1 where it has none to send, and whether it is a new one."""
        pending = self.payload[rows] > 0
        due = np.where(pending & (self.due[rows] <= number), self.due[rows], np.inf)
        oldest = due.argmin(axis=1)
        again = due[np.arange(len(rows)), oldest] < np.inf
        new = ~again & (waiting > 0) & ~pending.all(axis=1)
        return np.where(again, oldest, np.where(new, pending.argmin(axis=1), -1)), new

    def _fill(self, into: At, new: NDArray[np.bool_], own: Own, sent: Sent, waiting: Floats) -> None:
        """Put bits into new blocks, as many as the reported channel lets through."""
        mcs = MCS_OF_CQI[self.law.table][self._report(own, sent.reported)[new]]
        count = own.count[new]
        size = self._formats.size[count, mcs]
        chance = uniforms(self.key, self._users[into[0]] * 2**32 + sent.number)
        values = (np.minimum(size, waiting[new]), size, count, mcs, 0.0, 0.0, 0.0, chance)
        for name, value in zip(PER_BLOCK, values, strict=True):
            getattr(self, name)[into] = value

    def _report(self, own: Own, known: Floats) -> Rows:
        """The report (CQI) for the resource blocks of each, made more or less careful by the outer loop."""
        careful = own.scaled(own.of_owners(known), 10 ** (self._offset_db[own.rows] / 10))
        through = own.effective(careful, self._reports.beta[:, None]) >= self._needed[:, None]
        numbers: Rows = (through * np.arange(1, len(through) + 1)[:, None]).max(axis=0)
        return numbers

    def _transmit(self, at: At, on_air: NDArray[np.bool_], own: Own, sent: Sent) -> NDArray[np.bool_]:
        """Which blocks cannot be decoded, all copies taken together."""
        mcs, first_count = self.mcs[at].astype(np.intp), self.resource_blocks[at].astype(np.intp)
        energy = own.count * self._elements / (np.maximum(first_count, 1) * self._elements)
        copy = own.effective(own.of_owners(sent.snr), self._codes.beta[mcs]) * energy
        ratio = self.ratio[at] = self.ratio[at] + np.where(on_air, copy, 0.0)
        self.sent[at] += on_air
        lost: NDArray[np.bool_] = on_air & (self.chance[at] < self._formats.error_rate(first_count, mcs, ratio))
        return lost

    def _learn(self, rows: Rows, lost: NDArray[np.bool_]) -> None:
        """The outer loop goes by first attempts."""
        target = self.law.target_error_rate
        self._offset_db[rows] = outer_loop(self._offset_db[rows], lost, target, self.outer_loop_db)

    def _settle(self, at: At, arrived: NDArray[np.bool_], lost: NDArray[np.bool_], number: int) -> None:
        given_up = lost & (self.sent[at] >= self.law.attempts)
        self.payload[at] = np.where(arrived | given_up, 0.0, self.payload[at])
        self.losses[at] = np.where(arrived, 0.0, self.losses[at] + given_up)
        self.due[at] = np.where(lost, number + self.round_trip_slots, self.due[at])


class Formats:
    """Size and error curve of the transport blocks on any number of resource blocks with any code, looked up."""

    def __init__(self, codes: CodeTable, elements: float, resource_blocks: int) -> None:
        """Compute the tables.

        Args:
            codes: modulation and coding schemes.
            elements: resource elements of a resource block.
            resource_blocks: maximum number of resource blocks.
        """
        self.resource_blocks = resource_blocks
        mcs, count = np.arange(len(codes.codes)), np.arange(resource_blocks + 1)[:, None]
        self.size = transport_block_bits(count * elements, codes.modulation_order, codes.code_rate)
        """Bits, of shape (resource_blocks + 1, codes), as are the following."""
        used = np.maximum(self.size, 24.0)  # of those that are not on the air there is none
        self._curves = np.stack(np.broadcast_arrays(*codes.curves(mcs, used)))

    def error_rate(self, count: Rows, mcs: Rows, snr: Floats) -> Floats:
        """Return the probability that a transport block cannot be decoded: on `count` resource blocks, with a code."""
        return error_rate(snr, *self._curves[:, count, mcs])


class Own:
    """Resource blocks in order of their owners, taken together for each owner."""

    def __init__(self, rows: Rows, *, flat: bool = False) -> None:
        """Group the blocks.

        Args:
            rows: owner of each block, ascending, at least one.
            flat: True if all blocks of an owner have the same signal-to-noise ratio.
        """
        borders = np.concatenate([[0], (rows[1:] != rows[:-1]).nonzero()[0] + 1, [len(rows)]])
        self._starts, self.count = borders[:-1], borders[1:] - borders[:-1]
        self.rows = rows[self._starts]
        self._flat = flat

    def of_owners(self, snr: Floats) -> Floats:
        """Return the ratios of all blocks, or where they are the same in all blocks of an owner, one for each owner."""
        return snr[self._starts] if self._flat else snr

    def scaled(self, snr: Floats, factor: Floats) -> Floats:
        """Return ratios from `of_owners` times a factor for each owner."""
        return snr * (factor if self._flat else np.repeat(factor, self.count))

    def effective(self, snr: Floats, beta: Floats) -> Floats:
        """Return the exponential effective ratios; `beta` goes with (..., owners), as the result does."""
        if self._flat:
            return np.asarray(beta * (snr / beta))
        beta = np.broadcast_to(beta, (*beta.shape[:-1], len(self.rows)))
        scaled = snr / np.repeat(beta, self.count, axis=-1)
        least = np.minimum.reduceat(scaled, self._starts, axis=-1)
        apart = np.exp(np.repeat(least, self.count, axis=-1) - scaled)
        effective: Floats = beta * (least - np.log(np.add.reduceat(apart, self._starts, axis=-1) / self.count))
        return effective
