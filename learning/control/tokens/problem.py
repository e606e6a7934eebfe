"""The token problem: attention mass delivered per second, under limits of bandwidth, power, energy and time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learning.control.rate import Floats, bandwidth_hz, min_energy_j, rate_bps

Counts = NDArray[np.int64]


class TokenAllocation(NamedTuple):
    """Decisions for all users of a round."""

    tokens: Counts
    """(users,): patch tokens sent."""
    bandwidth_hz: Floats
    """(users,): uplink bandwidth in Hz."""
    power_w: Floats
    """(users,): transmit power in W."""


@dataclass(frozen=True)
class TokenProblem:
    """Users that send their most important tokens within one round, in one uplink band.

    Raises ValueError where fewer tokens than `min_tokens` exist.
    """

    importance: Floats
    """(users, patches): attention of a mini-batch's patches, ranked within each sample and summed by rank (Eq. 18)."""
    gain_hz_per_w: Floats
    """(users,): power gain of the uplink over the noise power density."""
    time_left_s: Floats
    """(users,): time left for the upload: the dwell time less what precedes the upload (Eq. 7, 9)."""
    token_bits: Floats | float
    """(users,), or one number for all: bits of one token of all samples of the mini-batch."""
    total_hz: float
    """Bandwidth that all users share, in Hz."""
    max_power_w: float
    """Upper bound on every user's transmit power."""
    max_energy_j: float
    """Upper bound on the radiated energy of an upload."""
    min_tokens: int = 1
    """Lower bound on the patch tokens of a user."""
    extra_tokens: int = 2
    """Tokens sent beside the patches: the class token and the merged one."""
    overhead_bits: Floats | float = 0.0
    """(users,), or one number for all: bits sent beside the tokens, such as labels."""
    optimise_power: bool = True
    """Whether power is optimised; else all users send at `max_power_w`, and keep to their energy by ending earlier."""
    optimise_bandwidth: bool = True
    """Whether bandwidth is optimised; else all users have equal shares."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_tokens <= self.patches:
            raise ValueError(f"at least {self.min_tokens} tokens are required, but there are {self.patches}")

    @property
    def users(self) -> int:
        """Number of users."""
        return int(self.importance.shape[0])

    @property
    def patches(self) -> int:
        """Number of patch tokens of a sample."""
        return int(self.importance.shape[1])

    @property
    def mass(self) -> Floats:
        """(users, patches + 1): attention mass f(K) of the K most important tokens (Eq. 19)."""
        return np.concatenate([np.zeros((self.users, 1)), np.cumsum(self.importance, axis=1)], axis=1)

    def bits(self, tokens: Counts) -> Floats:
        """(..., users): bits of an upload of `tokens` patch tokens, (..., users)."""
        return np.asarray(self.token_bits * (tokens + self.extra_tokens) + self.overhead_bits, dtype=float)

    def seconds(self, allocation: TokenAllocation) -> Floats:
        """(users,): upload times in seconds."""
        rate = rate_bps(allocation.bandwidth_hz, allocation.power_w, self.gain_hz_per_w)
        return self.bits(allocation.tokens) / rate

    def efficiency(self, allocation: TokenAllocation) -> float:
        """Semantic transmission efficiency: attention mass delivered over the latest upload's time (Eq. 20)."""
        delivered = self.mass[np.arange(self.users), allocation.tokens].sum()
        return float(delivered / self.seconds(allocation).max())

    def power_within(self, seconds: Floats) -> Floats:
        """(..., users): the maximum power within the limits of power and energy, for uploads of `seconds`."""
        if not self.optimise_power:
            return np.full_like(seconds, self.max_power_w)
        return np.minimum(self.max_power_w, self.max_energy_j / seconds)

    def seconds_within(self, latency_s: Floats | float) -> Floats:
        """(..., users): longest upload within a latency, the time left and, if power is fixed, the energy."""
        full_s = np.inf if self.optimise_power else self.max_energy_j / self.max_power_w
        return np.minimum(np.minimum(latency_s, self.time_left_s), full_s)

    def fits(self, width_hz: Floats) -> NDArray[np.bool_]:
        """(...,): whether the band, optimised or in equal shares, has the bandwidths that users need, (..., users)."""
        if self.optimise_bandwidth:
            return np.asarray(width_hz.sum(axis=-1) <= self.total_hz)
        return np.asarray(width_hz.max(axis=-1) <= self.total_hz / self.users)

    def shared(self, width_hz: Floats) -> Floats:
        """(users,): division of the whole band in proportion to these widths; equal where it is not optimised."""
        parts = width_hz if self.optimise_bandwidth else np.ones(self.users)
        return np.asarray(parts * (self.total_hz / parts.sum()))

    def min_width_hz(self, tokens: Counts, latency_s: Floats | float) -> Floats:
        """(..., users): bandwidth that each user needs to end within a latency and its own time; infinite if it cannot.

        `tokens` is (..., users), `latency_s` a number or of a shape that broadcasts with it.
        """
        seconds = self.seconds_within(latency_s)
        return bandwidth_hz(self.bits(tokens) / seconds, self.power_within(seconds), self.gain_hz_per_w)

    def shortest_s(self, tokens: Counts) -> Floats:
        """(choices,): shortest latency at which each row of `tokens`, (choices, users), fits the band; else infinite.

        All choices are solved at once by bisection, to a relative 1e-12.
        """
        longest = float(min(np.max(self.time_left_s), 1e9))
        low, high = np.full(len(tokens), 1e-9), np.full(len(tokens), longest)
        for _ in range(100):
            middle = np.sqrt(low * high)
            enough = self.fits(self.min_width_hz(tokens, middle[:, None]))
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
            if (high - low <= 1e-12 * high).all():
                break
        return np.where(self.fits(self.min_width_hz(tokens, high[:, None])), high, np.inf)

    def best_of(self, tokens: Counts) -> TokenAllocation:
        """The allocation of the most efficient row of `tokens`, (choices, users), each at its shortest latency.

        Raises ValueError if no row fits the band.
        """
        latency_s = self.shortest_s(tokens)
        best = int(np.argmax(self.mass[np.arange(self.users), tokens].sum(axis=1) / latency_s))
        if not np.isfinite(latency_s[best]):
            raise ValueError("no choice of tokens fits the band; leave out users that are not admissible")
        width = self.min_width_hz(tokens[best], latency_s[best])
        power = self.power_within(self.seconds_within(latency_s[best]))
        return TokenAllocation(tokens[best], self.shared(width), power)

    def excess(self, allocation: TokenAllocation) -> float:
        """Largest relative excess of an allocation over a limit; at most rounding where it is feasible."""
        seconds = self.seconds(allocation)
        used = [
            allocation.bandwidth_hz.sum() / self.total_hz,
            (allocation.power_w / self.max_power_w).max(),
            (allocation.power_w * seconds / self.max_energy_j).max(),
            (seconds / self.time_left_s).max(),
        ]
        return float(max(used) - 1)

    def of(self, users: Counts) -> TokenProblem:
        """The problem of some of the users, (some,) indices."""
        return replace(
            self,
            importance=self.importance[users],
            gain_hz_per_w=self.gain_hz_per_w[users],
            time_left_s=self.time_left_s[users],
            token_bits=_of(self.token_bits, users),
            overhead_bits=_of(self.overhead_bits, users),
        )


def _of(numbers: Floats | float, users: Counts) -> Floats | float:
    """The numbers of some of the users, or the one number for all."""
    return numbers[users] if isinstance(numbers, np.ndarray) else numbers


def admissible(problem: TokenProblem) -> Counts:
    """(some,): indices of users that can all send `min_tokens` in the same round; the worst channel is dropped first.

    A user without time left, or with less energy than the bits cost in unlimited bandwidth, cannot send at all.
    """
    tokens = np.full(problem.users, problem.min_tokens)
    floor_j = min_energy_j(problem.bits(tokens), problem.gain_hz_per_w)
    staying = np.flatnonzero((problem.time_left_s > 0) & (floor_j < problem.max_energy_j))
    while len(staying):
        some = problem.of(staying)
        if some.fits(some.min_width_hz(tokens[staying], np.inf)):
            break
        staying = np.delete(staying, np.argmin(some.gain_hz_per_w))
    return staying
