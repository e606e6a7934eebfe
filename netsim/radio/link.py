"""A link: what arrives at a receiver over noise and interference, block by block, and how many bits that carries."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netsim.radio.fading import Gains
from netsim.radio.rate import RateLaw, Shannon
from netsim.radio.recorded import Playback, next_s, play
from netsim.radio.window import FIRST_BLOCKS, MAX_BLOCKS, Window, stretch
from netsim.streams import Floats
from netsim.units import to_db

SEARCHED_WINDOWS = 256
"""Windows, at last of `MAX_BLOCKS` fading blocks each, that a search for a block in which anything gets through covers
at a time; simulated time goes on before the next."""

CHUNK = 128
"""Fading blocks whose gains a link remembers together; it remembers two chunks."""


class Carrying(Protocol):
    """The link, or links, that a transmission goes over."""

    @property
    def links(self) -> Sequence[RadioLink]:
        """One for each receiver."""
        ...

    def window(self, start_s: float, blocks: int) -> Window:
        """The fading blocks from `start_s` on, `blocks` of them, and what the link carries in each."""
        ...

    def max_snr(self, spread_hz: float) -> float:
        """The signal-to-noise ratio that fading never lets rise above, the power spread over `spread_hz`, as noise and
        mean gain are now."""
        ...

    def next_s(self, after_s: float, spread_hz: float) -> float:
        """The first instant from `after_s` on at which anything may get through, the power spread over `spread_hz`.

        It is inf if nothing ever can: that is known from the recording, or from what fading and the rate law allow. A
        search that is long ends at an instant up to which there is nothing.
        """
        ...


class RadioLink:
    """One direction between a user and its station.

    `mean_power_over_noise_hz` is transmit power times mean gain over the receiver's noise power density.
    """

    def __init__(
        self,
        mean_power_over_noise_hz: float,
        fading: Gains,
        key: int,
        rate: RateLaw = Shannon(),  # noqa: B008
        recorded: Playback | None = None,
        band_hz: float = inf,
    ) -> None:
        """A `recorded` link carries on a band of `band_hz` what was recorded, whatever the powers."""
        self.recorded, self.band_hz = recorded, band_hz
        self.mean_power_over_noise_hz = mean_power_over_noise_hz
        self.noise_rise = 1.0
        """Noise and interference over noise at the receiver; transmissions under way are to be told of a new one."""
        self.fading = fading
        self.key = key
        self.rate = rate
        self._chunks: dict[int, Floats] = {}

    @property
    def links(self) -> Sequence[RadioLink]:
        """Itself: as `MulticastLink` has it."""
        return (self,)

    @property
    def coherence_time_s(self) -> float:
        return self.fading.coherence_time_s if self.recorded is None else self.recorded.step_s

    def power_over_noise_hz(self, blocks: NDArray[np.int64]) -> Floats:
        """Received power over power density of noise and interference in the fading blocks of these numbers, in Hz.

        Divided by the bandwidth over which the power is spread it is the signal-to-noise ratio.
        """
        return self.mean_power_over_noise_hz / self.noise_rise * self._gains(blocks)

    def _gains(self, blocks: NDArray[np.int64]) -> Floats:
        """Remembered in chunks, so that transfers which follow each other do not work out the same blocks again."""
        first, last = int(blocks[0]) // CHUNK, int(blocks[-1]) // CHUNK
        if last - first > 1 or len(blocks) != blocks[-1] - blocks[0] + 1:
            return self.fading.power_gains(self.key, blocks)
        for number in [number for number in self._chunks if not first <= number <= last]:
            del self._chunks[number]
        for number in range(first, last + 1):
            if number not in self._chunks:
                whole = np.arange(number * CHUNK, (number + 1) * CHUNK)
                self._chunks[number] = self.fading.power_gains(self.key, whole)
        begin = int(blocks[0]) - first * CHUNK
        if first == last:
            return self._chunks[first][begin : begin + len(blocks)]
        rest = len(blocks) + begin - CHUNK
        return np.concatenate([self._chunks[first][begin:], self._chunks[last][:rest]])

    def window(self, start_s: float, blocks: int) -> Window:
        if self.recorded is not None:
            return play([self.recorded], self.band_hz, start_s, blocks)
        numbers, borders_s = stretch(self.coherence_time_s, start_s, blocks, self.rate.delay_blocks)
        return Window(borders_s, self.power_over_noise_hz(numbers), self.rate)

    def next_s(self, after_s: float, spread_hz: float) -> float:
        """As `Carrying` has it."""
        if self.recorded is not None:
            return next_s([self.recorded], after_s) if after_s < inf else inf
        return _next_loud_s(self, self.rate.min_snr, after_s, spread_hz)

    def max_snr(self, spread_hz: float) -> float:
        """As `Carrying` has it."""
        return self.mean_power_over_noise_hz / self.noise_rise * self.fading.max_gain / spread_hz

    def silence(self, spread_hz: float) -> str:
        """Why nothing ever gets through where `next_s` is inf, the power spread over `spread_hz`."""
        if self.recorded is not None:
            return "nothing more was recorded on its link"
        mean_snr = self.mean_power_over_noise_hz / self.noise_rise / spread_hz
        mean = "" if self.fading.max_gain == 1 else "mean "
        return f"{mean}SNR {to_db(mean_snr):.0f} dB, the lowest code needs about {to_db(self.rate.min_snr):.0f} dB"


def _next_loud_s(link: RadioLink | MulticastLink, min_snr: float, after_s: float, spread_hz: float) -> float:
    """As `Carrying.next_s` has it, where fading decides: when the next block begins that is above a ratio."""
    if link.max_snr(spread_hz) <= min_snr:
        return inf
    if min_snr == 0 or after_s == inf:
        return after_s
    first, blocks = int(after_s // link.coherence_time_s), FIRST_BLOCKS
    for _ in range(SEARCHED_WINDOWS):
        power = link.power_over_noise_hz(np.arange(first, first + blocks, dtype=np.int64))
        loud = power.reshape(blocks, -1).max(axis=1) > min_snr * spread_hz
        if loud.any():
            first += int(loud.argmax())
            break
        first, blocks = first + blocks, min(2 * blocks, MAX_BLOCKS)
    return max(after_s, first * link.coherence_time_s)


def out_of_range(receivers: Sequence[int], link: Carrying, now_s: float, spread_hz: float) -> list[str]:
    """A sentence for each receiver to which nothing will ever get through as things are."""
    return [
        f"user {user} is out of range: {own.silence(spread_hz)}"
        for user, own in zip(receivers, link.links, strict=True)
        if own.next_s(now_s, spread_hz) == inf
    ]


class MulticastLink:
    """A multicast link: several receivers served at one rate, in every fading block that of the weakest.

    The links share one coherence time and one rate law, or all were recorded in equal steps.
    """

    def __init__(self, links: Sequence[RadioLink]) -> None:
        self._links = links

    @property
    def links(self) -> Sequence[RadioLink]:
        """The links of the receivers, in their order."""
        return self._links

    @property
    def coherence_time_s(self) -> float:
        return self.links[0].coherence_time_s

    def power_over_noise_hz(self, blocks: NDArray[np.int64]) -> Floats:
        """That of the weakest receiver, as `RadioLink` has it."""
        worst: Floats = np.min([link.power_over_noise_hz(blocks) for link in self.links], axis=0)
        return worst

    def window(self, start_s: float, blocks: int) -> Window:
        recorded = [link.recorded for link in self.links if link.recorded is not None]
        if recorded:
            return play(recorded, self.links[0].band_hz, start_s, blocks)
        rate = self.links[0].rate
        numbers, borders_s = stretch(self.coherence_time_s, start_s, blocks, rate.delay_blocks)
        return Window(borders_s, self.power_over_noise_hz(numbers), rate)

    def max_snr(self, spread_hz: float) -> float:
        """As `Carrying` has it: of the weakest receiver."""
        return min(link.max_snr(spread_hz) for link in self.links)

    def next_s(self, after_s: float, spread_hz: float) -> float:
        """As `Carrying` has it: when all receivers may get something."""
        recorded = [link.recorded for link in self.links if link.recorded is not None]
        if recorded:
            return next_s(recorded, after_s) if after_s < inf else inf
        return _next_loud_s(self, self.links[0].rate.min_snr, after_s, spread_hz)
