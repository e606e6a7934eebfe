"""Transmissions that make progress together: for bands in which the rate of each depends on all the others.

Every arrival and every departure changes all rates of such a band, or of all bands of a channel whose stations
interfere with each other. So only its first end is ever waited for: then, and
at each arrival, all transmissions are brought up to date at once, and all get their new rates at once. The first end is
searched for in the fading blocks ahead, a few at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from math import inf

import numpy as np
import simpy
from numpy.typing import NDArray

from netsim.radio.band import ChannelSignals
from netsim.radio.flow.ahead import BlocksAhead
from netsim.radio.flow.rows import Rows
from netsim.radio.flow.stream import FlowStream
from netsim.radio.flow.transmission import FlowTransmission
from netsim.radio.interference import raise_noise
from netsim.radio.scheduling import Contenders, Grants, SchedulingGrant
from netsim.radio.window import FIRST_BLOCKS, MAX_BLOCKS
from netsim.streams import Floats

LOOK_AHEAD = 128
"""Number of rates, of one or more fading blocks of all transmissions, in the first step of a search for an end."""

NO_RATES: Floats = np.zeros((0, 0))


class AllTogether:
    """Progress of all transmissions of a band, or of the bands of a channel, at once: `Progress` has the interface."""

    def __init__(self, env: simpy.Environment, bandwidth_hz: float, *, spread: bool) -> None:
        self.env, self.bandwidth_hz, self._spread = env, bandwidth_hz, spread
        self.due_s = inf
        self._rows = Rows()
        self._since_s = env.now  # the rows are those of this instant
        self._table: BlocksAhead | None = None
        self._blocks = FIRST_BLOCKS  # of the next table
        self._unfilled: dict[FlowTransmission, None] = {}  # whose links are not in the table
        self._of_streams: dict[FlowTransmission, None] = {}  # in order of arrival, as the next
        self._multicast: dict[FlowTransmission, None] = {}
        self._first = 0  # block of the first of `_rates`
        self._rates = NO_RATES  # in bit/s/Hz in the blocks that were searched, shape (blocks, rows)
        # Since the latest division, of each row or, as one number, of all of them:
        self._common: tuple[float, float, float] | None = None  # band, time and power that all rows are granted
        self._used_hz: float | Floats = 0.0  # part of the band, averaged over time
        self._own_hz: float | Floats = inf  # bandwidth over which the sender's power is spread
        self._spread_hz: float | Floats = inf  # the same times the rise of the noise
        self._sending: float | Floats = 0.0  # 1 where bits are sent
        self._radiating: float | Floats = 0.0  # radiated part of the power where bits are sent
        self._divided = self._interfered = False

    def join(self, transmission: FlowTransmission) -> None:
        self._advance()
        moved = self._rows.add(transmission)
        if moved is not None and self._table is not None:
            self._table.move(moved, self._rows.capacity)
        if transmission.stream is not None:
            self._of_streams[transmission] = None
        if len(transmission.receivers) > 1:
            self._multicast[transmission] = None
        self._interfered |= transmission.link.noise_rise != 1.0
        self._evaluate([transmission])

    def leave(self, transmission: FlowTransmission) -> None:
        self.update(transmission)
        self._rows.remove(transmission)
        for some in (self._unfilled, self._of_streams, self._multicast):
            some.pop(transmission, None)
        self.due_s = inf

    def update(self, transmission: FlowTransmission) -> None:
        self._advance()
        self._rows.report(transmission, self.env.now)

    def contenders(self, signals: Sequence[FlowTransmission | FlowStream]) -> Contenders:
        return RowContenders(self, signals)

    def alone(self, signals: Sequence[FlowTransmission | FlowStream]) -> tuple[Floats, BlocksAhead]:
        """Return the goodput in bit/s/Hz of each of these signals if it were alone on the band now, and the table."""
        self._advance()
        table, of_rows = self._table_at(self.env.now), self._rows_of(signals)
        block = table.block(self.env.now)
        spread_hz = self.bandwidth_hz * self._rows.noise_rise if self._interfered else self.bandwidth_hz
        rates: Floats = table.efficiency(block, block + 1, spread_hz)[0, of_rows]
        if len(signals) < len(of_rows):  # a stream has the goodput of all its receivers together
            of_signals = np.repeat(np.arange(len(signals)), [len(signal.transmissions) for signal in signals])
            rates = np.bincount(of_signals, rates).astype(np.float64)
        return rates, table

    def _rows_of(self, signals: Sequence[FlowTransmission | FlowStream]) -> NDArray[np.intp]:
        """The rows of the transmissions of these signals, in order."""
        rows = self._rows
        if len(signals) == len(rows.row):
            return rows.occupied
        return np.array([rows.row[each] for signal in signals for each in signal.transmissions])

    def grant(self, signals: Sequence[FlowTransmission | FlowStream], grants: Grants) -> None:
        rows, common, self._divided = self._rows, grants.common, True
        of_rows = None if len(signals) == len(rows.row) else self._rows_of(signals)
        if common is not None and (of_rows is None or len(of_rows) == len(rows.row)):
            self._common = common
            for column, part in zip((rows.band, rows.time, rows.power), common, strict=True):
                column.fill(part)  # also of empty rows, of which nothing is read
            return
        if self._common is not None:
            self._common, rows.band[rows.bits == 0.0] = None, 0.0
        of_rows = rows.occupied if of_rows is None else of_rows
        band, time, power = common or grants.columns()
        if common is None and len(signals) < len(of_rows):  # the transmissions of a stream have one grant
            repeats = [len(signal.transmissions) for signal in signals]
            band, time, power = (np.repeat(column, repeats) for column in (band, time, power))
        rows.band[of_rows], rows.time[of_rows], rows.power[of_rows] = band, time, power

    def granted(self, transmission: FlowTransmission) -> SchedulingGrant:
        return self._rows.grant(transmission)

    def apply(self, stale: Iterable[FlowTransmission]) -> None:
        self._evaluate(stale)
        if (self._divided or self._unfilled) and self._rows.row:
            self._divided = False
            self._advance()
            self._divide()
            self._look_ahead()

    def signals(self) -> ChannelSignals:
        """Return all transmissions as signals on the air, as `Interfering` has it."""
        rows, occupied = self._rows, self._rows.occupied
        radiated = rows.time * rows.power
        heard = set()
        for transmission in self._of_streams:  # the signal of a stream is on the air once
            stream = transmission.station, transmission.stream
            if stream in heard:
                radiated[rows.row[transmission]] = 0.0
            heard.add(stream)
        stations, users = rows.stations[occupied], rows.users[occupied]
        of_multicast = list(self._multicast)
        counts = [len(transmission.receivers) for transmission in of_multicast]
        stations_of = np.repeat([transmission.station for transmission in of_multicast], counts)
        receivers = [user for transmission in of_multicast for user in transmission.receivers]
        return ChannelSignals(
            stations,
            users,
            rows.band[occupied],
            radiated[occupied],
            np.concatenate([users, np.array(receivers, np.intp)]),
            np.concatenate([stations, stations_of.astype(np.intp)]),
        )

    def interfere(self, interference_hz: Floats) -> Sequence[FlowTransmission]:
        """Set the interference in Hz at the receivers of `signals`; returns whose links are to be evaluated anew."""
        rows, rises, stale = self._rows, 1 + interference_hz / self.bandwidth_hz, []
        self._interfered = self._divided = True
        self._advance()
        rows.noise_rise[rows.occupied] = rises[: len(rows.row)]
        of_multicast = iter(rises[len(rows.row) :].tolist())
        for transmission in self._multicast:
            rows.noise_rise[rows.row[transmission]] = 1.0
            if raise_noise(transmission.link, [next(of_multicast) for _ in transmission.receivers]):
                stale.append(transmission)
        for transmission, rise in zip(rows.row, rows.noise_rise[rows.occupied].tolist(), strict=True):
            transmission.link.noise_rise = rise
        return stale

    def completed(self, alarm_s: float) -> Sequence[FlowTransmission]:
        if self.due_s > max(alarm_s, self.env.now):
            return []
        self._advance()
        due = (self._rows.finish_s <= max(alarm_s, self.env.now)).nonzero()[0]
        self._rows.remaining_bits[due[self._rows.finish_s[due] <= self.env.now]] = 0.0
        due = due[self._rows.remaining_bits[due] == 0.0]
        if not len(due):
            self._look_ahead()
        in_order = due[np.argsort(self._rows.finish_s[due], kind="stable")].tolist()
        return [transmission for row in in_order if (transmission := self._rows.all[row]) is not None]

    def _evaluate(self, changed: Iterable[FlowTransmission]) -> None:
        """Evaluate links anew before the next search. As more may change soon, it does not look far ahead at first."""
        for transmission in changed:
            transmission.refresh_link()
            self._unfilled[transmission] = None
        if self._unfilled:
            self._blocks = FIRST_BLOCKS

    def _advance(self) -> None:
        """Bring all rows up to date at their present rates."""
        now_s, since_s, rows, table = self.env.now, self._since_s, self._rows, self._table
        self._since_s = now_s
        if now_s == since_s or table is None or not rows.row:
            return
        if len(self._rates):
            carried, signal = self._integrals(table, since_s, now_s)
            carried *= self._used_hz
            rows.remaining_bits -= carried
            signal /= self._spread_hz
            rows.signal_time += signal
            rows.sending_s += (now_s - since_s) * self._sending
            rows.radiated_time += (now_s - since_s) * self._radiating
        complete = rows.remaining_bits <= rows.negligible_bits
        if complete.any():
            rows.remaining_bits[complete] = 0.0

    def _integrals(self, table: BlocksAhead, since_s: float, now_s: float) -> tuple[Floats, Floats]:
        """The integrals of the rates in bit/s/Hz, and of power over noise density in Hz, over some time.

        Beyond the end of the table, in a skipped silence, the power continues at its mean.
        """
        if now_s > table.end_s:
            skipped_s = now_s - max(since_s, table.end_s)
            carried, signal = self._integrals(table, min(since_s, table.end_s), table.end_s)
            return carried, signal + table.mean_signal_hz() * skipped_s
        first, last = table.block(since_s), min(table.block(now_s), self._first + len(self._rates) - 1)
        rates = self._rates[first - self._first : last + 1 - self._first]
        signal_hz = table.signal_hz(first, last + 1)
        if first >= last:
            passed_s = now_s - since_s
            return rates[0] * passed_s, signal_hz[0] * passed_s
        widths_s = table.widths_s(first, last + 1, since_s, now_s)
        return (rates * widths_s).sum(axis=0), (signal_hz * widths_s).sum(axis=0)

    def _divide(self) -> None:
        """Set what all rows use of the band by their grants."""
        rows = self._rows
        if self._common is None:
            self._radiate(rows.time * rows.power)
            used_hz = (rows.band * rows.time) * self.bandwidth_hz
            sending = used_hz > 0
            self._sending, self._radiating = sending.astype(np.float64), sending * rows.radiated
            own_hz = self.bandwidth_hz if self._spread else rows.band * self.bandwidth_hz
            self._used_hz, self._own_hz = used_hz, np.full(rows.capacity, inf)
            np.divide(own_hz, rows.power, out=self._own_hz, where=sending)
        else:
            band, time, power = self._common
            self._radiate(time * power)
            self._used_hz = (band * time) * self.bandwidth_hz
            self._sending, self._radiating = 1.0, time * power
            self._own_hz = (self.bandwidth_hz if self._spread else band * self.bandwidth_hz) / power
        self._spread_hz = self._own_hz * rows.noise_rise if self._interfered else self._own_hz

    def _radiate(self, radiated: float | Floats) -> None:
        """Tell the senders whose radiated part of the power is another one from now on."""
        rows = self._rows
        changed = (rows.radiated != radiated).nonzero()[0].tolist()
        rows.radiated[:] = radiated
        for row in changed:
            transmission = rows.all[row] if row < len(rows.all) else None
            if transmission is not None and transmission.radiate is not None:
                transmission.radiate(rows.radiated.item(row))

    def _look_ahead(self) -> None:
        """Find the first end, or the end of the known blocks if that comes first."""
        rows, now_s = self._rows, self.env.now
        rows.finish_s.fill(inf)
        self._rates = NO_RATES
        if not rows.remaining_bits.all():
            rows.finish_s[rows.remaining_bits == 0.0] = self.due_s = now_s
        elif isinstance(self._used_hz, float):
            self.due_s = max(now_s, self._search(self._table_at(now_s), rows.remaining_bits / self._used_hz))
        elif not self._used_hz.any():
            self.due_s = inf
        else:
            missing = np.full(rows.capacity, inf)
            np.divide(rows.remaining_bits, self._used_hz, out=missing, where=self._used_hz > 0)
            self.due_s = max(now_s, self._search(self._table_at(now_s), missing))
        if self.due_s == inf:
            for transmission in rows.row:
                rows.report(transmission, now_s)  # for a report of who is out of range

    def _search(self, table: BlocksAhead, missing: Floats) -> float:
        """The first end or the end of the table, for what is missing of the integrals of the rates, shape (rows,)."""
        now_s, rows = self.env.now, self._rows
        first = self._first = table.block(now_s)
        blocks = max(1, LOOK_AHEAD // rows.capacity)
        searched, since = [], missing
        while first < table.blocks:
            last = min(first + blocks, table.blocks)
            rates = table.efficiency(first, last, self._spread_hz)
            carried = rates * table.widths_s(first, last, now_s, inf)
            if last > first + 1:
                np.cumsum(carried, axis=0, out=carried)
            searched.append(rates)
            ending = (carried[-1] >= missing).nonzero()[0]
            if len(ending):
                ends_s = self._ends_s(table, first, missing[ending], rates[:, ending], carried[:, ending])
                rows.finish_s[ending] = ends_s
                break
            missing = missing - carried[-1]
            first, blocks = last, 2 * blocks
        self._rates = searched[0] if len(searched) == 1 else np.concatenate(searched)
        if len(ending):
            return float(ends_s.min())
        if (missing < since).any():
            return table.end_s
        self._blocks = FIRST_BLOCKS
        return self._next_s(table.end_s)

    def _ends_s(self, table: BlocksAhead, first: int, missing: Floats, rates: Floats, carried: Floats) -> Floats:
        """When what is missing of some rows, of shape (rows,), is carried in the blocks from `first` on.

        Shapes of `rates`, and of what is `carried` up to the end of each block: (blocks, rows).
        """
        if len(rates) == 1:
            return np.asarray(max(table.borders_s.item(first), self.env.now) + missing / rates[0])
        block = (carried < missing).sum(axis=0)
        column = np.arange(len(missing))
        missing = missing - np.where(block, carried[block - 1, column], 0.0)
        return np.asarray(np.maximum(table.borders_s[first + block], self.env.now) + missing / rates[block, column])

    def _next_s(self, after_s: float) -> float:
        """The first instant from `after_s` on at which anything may be received again; inf if never."""
        rows = self._rows
        used_hz, spread_hz = (np.broadcast_to(each, rows.capacity) for each in (self._used_hz, self._own_hz))
        sending = (transmission for transmission, row in rows.row.items() if used_hz[row])
        return min(each.link.next_s(after_s, spread_hz.item(rows.row[each])) for each in sending)

    def _table_at(self, now_s: float) -> BlocksAhead:
        """The table of the blocks ahead, with the links of all rows."""
        rows, table = self._rows, self._table
        if table is None or now_s >= table.end_s or (self._unfilled and table.blocks > FIRST_BLOCKS):
            oldest = next(iter(rows.row))
            window = oldest.link.window(now_s, self._blocks)
            table = self._table = BlocksAhead(window, rows.capacity)
            table.fill(rows.row[oldest], window, oldest.link.noise_rise)
            self._blocks = max(FIRST_BLOCKS, min(2 * self._blocks, MAX_BLOCKS // len(rows.row)))
            self._unfilled = dict.fromkeys(each for each in rows.row if each is not oldest)
        for transmission in self._unfilled:
            link = transmission.link
            table.fill(rows.row[transmission], link.window(table.start_s, table.blocks), link.noise_rise)
        self._unfilled = {}
        return table


class RowContenders(Contenders):
    """The signals of a band whose transmissions progress together: all answers come from the table of its blocks."""

    def __init__(self, progress: AllTogether, signals: Sequence[FlowTransmission | FlowStream]) -> None:
        super().__init__(signals)
        self._progress, self._of = progress, signals

    @cached_property
    def _alone(self) -> tuple[Floats, BlocksAhead]:
        return self._progress.alone(self._of)

    def efficiencies(self, now_s: float) -> Floats:
        return self._alone[0]

    def border_s(self, now_s: float) -> float:
        """Return the end in seconds of the present fading block, or of a silence of all signals."""
        rates, table = self._alone
        border_s = table.border_s(table.block(now_s))
        if rates.any():
            return border_s
        links = (each.link for signal in self._of for each in signal.transmissions)
        return min(link.next_s(border_s, self._progress.bandwidth_hz) for link in links)
