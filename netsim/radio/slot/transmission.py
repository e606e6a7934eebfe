"""A transmission in a band of slots: its link, evaluated in fading blocks, and its figures so far."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import simpy

from netsim.radio.handover_gap import HandoverGap
from netsim.radio.link import Carrying
from netsim.radio.scheduling import NOTHING, Receivers, SchedulingGrant
from netsim.radio.window import FIRST_BLOCKS, MAX_BLOCKS, Window
from netsim.streams import Floats


class SlotTransmission:
    """An ongoing transmission in a band of slots."""

    def __init__(
        self,
        env: simpy.Environment,
        link: Carrying,
        receivers: Receivers,
        bits: float,
        radiate: Callable[[float], None] | None,
        stream: Hashable | None = None,
    ) -> None:
        self.link, self.receivers, self.bits, self.stream = link, receivers, bits, stream
        self.done = simpy.Event(env)
        self.start_s: float = env.now
        self.handover_gap = HandoverGap()
        self.grant: SchedulingGrant = NOTHING
        self.remaining_bits = bits
        self.attempts = self.failed = 0
        self.signal = 0.0
        """Sum of the signal-to-noise ratio over slots in which it was sending."""
        self.slots = 0
        """Slots in which it was sending."""
        self.radiated = 0.0
        """Part of the sender's power that is on the air now."""
        self._radiate = radiate
        self._radiated_time, self._since_s = 0.0, self.start_s
        self.failed_link = False
        """True if it was abandoned because a block reached the maximum number of retransmissions."""
        self.unreached_hz: float | None = None
        """Bandwidth over its part of the power, if nothing of it can ever arrive as things are; `SlotMedium` knows."""
        self._window: Window | None = None
        self._blocks = FIRST_BLOCKS

    @property
    def transmissions(self) -> Sequence[SlotTransmission]:
        """Itself: a signal of its own, as `SlotStream` is that of several."""
        return (self,)

    @property
    def delivered_bits(self) -> float:
        return self.bits - self.remaining_bits

    def mean_snr(self) -> float | None:
        return self.signal / self.slots if self.slots else None

    def mean_power(self) -> float:
        elapsed_s = self._since_s - self.start_s - self.handover_gap.total_s
        return self._radiated_time / elapsed_s if elapsed_s > 0 else 0.0

    def radiate(self, now_s: float, power: float) -> None:
        """From now on a part of the sender's power is on the air."""
        self._radiated_time += self.radiated * (now_s - self._since_s)
        self._since_s = now_s
        if power != self.radiated and self._radiate is not None:
            self._radiate(power)
        self.radiated = power

    def out_of_range(self, now_s: float) -> list[str]:
        """A sentence on the receiver that is worst off, where nothing of it can ever arrive as things are."""
        if self.unreached_hz is None:
            return []
        pairs = zip(self.receivers, self.link.links, strict=True)
        user, link = min(pairs, key=lambda pair: pair[1].max_snr(1.0))
        return [f"user {user} is out of range: {link.silence(self.unreached_hz)}"]

    def leave(self, now_s: float) -> None:
        """Be at no station from now on, until `join`."""
        self.radiate(now_s, 0.0)
        self.grant = NOTHING
        self.refresh_link()
        self.handover_gap.begin(now_s)

    def join(self, now_s: float) -> None:
        """Be at a station again."""
        self.handover_gap.end(now_s)
        self._since_s = now_s

    def refresh_link(self) -> None:
        """Evaluate the link anew, as it has changed."""
        self._window, self._blocks = None, FIRST_BLOCKS

    def signal_at(self, now_s: float) -> tuple[Floats, float]:
        """Power over noise density in Hz now, one number or one for each resource block, and until when that holds."""
        if self._window is None or now_s >= self._window.end_s:
            self._window = self.link.window(now_s, self._blocks)
            self._blocks = min(2 * self._blocks, MAX_BLOCKS)
        block = self._window.block(now_s)
        signal = self._window.power_over_noise_hz[self._window.rate.delay_blocks + block]
        return np.atleast_1d(signal), self._window.borders_s[block + 1]
