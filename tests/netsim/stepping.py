"""The medium once more, by brute force: one step for each fading block and each change of shares, in plain floats."""

from dataclasses import dataclass, field
from math import floor, inf, log2

from netsim.radio.sharing import Scheduler


@dataclass
class Sending:
    """Bits that a user starts to send at `start_s` and gives up at `until_s`, over a link of given gains."""

    user: int
    start_s: float
    until_s: float
    bits: float
    power_over_noise_hz: list[float]  # of block 0, 1, ..., repeated for ever
    delivered_bits: float = field(default=0.0, init=False)
    end_s: float = field(default=inf, init=False)


@dataclass
class Stepping:
    """A band as `Medium` has it."""

    bandwidth_hz: float
    scheduler: Scheduler
    attached: list[int]
    spread: bool
    gap: float
    block_s: float

    def run(self, sendings: list[Sending]) -> None:
        """Fill in what was delivered until when."""
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
            next_s = min([now_s + step for step in steps] + borders + [self._border_s(now_s)])
            for sending, rate, step in zip(active, rates, steps, strict=True):
                sending.delivered_bits += rate * (next_s - now_s)
                if now_s + step <= next_s * (1 + 1e-15) or sending.until_s <= next_s:
                    sending.end_s = next_s
            active = [sending for sending in active if sending.end_s == inf]
            now_s = next_s

    def _border_s(self, now_s: float) -> float:
        block = floor(now_s / self.block_s)
        while (block := block + 1) * self.block_s <= now_s:
            pass
        return block * self.block_s

    def _rates(self, active: list[Sending], now_s: float) -> list[float]:
        block = round(self._border_s(now_s) / self.block_s) - 1
        out = []
        grants = self.scheduler.grants([(sending.user,) for sending in active], self.attached) if active else []
        for sending, grant in zip(active, grants, strict=True):
            band_hz = grant.band * self.bandwidth_hz
            if not band_hz:
                out.append(0.0)
                continue
            signal_hz = sending.power_over_noise_hz[block % len(sending.power_over_noise_hz)]
            snr = grant.power * signal_hz / (self.bandwidth_hz if self.spread else band_hz)
            out.append(band_hz * log2(1 + snr / self.gap))
        return out
