"""A transmission: bits on their way over a link at a rate that changes with fading and with the share of the band."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from math import inf

import simpy

from netsim.radio.band import COMPLETE
from netsim.radio.handover_gap import HandoverGap
from netsim.radio.link import Carrying, out_of_range
from netsim.radio.scheduling import NOTHING, Receivers, SchedulingGrant, Served
from netsim.radio.window import FIRST_BLOCKS, MAX_BLOCKS, Window


class FlowTransmission:
    """An ongoing transmission in a band that is a fluid flow. At `due_s` it ends, or its rate must be extended."""

    __slots__ = (
        "__weakref__", "_band_hz", "_before", "_blocks", "_efficiency", "_finish_s", "_integrated_s", "_radiated",
        "_signal_before", "_spread", "_spread_hz", "_used_hz", "_window", "bits", "done", "due_s", "grant",
        "handover_gap", "link", "radiate", "radiated_time", "receivers", "remaining_bits", "sending_s", "served",
        "signal_time", "since_s", "start_s", "station", "stream",
    )  # fmt: skip

    def __init__(
        self,
        env: simpy.Environment,
        link: Carrying,
        receivers: Receivers,
        bits: float,
        band_hz: float,
        radiate: Callable[[float], None] | None = None,
        stream: Hashable | None = None,
        *,
        spread: bool,
    ) -> None:
        """The sender's power is spread over the whole band, or sits in the part that the transmission gets."""
        self._band_hz, self._spread = band_hz, spread
        self.link, self.receivers, self.bits, self.radiate, self.stream = link, receivers, bits, radiate, stream
        self.served: Served | None
        """As `ScheduledTransmission` has it."""
        self.station = 0
        """Number of the station in whose band it is, among stations that interfere."""
        self.done = simpy.Event(env)
        self.start_s = self.since_s = env.now
        self.handover_gap = HandoverGap()
        self.remaining_bits = bits
        self.grant, self.served = NOTHING, None
        self._radiated = self._used_hz = 0.0  # averaged over turns
        self.due_s = self._finish_s = inf
        self._blocks = FIRST_BLOCKS
        self.sending_s = 0.0
        """Time in seconds with a part of the band."""
        self.radiated_time = self.signal_time = 0.0  # integrals over time
        self._before = self._signal_before = 0.0  # integrals of the window at `_integrated_s`
        self._integrated_s = -inf
        self._spread_hz = inf
        self._window: Window | None = None

    @property
    def transmissions(self) -> Sequence[FlowTransmission]:
        """Itself: a signal of its own, as `FlowStream` is that of several."""
        return (self,)

    @property
    def delivered_bits(self) -> float:
        return self.bits - self.remaining_bits

    @property
    def attempts(self) -> int:
        """One: a fluid flow loses nothing."""
        return 1

    @property
    def failed(self) -> int:
        return 0

    @property
    def failed_link(self) -> bool:
        """Never: a fluid flow has no retransmissions to limit."""
        return False

    def mean_snr(self) -> float | None:
        """Signal-to-noise ratio averaged over the time with a part of the band; None before there was any.

        In a broadcast it is the ratio that sets the rate: in each block the weakest receiver's.
        """
        return self.signal_time / self.sending_s if self.sending_s > 0 else None

    def mean_power(self) -> float:
        """Part of the sender's power that was on the air, averaged over the time at a station."""
        elapsed_s = self.since_s - self.start_s - self.handover_gap.total_s
        return self.radiated_time / elapsed_s if elapsed_s > 0 else 0.0

    def advance(self, now_s: float) -> None:
        """Deliver what the present rate has carried until now."""
        if now_s > self.since_s:
            if self._window is not None and self._used_hz:
                block = self._window.block(now_s)
                carried = self._efficiency.until(block, now_s)
                signal = self._window.signal_until(block, now_s)
                self.remaining_bits -= self._used_hz * (carried - self._before)
                self.signal_time += (signal - self._signal_before) / self._spread_hz
                self.sending_s += now_s - self.since_s
                self.radiated_time += (now_s - self.since_s) * self._radiated
                self._before, self._signal_before, self._integrated_s = carried, signal, now_s
            self.since_s = now_s
        if now_s >= self._finish_s or self.remaining_bits <= COMPLETE * self.bits:
            self.remaining_bits = 0.0

    def report(
        self,
        now_s: float,
        grant: SchedulingGrant,
        remaining_bits: float,
        signal_time: float,
        sending_s: float,
        radiated_time: float,
    ) -> None:
        """Set the figures at `now_s`, in seconds, that were computed for all transmissions of a band together."""
        self.since_s, self.grant, self.remaining_bits = now_s, grant, remaining_bits
        self._radiated = grant.radiated
        self._used_hz, self._finish_s = 0.0, inf  # until it is rated by itself
        self.signal_time, self.sending_s, self.radiated_time = signal_time, sending_s, radiated_time
        if grant.band:
            self._spread_hz = self.spread_hz(grant)

    def spread_hz(self, grant: SchedulingGrant) -> float:
        """Bandwidth in Hz over which the sender's whole power would have the density that it has under a grant."""
        return (self._band_hz if self._spread else grant.band * self._band_hz) / grant.power if grant.power else inf

    def refresh_link(self) -> None:
        """Evaluate the link anew, as it has changed. Call `advance` before and `rate` after."""
        self._window, self._blocks = None, FIRST_BLOCKS

    def leave(self, now_s: float) -> None:
        """Be at no station from now on, until `join`. Call `advance` before."""
        self.rate(now_s, NOTHING)
        self.refresh_link()
        self.handover_gap.begin(now_s)

    def join(self, now_s: float) -> None:
        """Be at a station again."""
        self.handover_gap.end(now_s)
        self.since_s = now_s

    def rate(self, now_s: float, grant: SchedulingGrant) -> None:
        """From now on use this part of the band. Call `advance` before.

        `due_s` becomes the end of the transmission, or of the known fading blocks if that comes first; without any
        part of the band, never.
        """
        radiated = grant.radiated
        if self.radiate is not None and radiated != self._radiated:
            self.radiate(radiated)
        self.grant, self._radiated, self.since_s = grant, radiated, now_s
        self._used_hz = grant.band * grant.time * self._band_hz
        if self._used_hz:
            self._schedule(now_s, self.spread_hz(grant))
        else:
            self.due_s = self._finish_s = inf

    def efficiency(self, now_s: float) -> float:
        """Goodput in bit/s/Hz that it would have now if it were alone on the band."""
        return self.present(now_s)[0]

    def border_s(self, now_s: float) -> float:
        """When the present fading block ends; where it carries nothing, when one begins that may."""
        return self.present(now_s)[1]

    def present(self, now_s: float) -> tuple[float, float]:
        """`efficiency` and `border_s`, from one look at the present fading block."""
        window = self._window_at(now_s)
        block = window.block(now_s)
        rate, border_s = window.efficiency(self._band_hz).value(block), window.borders_s[block + 1]
        return rate, border_s if rate else self.link.next_s(border_s, self._band_hz)

    def out_of_range(self, now_s: float) -> list[str]:
        """A sentence for each receiver to which nothing will ever get through as things are."""
        spread_hz = self._band_hz if self._spread_hz == inf else self._spread_hz
        return out_of_range(self.receivers, self.link, now_s, spread_hz)

    def _schedule(self, now_s: float, spread_hz: float) -> None:
        before = self._window
        window = self._window_at(now_s)
        known = window is before and self._integrated_s == now_s  # by `advance`, which comes before
        if not known or spread_hz != self._spread_hz:
            block = window.block(now_s)
            self._efficiency = window.efficiency(spread_hz)
            self._before = self._efficiency.until(block, now_s)
            if not known:
                self._signal_before = window.signal.until(block, now_s)
            self._integrated_s = now_s
        self._finish_s = self._efficiency.crossing_s(self._before + self.remaining_bits / self._used_hz)
        self._spread_hz = spread_hz
        if self._finish_s < inf or self._efficiency.total > self._before:
            self.due_s = max(now_s, min(self._finish_s, window.end_s))
        else:  # inf if out of range, or past the end of a recording: until something else changes
            self.due_s, self._blocks = self.link.next_s(window.end_s, spread_hz), FIRST_BLOCKS

    def _window_at(self, now_s: float) -> Window:
        if self._window is None or now_s >= self._window.end_s:
            self._window = self.link.window(now_s, self._blocks)
            self._blocks = min(2 * self._blocks, MAX_BLOCKS)
        return self._window
