"""The medium once more, by brute force: one step for each fading block and each change of shares, in plain floats."""

from dataclasses import dataclass, field
from math import floor, inf, log2

from netsim.radio.scheduling import Contenders, Receivers, Scheduler, Served


@dataclass(eq=False)
class Sending:
    """Bits that a user starts to send at `start_s` and gives up at `until_s`, over a link of given gains."""

    user: int
    start_s: float
    until_s: float
    bits: float
    power_over_noise_hz: list[float]  # of block 0, 1, ..., repeated for ever
    stream: int | None = field(default=None, kw_only=True)
    delivered_bits: float = field(default=0.0, init=False)
    end_s: float = field(default=inf, init=False)
    served: Served | None = field(default=None, init=False)
    band: "Stepping" = field(init=False)

    @property
    def receivers(self) -> Receivers:
        return (self.user,)

    def signal_hz(self, now_s: float) -> float:
        return self.power_over_noise_hz[self.block(now_s) % len(self.power_over_noise_hz)]

    def efficiency(self, now_s: float) -> float:
        return log2(1 + self.signal_hz(now_s) / self.band.bandwidth_hz / self.band.gap)

    def border_s(self, now_s: float) -> float:
        return (self.block(now_s) + 1) * self.band.block_s

    def block(self, now_s: float) -> int:
        block = floor(now_s / self.band.block_s)
        while (block + 1) * self.band.block_s <= now_s:
            block += 1
        return block


@dataclass(eq=False)
class StreamSending:
    """Those that listen to one rateless stream: to a scheduler one that sends at the sum of their rates."""

    listening: list[Sending] = field(default_factory=list)
    served: Served | None = field(default=None, init=False)

    @property
    def receivers(self) -> Receivers:
        return tuple(sending.user for sending in self.listening)

    def efficiency(self, now_s: float) -> float:
        return sum(sending.efficiency(now_s) for sending in self.listening)

    def border_s(self, now_s: float) -> float:
        return min(sending.border_s(now_s) for sending in self.listening)


@dataclass
class Stepping:
    """A band as `FlowMedium` has it."""

    bandwidth_hz: float
    scheduler: Scheduler
    attached: list[int]
    spread: bool
    gap: float
    block_s: float
    streams: dict[int, StreamSending] = field(default_factory=dict, init=False)

    def run(self, sendings: list[Sending]) -> None:
        """Fill in what was delivered until when."""
        for sending in sendings:
            sending.band = self
        waiting = sorted(sendings, key=lambda sending: sending.start_s)
        active: list[Sending] = []
        now_s = 0.0
        while waiting or active:
            active += [sending for sending in waiting if sending.start_s <= now_s]
            waiting = [sending for sending in waiting if sending.start_s > now_s]
            rates = self._rates(active, now_s)
            steps = [
                (sending.bits - sending.delivered_bits) / rate if rate else inf
                for sending, rate in zip(active, rates, strict=True)
            ]
            borders = [sending.start_s for sending in waiting] + [sending.until_s for sending in active]
            next_s = min([now_s + step for step in steps] + borders + [sending.border_s(now_s) for sending in active])
            for sending, rate, step in zip(active, rates, steps, strict=True):
                sending.delivered_bits += rate * (next_s - now_s)
                if now_s + step <= next_s * (1 + 1e-15) or sending.until_s <= next_s:
                    sending.end_s = next_s
            active = [sending for sending in active if sending.end_s == inf]
            now_s = next_s

    def _rates(self, active: list[Sending], now_s: float) -> list[float]:
        out = []
        signals = self._signals(active)
        grants = self.scheduler.grants(Contenders(signals), self.attached, now_s) if active else []
        granted = dict(zip(signals, grants, strict=True))
        for sending in active:
            grant = granted[self._signal(sending)]
            band_hz = grant.band * self.bandwidth_hz
            if not band_hz:
                out.append(0.0)
                continue
            snr = grant.power * sending.signal_hz(now_s) / (self.bandwidth_hz if self.spread else band_hz)
            out.append(grant.time * band_hz * log2(1 + snr / self.gap))
        return out

    def _signals(self, active: list[Sending]) -> list[Sending | StreamSending]:
        """One for each that sends, one for each stream that is on the air; a stream that was not is a new one."""
        listening: dict[int, list[Sending]] = {}
        for sending in active:
            if sending.stream is not None:
                listening.setdefault(sending.stream, []).append(sending)
        self.streams = {stream: self.streams.get(stream, StreamSending()) for stream in listening}
        for stream, sendings in listening.items():
            self.streams[stream].listening = sendings
        return list(dict.fromkeys(map(self._signal, active)))

    def _signal(self, sending: Sending) -> Sending | StreamSending:
        return sending if sending.stream is None else self.streams[sending.stream]
