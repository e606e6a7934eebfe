"""The fading blocks ahead of all transmissions of a band: their power and, for a division of the band, their rates."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netsim.radio.rate import RateLaw
from netsim.radio.rate.law import over_band
from netsim.radio.rate.symbols import SYMBOLS_PER_S_PER_HZ, SymbolRate
from netsim.radio.recorded import Recorded
from netsim.radio.window import Window
from netsim.streams import Floats

FOREVER_S = 1e300
"""End in seconds of a block without end, so that its product with a rate of 0 is 0."""


class BlocksAhead:
    """Consecutive fading blocks of several links, which have the same borders and the same rate law, or carry symbols.

    Powers are over the noise alone, so that they stay when interference changes; a bandwidth over which power is spread
    is multiplied by the rise of the noise.

    The links of a band share the fading law, hence the borders, and the rate law; or all of them are recorded, with the
    same length of a step, and have rates instead of powers.
    """

    def __init__(self, first: Window, rows: int) -> None:
        """Create a table without powers.

        Args:
            first: window of any of the links; those of all others begin at the same instant.
            rows: maximum number of links.
        """
        self._law: RateLaw = first.rate.coded if isinstance(first.rate, SymbolRate) else first.rate
        self._recorded = isinstance(first.rate, Recorded)
        self.borders_s = np.minimum(first.borders_s, FOREVER_S)
        """Borders of the blocks in seconds, ascending, shape (blocks + 1,)."""
        self._borders: Sequence[float] = self.borders_s.data  # read one by one, as in `Integral`
        self.start_s, self.end_s = first.borders_s[0], first.end_s
        """Start, and end in seconds; the end is inf for a constant channel."""
        self.blocks = len(self._borders) - 1
        """Number of blocks."""
        delay, power = self._law.delay_blocks, first.power_over_noise_hz
        self._power = np.repeat(power[:, None], rows, axis=1)  # of the blocks and the `delay_blocks` before them
        self._signal = self._power[delay:] if power.ndim == 1 else np.zeros((self.blocks, rows))
        self._rates = np.zeros((self.blocks, rows)) if self._recorded else None
        self._symbol_rows: set[int] = set()

    def fill(self, row: int, window: Window, noise_rise: float) -> None:
        """Set a row to the powers, or recorded rates, of a link in the same blocks.

        Args:
            row: number of the row.
            window: the link's window of the same blocks.
            noise_rise: the ratio of noise and interference to noise that is in the powers of the window.
        """
        power = window.power_over_noise_hz if noise_rise == 1.0 else window.power_over_noise_hz * noise_rise
        self._power[:, row] = power
        if isinstance(window.rate, SymbolRate):
            self._symbol_rows.add(row)
        else:
            self._symbol_rows.discard(row)
        if self._rates is not None:
            self._rates[:, row] = window.rate.efficiency(window.power_over_noise_hz)
        if self._power.ndim > 2:
            self._signal[:, row] = over_band(power[self._law.delay_blocks :])

    def move(self, former: NDArray[np.intp], rows: int) -> None:
        """Keep the rows at these former places as the first ones, in order, of a table of so many rows."""
        places = np.zeros(rows, np.intp)  # those behind them are empty
        places[: len(former)] = former
        self._power = self._power.take(places, axis=1)
        delayed = self._power[self._law.delay_blocks :]
        self._signal = delayed if self._power.ndim == 2 else self._signal.take(places, axis=1)
        if self._rates is not None:
            self._rates = self._rates.take(places, axis=1)
        self._symbol_rows = {row for row, place in enumerate(former.tolist()) if place in self._symbol_rows}

    def block(self, instant_s: float) -> int:
        """Return the number of the block that contains an instant in seconds; beyond the end the last one."""
        return min(bisect_right(self._borders, instant_s), self.blocks) - 1

    def border_s(self, block: int) -> float:
        """Return the end of a block in seconds; inf for a constant channel."""
        return self.end_s if block == self.blocks - 1 else self._borders[block + 1]

    def widths_s(self, first: int, last: int, from_s: float, to_s: float) -> Floats:
        """Return the time in seconds between two instants that lies in each of the blocks `first` to `last` - 1.

        Returns:
            Shape (blocks, 1).
        """
        if last - first == 1:
            return np.array([[min(self._borders[last], to_s) - max(self._borders[first], from_s)]])
        ends_s, starts_s = self.borders_s[first + 1 : last + 1], self.borders_s[first:last]
        return np.asarray(np.minimum(ends_s, to_s) - np.maximum(starts_s, from_s))[:, None]

    def signal_hz(self, first: int, last: int) -> Floats:
        """Return power over noise density in Hz in the blocks `first` to `last` - 1, of shape (blocks, rows)."""
        return self._signal[first:last]

    def mean_signal_hz(self) -> Floats:
        """Return the mean of power over noise density over the whole table, in Hz, of shape (rows,)."""
        widths_s = self.widths_s(0, self.blocks, self.start_s, self.end_s)
        return np.asarray((self._signal * widths_s).sum(axis=0) / (self.end_s - self.start_s))

    def efficiency(self, first: int, last: int, spread_hz: float | Floats) -> Floats:
        """Return the rates in bit/s/Hz, or symbols/s/Hz, in the blocks `first` to `last` - 1.

        Args:
            first: first block.
            last: the block after the last one.
            spread_hz: bandwidth in Hz over which the power of each row is spread, shape (rows,); a number is that of
                all.

        Returns:
            Shape (blocks, rows).
        """
        rows, blocks, delay = self._power.shape[1], last - first, self._law.delay_blocks
        if self._rates is not None:
            return self._rates[first:last]
        if self._power.ndim > 2 and not isinstance(spread_hz, float):
            spread_hz = spread_hz[:, None]  # for all resource blocks
        snr = self._power[first : last + delay] / spread_hz
        if not delay:
            rates = self._law.efficiency(snr.reshape(blocks * rows, *snr.shape[2:])).reshape(blocks, rows)
            return self._with_symbols(rates) if self._symbol_rows else rates
        # Each row by itself is a sequence of blocks, with the blocks that were reported before them.
        sequence = snr.swapaxes(0, 1).reshape(rows * (delay + blocks), *snr.shape[2:])
        values = np.append(self._law.efficiency(sequence), np.zeros(delay))  # those across two rows are left out
        rates = values.reshape(rows, delay + blocks)[:, :blocks].T
        return self._with_symbols(rates) if self._symbol_rows else rates

    def _with_symbols(self, rates: Floats) -> Floats:
        """Replace the rates of the links that carry symbols by the symbol rate, of shape (blocks, rows)."""
        rates = rates.copy()
        rates[:, list(self._symbol_rows)] = SYMBOLS_PER_S_PER_HZ
        return rates
