"""Radio links: received power over noise and interference by fading block, and the bits that a link carries."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netsim.radio.chunks import CHUNK, Chunks, ChunkWindow
from netsim.radio.fading import Gains
from netsim.radio.rate import RateLaw, Shannon
from netsim.radio.rate.symbols import SymbolRate
from netsim.radio.recorded import Playback, next_s, play
from netsim.radio.window import FIRST_BLOCKS, MAX_BLOCKS, ArrayWindow, Window, stretch
from netsim.streams import Floats
from netsim.units import to_db

SEARCHED_WINDOWS = 256
"""Maximum number of windows, of up to `MAX_BLOCKS` fading blocks each, in one search for a block with a positive rate;
simulated time passes before the next search."""


class Carrying(Protocol):
    """The link of a transmission, or its links to several receivers."""

    noise_rise: float
    """Noise and interference over noise, where that is one number for the received power of all blocks; 1 otherwise."""

    @property
    def links(self) -> Sequence[RadioLink]:
        """The link of each receiver."""
        ...

    def window(self, start_s: float, blocks: int) -> Window:
        """Return the rates of the link in `blocks` fading blocks from the simulated time `start_s` in seconds on."""
        ...

    def max_snr(self, spread_hz: float) -> float:
        """Return an upper bound of the signal-to-noise ratio, for all fading, at the present noise and mean gain.

        Args:
            spread_hz: bandwidth over which the power is spread, in Hz.
        """
        ...

    def next_s(self, after_s: float, spread_hz: float) -> float:
        """Return the first time in seconds, from `after_s` on, at which the rate may be positive.

        It is inf if the rate is 0 for good, by the recording or by the limits of fading and rate law. A long search
        ends early, at a time up to which the rate is 0.

        Args:
            after_s: simulated time in seconds.
            spread_hz: bandwidth over which the power is spread, in Hz.
        """
        ...


class RadioLink:
    """The radio link between a user and a station in one direction."""

    def __init__(
        self,
        mean_power_over_noise_hz: float,
        fading: Gains,
        key: int,
        rate: RateLaw = Shannon(),  # noqa: B008
        recorded: Playback | None = None,
        band_hz: float = inf,
    ) -> None:
        """Create a link.

        Args:
            mean_power_over_noise_hz: mean received power (transmit power times mean gain) over the receiver's noise
                power density, in Hz.
            fading: fading gains of the channel.
            key: key of the link's stream of random numbers.
            rate: the rate law.
            recorded: recorded rates, which replace all of the above; None is none.
            band_hz: bandwidth of a recorded link in Hz.
        """
        self.recorded, self.band_hz = recorded, band_hz
        self.mean_power_over_noise_hz = mean_power_over_noise_hz
        self.noise_rise = 1.0
        """Noise and interference over noise at the receiver; ongoing transmissions must be updated when it changes."""
        self.fading = fading
        self.key = key
        self.rate = rate
        self._chunks = Chunks(fading, key, rate)

    @property
    def links(self) -> Sequence[RadioLink]:
        """The link itself, as for a multicast link."""
        return (self,)

    @property
    def coherence_time_s(self) -> float:
        return self.fading.coherence_time_s if self.recorded is None else self.recorded.step_s

    def power_over_noise_hz(self, blocks: NDArray[np.int64]) -> Floats:
        """Return received power over power density of noise and interference, in Hz, in some fading blocks.

        Divided by the bandwidth over which the power is spread it is the signal-to-noise ratio.

        Args:
            blocks: numbers of the fading blocks, shape (blocks,).

        Returns:
            Shape (blocks,) for flat fading, (blocks, resource blocks) for frequency-selective fading.
        """
        return self.mean_power_over_noise_hz / self.noise_rise * self._chunks.gains(blocks)

    def window(self, start_s: float, blocks: int) -> Window:
        if self.recorded is not None:
            return play([self.recorded], self.band_hz, start_s, blocks)
        if blocks <= CHUNK:
            return ChunkWindow(self._chunks, self.mean_power_over_noise_hz / self.noise_rise, start_s, blocks)
        numbers, borders_s = stretch(self.coherence_time_s, start_s, blocks, self.rate.delay_blocks)
        return ArrayWindow(borders_s, self.power_over_noise_hz(numbers), self.rate)

    def next_s(self, after_s: float, spread_hz: float) -> float:
        """As `Carrying` has it."""
        if self.recorded is not None:
            return next_s([self.recorded], after_s) if after_s < inf else inf
        return _next_loud_s(self, self.rate.min_snr, after_s, spread_hz)

    def max_snr(self, spread_hz: float) -> float:
        """As `Carrying` has it."""
        return self.mean_power_over_noise_hz / self.noise_rise * self.fading.max_gain / spread_hz

    def least_s(self, bits: float, band_hz: float) -> float:
        """Return a lower bound, for all fading or all of a recording, of the time in s that `bits` bits take.

        They have the whole band of `band_hz`, in Hz.
        """
        if self.recorded is not None:
            fastest_bps = self.recorded.fastest_bps
            return bits / fastest_bps if fastest_bps else inf
        best = self.rate.efficiency(np.full(self.rate.delay_blocks + 1, self.max_snr(band_hz)))
        rate_bps = band_hz * float(best[0])
        return bits / rate_bps if rate_bps else inf

    def silence(self, spread_hz: float) -> str:
        """Return the reason, in words, why `next_s` is inf for power spread over `spread_hz` in Hz."""
        if self.recorded is not None:
            return "nothing more was recorded on its link"
        mean_snr = self.mean_power_over_noise_hz / self.noise_rise / spread_hz
        mean = "" if self.fading.max_gain == 1 else "mean "
        return f"{mean}SNR {to_db(mean_snr):.0f} dB, the lowest code needs about {to_db(self.rate.min_snr):.0f} dB"


def _next_loud_s(link: RadioLink | MulticastLink, min_snr: float, after_s: float, spread_hz: float) -> float:
    """`Carrying.next_s` for a fading link: the start of the next block with a signal-to-noise ratio above `min_snr`."""
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
    """Return a sentence for each receiver whose rate is 0 for good under present conditions.

    Args:
        receivers: numbers of the users.
        link: the link to them.
        now_s: simulated time in seconds.
        spread_hz: bandwidth over which the power is spread, in Hz.
    """
    return [
        f"user {user} is out of range: {own.silence(spread_hz)}"
        for user, own in zip(receivers, link.links, strict=True)
        if own.next_s(now_s, spread_hz) == inf
    ]


class MulticastLink:
    """A multicast link: several receivers served at one rate, in each fading block that of the weakest.

    The links have the same coherence time and rate law, or all are recorded with the same length of a step.
    """

    def __init__(self, links: Sequence[RadioLink]) -> None:
        self._links = links
        self.noise_rise = 1.0
        """1: that of each receiver is in the received power of its own link."""

    @property
    def links(self) -> Sequence[RadioLink]:
        """The links of the receivers, in order."""
        return self._links

    @property
    def coherence_time_s(self) -> float:
        return self.links[0].coherence_time_s

    def power_over_noise_hz(self, blocks: NDArray[np.int64]) -> Floats:
        """Return the minimum over receivers; see `RadioLink.power_over_noise_hz`."""
        worst: Floats = np.min([link.power_over_noise_hz(blocks) for link in self.links], axis=0)
        return worst

    def window(self, start_s: float, blocks: int) -> Window:
        recorded = [link.recorded for link in self.links if link.recorded is not None]
        if recorded:
            return play(recorded, self.links[0].band_hz, start_s, blocks)
        rate = self.links[0].rate
        numbers, borders_s = stretch(self.coherence_time_s, start_s, blocks, rate.delay_blocks)
        return ArrayWindow(borders_s, self.power_over_noise_hz(numbers), rate)

    def max_snr(self, spread_hz: float) -> float:
        """Return the bound of the weakest receiver; see `Carrying.max_snr`."""
        return min(link.max_snr(spread_hz) for link in self.links)

    def next_s(self, after_s: float, spread_hz: float) -> float:
        """Return the first time at which the rates of all receivers may be positive; see `Carrying.next_s`."""
        recorded = [link.recorded for link in self.links if link.recorded is not None]
        if recorded:
            return next_s(recorded, after_s) if after_s < inf else inf
        return _next_loud_s(self, self.links[0].rate.min_snr, after_s, spread_hz)


class SymbolLink:
    """A link to one receiver as it carries modulated symbols, whose number does not depend on the channel."""

    def __init__(self, link: RadioLink) -> None:
        self._link = link

    @property
    def noise_rise(self) -> float:
        """That of the link."""
        return self._link.noise_rise

    @noise_rise.setter
    def noise_rise(self, noise_rise: float) -> None:
        self._link.noise_rise = noise_rise

    @property
    def links(self) -> Sequence[RadioLink]:
        """The link itself."""
        return (self._link,)

    def window(self, start_s: float, blocks: int) -> Window:
        rate = SymbolRate(self._link.rate)
        numbers, borders_s = stretch(self._link.coherence_time_s, start_s, blocks, rate.delay_blocks)
        return ArrayWindow(borders_s, self._link.power_over_noise_hz(numbers), rate)

    def max_snr(self, spread_hz: float) -> float:
        """Return the bound of the link; see `Carrying.max_snr`."""
        return self._link.max_snr(spread_hz)

    def next_s(self, after_s: float, spread_hz: float) -> float:
        """Return `after_s`: symbols always arrive."""
        return after_s
