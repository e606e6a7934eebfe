"""The fading blocks of a link in chunks, whose gains and rates are computed once for all transfers in that time."""

from __future__ import annotations

from functools import cached_property, lru_cache
from math import inf

import numpy as np
from numpy.typing import NDArray

from netsim.integral import Integral
from netsim.radio.fading import Gains
from netsim.radio.rate import RateLaw
from netsim.radio.rate.law import over_band
from netsim.radio.window import Window
from netsim.streams import Floats

CHUNK = 128
"""Number of fading blocks of a chunk. A link caches the gains of two chunks."""

PIECE = 32
"""Number of fading blocks whose rates are computed at once; most transfers are over within one or two blocks."""

REMEMBERED = 8
"""Maximum number of pieces whose rates (for one bandwidth), or powers, a link caches; older pieces are forgotten."""


class Chunks:
    """The fading blocks of one link: chunk k has the blocks from k `CHUNK` to (k + 1) `CHUNK` - 1."""

    def __init__(self, fading: Gains, key: int, rate: RateLaw) -> None:
        """Describe the blocks.

        Args:
            fading: fading gains of the channel.
            key: key of the link's stream of random numbers.
            rate: the rate law.
        """
        self.fading, self.key, self.rate = fading, key, rate
        self._gains: dict[int, Floats] = {}  # by chunk
        self._values: dict[tuple[int, float, float | None], list[float]] = {}  # by piece, mean power and bandwidth

    def gains(self, blocks: NDArray[np.int64]) -> Floats:
        """Return the fading gains of some blocks, as `Gains.power_gains` does; consecutive ones from a cache."""
        first, count = int(blocks[0]), len(blocks)
        if count > CHUNK or count != blocks[-1] - first + 1:
            return self.fading.power_gains(self.key, blocks)
        return self.consecutive(first, count)

    def consecutive(self, first: int, count: int) -> Floats:
        """Return the fading gains of consecutive blocks, from a cache that holds two chunks."""
        chunk, begin = divmod(first, CHUNK)
        here = self._gains.get(chunk)
        if here is None:
            here = self._drawn(chunk)
        if begin + count <= CHUNK:
            return here[begin : begin + count]
        return np.concatenate([here[begin:], self.consecutive((chunk + 1) * CHUNK, begin + count - CHUNK)])

    def _drawn(self, chunk: int) -> Floats:
        """Gains of a chunk that are not in the cache; they replace those of the earlier one of two."""
        if len(self._gains) == 2:
            del self._gains[min(self._gains)]
        blocks = np.arange(chunk * CHUNK, (chunk + 1) * CHUNK)
        drawn = self._gains[chunk] = self.fading.power_gains(self.key, blocks)
        return drawn

    def values(self, mean_hz: float, spread_hz: float | None, first: int) -> list[float]:
        """Return the rates in bit/s/Hz, or received powers over noise power density in Hz, up to the end of a piece.

        Args:
            mean_hz: mean received power over noise power density, in Hz.
            spread_hz: bandwidth in Hz over which the power is spread; None returns the powers.
            first: number of the first block; those after it in the same piece follow.
        """
        piece, begin = divmod(first, PIECE)
        which = piece, mean_hz, spread_hz
        known = self._values.get(which)
        if known is None:
            if len(self._values) == REMEMBERED:
                del self._values[next(iter(self._values))]
            delay = 0 if spread_hz is None else self.rate.delay_blocks
            power = mean_hz * self.consecutive(piece * PIECE - delay, PIECE + delay)
            values = over_band(power) if spread_hz is None else self.rate.efficiency(power / spread_hz)
            known = self._values[which] = values.tolist()
        return known[begin:]


class ChunkWindow(Window):
    """A window whose blocks are looked up in the chunks of its link, with the mean power at its creation."""

    def __init__(self, chunks: Chunks, mean_hz: float, start_s: float, blocks: int) -> None:
        """Create a window of at most `CHUNK` blocks.

        Args:
            chunks: the chunks of the link.
            mean_hz: mean received power over noise power density, in Hz.
            start_s: simulated time in seconds at which the window begins.
            blocks: number of blocks, from the one that contains `start_s`.
        """
        length_s = chunks.fading.coherence_time_s
        self._chunks, self._mean_hz = chunks, mean_hz
        if length_s == inf:
            self._first, borders_s = 0, [start_s, inf]
        else:
            self._first = int(start_s // length_s)
            chunk, begin = divmod(self._first, CHUNK)
            borders_s = [start_s, *_borders_s(length_s, chunk)[begin + 1 : begin + blocks + 1]]
            if len(borders_s) <= blocks:
                borders_s += _borders_s(length_s, chunk + 1)[1 : blocks + 2 - len(borders_s)]
        super().__init__(borders_s, chunks.rate)

    @cached_property
    def power_over_noise_hz(self) -> Floats:
        first, blocks = self._first - self.rate.delay_blocks, len(self.borders_s) - 1 + self.rate.delay_blocks
        return self._mean_hz * self._chunks.gains(np.arange(first, first + blocks))

    def _integral(self, spread_hz: float | None) -> Integral:
        chunks, mean_hz, first, blocks = self._chunks, self._mean_hz, self._first, len(self.borders_s) - 1
        values = chunks.values(mean_hz, spread_hz, first)
        if len(values) >= blocks:
            return Integral(self.borders_s, values[:blocks])
        return Integral(
            self.borders_s, values, lambda block: chunks.values(mean_hz, spread_hz, first + block)[: blocks - block]
        )


@lru_cache(maxsize=64)
def _borders_s(length_s: float, chunk: int) -> list[float]:
    """Borders in seconds of the blocks of a chunk, length `CHUNK` + 1, for blocks of `length_s` in seconds."""
    return [number * length_s for number in range(chunk * CHUNK, (chunk + 1) * CHUNK + 1)]
