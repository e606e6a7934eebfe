"""Transport blocks: modulation and coding by late reports, an outer loop, block errors, and copies that add up."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
from numpy.typing import NDArray

from netsim.radio.nr.adaptation import MCS_OF_CQI, outer_loop
from netsim.radio.nr.codes import CQI_TABLES, MCS_TABLES
from netsim.radio.nr.transport import transport_block_bits
from netsim.radio.rate import AdaptiveModulation
from netsim.radio.slot.coding import Received, Sent
from netsim.radio.slot.dealing import Rows
from netsim.streams import Floats, uniforms

PER_BLOCK = ("payload", "size", "elements", "mcs", "ratio", "sent", "due", "chance")
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
        self._users, self._offset_db = np.zeros(0, np.int64), np.zeros(0)
        for name in COLUMNS:  # (rows, blocks under way)
            setattr(self, name, np.zeros((0, round_trip_slots)))
        self.payload: Floats
        self.size: Floats
        self.elements: Floats
        self.mcs: Floats
        self.ratio: Floats
        self.sent: Floats
        self.due: Floats
        self.chance: Floats
        self.losses: Floats  # blocks in a row that were lost in this place after all attempts

    def promised(self, snr: Floats) -> Floats:
        reported = np.searchsorted(self._needed, snr, side="right")
        efficiencies = np.append(0.0, self._reports.efficiency) * (1 - self.law.overhead)
        return np.asarray(efficiencies[reported])

    def carries(self, snr: float, resource_blocks: int) -> bool:
        codes, every = self._codes, np.arange(len(self._codes.codes))
        sizes = transport_block_bits(resource_blocks * self._elements, codes.modulation_order, codes.code_rate)
        energy = self.law.attempts * (1 + 1 / resource_blocks)  # copies may get one resource block more than the first
        return bool((codes.error_rate(every, energy * snr, sizes) < 1).any())

    def joined(self, users: Sequence[int]) -> None:
        new = len(users) - len(self._users)
        self._users = np.array(users, dtype=np.int64)
        self._offset_db = np.append(self._offset_db, np.zeros(new))
        for name in COLUMNS:
            setattr(self, name, np.concatenate([getattr(self, name), np.zeros((new, self.round_trip_slots))]))

    def keep(self, rows: NDArray[np.bool_]) -> None:
        self._users, self._offset_db = self._users[rows], self._offset_db[rows]
        for name in COLUMNS:
            setattr(self, name, getattr(self, name)[rows])

    def send(self, sent: Sent, remaining_bits: Floats) -> Received:
        bits, attempts, failed, given_up = np.zeros((4, len(remaining_bits)))
        if len(sent.rows):
            own = Own(sent.rows)
            block, again = self._choose(own.rows, sent.number, remaining_bits)
            at = own.rows, np.where(block < 0, 0, block)
            on_air = block >= 0
            if (on_air & ~again).any():
                self._fill(at, on_air & ~again, own, sent, remaining_bits)
            lost = self._transmit(at, on_air, own, sent)
            first = on_air & (self.sent[at] == 1)
            self._learn(own.rows[first], lost[first])
            attempts[own.rows], failed[own.rows] = on_air, lost
            bits[own.rows] = np.where(on_air & ~lost, self.payload[at], 0.0)
            self._settle(at, on_air, lost, sent.number)
            given_up[own.rows] = on_air & (self.losses[at] > self.resends)
        return Received(bits, attempts, failed, given_up)

    def _choose(self, rows: Rows, number: int, remaining_bits: Floats) -> tuple[Rows, NDArray[np.bool_]]:
        """The block that each sends, -1 where it has none to send, and whether it was sent before."""
        pending = self.payload[rows] > 0
        due = np.where(pending & (self.due[rows] <= number), self.due[rows], np.inf)
        again = np.asarray(np.isfinite(due).any(axis=1))
        waiting = remaining_bits[rows] - self.payload[rows].sum(axis=1) > 0
        new = np.where(waiting & ~pending.all(axis=1), np.argmin(pending, axis=1), -1)
        return np.where(again, np.argmin(due, axis=1), new), again

    def _fill(self, at: At, new: NDArray[np.bool_], own: Own, sent: Sent, remaining_bits: Floats) -> None:
        """Put bits into new blocks, as many as the reported channel lets through."""
        mcs = MCS_OF_CQI[self.law.table][self._report(own, sent.reported)]
        elements = own.count * self._elements
        size = transport_block_bits(elements, self._codes.modulation_order[mcs], self._codes.code_rate[mcs])
        waiting = remaining_bits[own.rows] - self.payload[own.rows].sum(axis=1)
        chance = uniforms(self.key, self._users[own.rows] * 2**32 + sent.number)
        values = (np.minimum(size, waiting), size, elements, mcs, 0.0, 0.0, 0.0, chance)
        for name, value in zip(PER_BLOCK, values, strict=True):
            column = getattr(self, name)
            column[at] = np.where(new, value, column[at])

    def _report(self, own: Own, known: Floats) -> Rows:
        """The report (CQI) for the resource blocks of each, made more or less careful by the outer loop."""
        careful = known * np.repeat(10 ** (self._offset_db[own.rows] / 10), own.count)
        betas = np.broadcast_to(self._reports.beta[:, None], (len(self._needed), len(own.rows)))
        through = own.effective(careful, betas) >= self._needed[:, None]
        numbers: Rows = (through * np.arange(1, len(through) + 1)[:, None]).max(axis=0)
        return numbers

    def _transmit(self, at: At, on_air: NDArray[np.bool_], own: Own, sent: Sent) -> NDArray[np.bool_]:
        """Which blocks cannot be decoded, all copies taken together."""
        mcs = self.mcs[at].astype(np.intp)
        energy = own.count * self._elements / np.maximum(self.elements[at], self._elements)
        self.ratio[at] += np.where(on_air, own.effective(sent.snr, self._codes.beta[mcs]) * energy, 0.0)
        self.sent[at] += on_air
        size = np.maximum(self.size[at], 24.0)  # of those that are not on the air there is none
        lost: NDArray[np.bool_] = on_air & (self.chance[at] < self._codes.error_rate(mcs, self.ratio[at], size))
        return lost

    def _learn(self, rows: Rows, lost: NDArray[np.bool_]) -> None:
        """The outer loop goes by first attempts."""
        if self.outer_loop_db:
            target = self.law.target_error_rate
            self._offset_db[rows] = outer_loop(self._offset_db[rows], lost, target, self.outer_loop_db)

    def _settle(self, at: At, on_air: NDArray[np.bool_], lost: NDArray[np.bool_], number: int) -> None:
        over = on_air & (~lost | (self.sent[at] >= self.law.attempts))
        self.payload[at] = np.where(over, 0.0, self.payload[at])
        self.losses[at] = np.where(over, np.where(lost, self.losses[at] + 1, 0.0), self.losses[at])
        self.due[at] = np.where(lost, number + self.round_trip_slots, self.due[at])


class Own:
    """Resource blocks in order of their owners, taken together for each owner."""

    def __init__(self, rows: Rows) -> None:
        self.rows, self._starts, self.count = np.unique(rows, return_index=True, return_counts=True)

    def effective(self, snr: Floats, beta: Floats) -> Floats:
        """Exponential effective ratios of the owners' blocks; `beta` is (..., owners), as the result is."""
        scaled = snr / np.repeat(beta, self.count, axis=-1)
        least = np.minimum.reduceat(scaled, self._starts, axis=-1)
        apart = np.exp(np.repeat(least, self.count, axis=-1) - scaled)
        effective: Floats = beta * (least - np.log(np.add.reduceat(apart, self._starts, axis=-1) / self.count))
        return effective
