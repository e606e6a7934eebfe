"""The problem: attention mass delivered in a second, under limits of bandwidth, power, energy and time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learning.control.rate import Floats, bandwidth_hz, min_energy_j, rate_bps

Counts = NDArray[np.int64]


class Allocation(NamedTuple):
    """For each user: patch tokens sent, bandwidth, transmit power."""

    tokens: Counts
    bandwidth_hz: Floats
    power_w: Floats


@dataclass(frozen=True)
class TokenProblem:
    """Users that are to send their most important tokens within one round.

    Raises ValueError where fewer tokens than `min_tokens` exist.
    """

    importance: Floats
    """(users, patches): attention of a mini-batch's patches, ranked within each sample and summed by rank (Eq. 18)."""
    gain_hz_per_w: Floats
    """Power gain of each user's channel over the noise power density."""
    room_s: Floats
    """Time that each user has for its upload: standing time less what goes before (Eq. 7, 9)."""
    token_bits: Floats | float
    """Bits of one token of all samples of the mini-batch, of each user or alike."""
    total_hz: float
    """Bandwidth that all share."""
    max_power_w: float
    """Transmit power of a user at most."""
    max_energy_j: float
    """Radiated energy of an upload at most."""
    min_tokens: int = 1
    """Patch tokens that a user sends at least."""
    extra_tokens: int = 2
    """Tokens sent beside the patches: the class token and the merged one."""
    overhead_bits: Floats | float = 0.0
    """Bits sent beside the tokens: labels, of each user or alike."""
    own_power: bool = True
    """Whether power is chosen; else everybody sends with the most, and keeps to its energy by being done earlier."""
    own_width: bool = True
    """Whether bandwidth is chosen; else everybody has an equal part."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_tokens <= self.patches:
            raise ValueError(f"at least {self.min_tokens} tokens are asked for, but there are {self.patches}")

    @property
    def users(self) -> int:
        return int(self.importance.shape[0])

    @property
    def patches(self) -> int:
        return int(self.importance.shape[1])

    @property
    def mass(self) -> Floats:
        """(users, patches + 1): attention mass f(K) of the K most important tokens (Eq. 19)."""
        return np.concatenate([np.zeros((self.users, 1)), np.cumsum(self.importance, axis=1)], axis=1)

    def bits(self, tokens: Counts) -> Floats:
        """Payload of so many patch tokens, (..., users)."""
        return np.asarray(self.token_bits * (tokens + self.extra_tokens) + self.overhead_bits, dtype=float)

    def seconds(self, allocation: Allocation) -> Floats:
        """Upload time of each user."""
        rate = rate_bps(allocation.bandwidth_hz, allocation.power_w, self.gain_hz_per_w)
        return self.bits(allocation.tokens) / rate

    def efficiency(self, allocation: Allocation) -> float:
        """Semantic transmission efficiency: attention mass delivered over the latest upload's time (Eq. 20)."""
        delivered = self.mass[np.arange(self.users), allocation.tokens].sum()
        return float(delivered / self.seconds(allocation).max())

    def power_within(self, seconds: Floats) -> Floats:
        """The most power with which sending for so long stays within power and energy limits."""
        if not self.own_power:
            return np.full_like(seconds, self.max_power_w)
        return np.minimum(self.max_power_w, self.max_energy_j / seconds)

    def seconds_within(self, latency_s: Floats | float) -> Floats:
        """(..., users): how long each may send, of a latency: as long as it is there and, at full power, has energy."""
        full_s = np.inf if self.own_power else self.max_energy_j / self.max_power_w
        return np.minimum(np.minimum(latency_s, self.room_s), full_s)

    def fits(self, width_hz: Floats) -> NDArray[np.bool_]:
        """Whether all users have the bandwidth that they need, (..., users), be it chosen or an equal part."""
        if self.own_width:
            return np.asarray(width_hz.sum(axis=-1) <= self.total_hz)
        return np.asarray(width_hz.max(axis=-1) <= self.total_hz / self.users)

    def shared(self, width_hz: Floats) -> Floats:
        """(users,): the whole band, in proportion to these widths, or in equal parts where it is not chosen."""
        parts = width_hz if self.own_width else np.ones(self.users)
        return np.asarray(parts * (self.total_hz / parts.sum()))

    def min_width_hz(self, tokens: Counts, latency_s: Floats | float) -> Floats:
        """The bandwidth that each user needs to be done within a latency and its own time; infinite if none will do.

        `tokens` is (users,) or (..., users), `latency_s` a number or of a shape that goes with it.
        """
        seconds = self.seconds_within(latency_s)
        return bandwidth_hz(self.bits(tokens) / seconds, self.power_within(seconds), self.gain_hz_per_w)

    def shortest_s(self, tokens: Counts) -> Floats:
        """The shortest latency in which each row of `tokens`, (choices, users), fits into the bandwidth; else infinite.

        All choices are bisected at once, to a relative 1e-12.
        """
        longest = float(min(np.max(self.room_s), 1e9))
        low, high = np.full(len(tokens), 1e-9), np.full(len(tokens), longest)
        for _ in range(100):
            middle = np.sqrt(low * high)
            enough = self.fits(self.min_width_hz(tokens, middle[:, None]))
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
            if (high - low <= 1e-12 * high).all():
                break
        return np.where(self.fits(self.min_width_hz(tokens, high[:, None])), high, np.inf)

    def best_of(self, tokens: Counts) -> Allocation:
        """The best row of `tokens`, (choices, users), each at its shortest latency.

        Raises ValueError if none fits.
        """
        latency_s = self.shortest_s(tokens)
        best = int(np.argmax(self.mass[np.arange(self.users), tokens].sum(axis=1) / latency_s))
        if not np.isfinite(latency_s[best]):
            raise ValueError("no choice of tokens fits; leave out who is not admissible")
        width = self.min_width_hz(tokens[best], latency_s[best])
        power = self.power_within(self.seconds_within(latency_s[best]))
        return Allocation(tokens[best], self.shared(width), power)

    def excess(self, allocation: Allocation) -> float:
        """By how much an allocation breaks a limit, relatively; rounding apart it should not."""
        seconds = self.seconds(allocation)
        used = [
            allocation.bandwidth_hz.sum() / self.total_hz,
            (allocation.power_w / self.max_power_w).max(),
            (allocation.power_w * seconds / self.max_energy_j).max(),
            (seconds / self.room_s).max(),
        ]
        return float(max(used) - 1)

    def of(self, users: Counts) -> TokenProblem:
        """The problem of some of the users."""
        rows: dict[str, Any] = {name: getattr(self, name)[users] for name in ("importance", "gain_hz_per_w", "room_s")}
        for name in ("token_bits", "overhead_bits"):
            if np.ndim(bits := getattr(self, name)):
                rows[name] = bits[users]
        return replace(self, **rows)


def admissible(problem: TokenProblem) -> Counts:
    """The users that can send at least their least tokens, all at once; the worst channel is dropped first.

    A user whose energy is less than the bits cost in endless bandwidth, or who has no time left, cannot send at all.
    """
    tokens = np.full(problem.users, problem.min_tokens)
    floor_j = min_energy_j(problem.bits(tokens), problem.gain_hz_per_w)
    staying = np.flatnonzero((problem.room_s > 0) & (floor_j < problem.max_energy_j))
    while len(staying):
        some = problem.of(staying)
        if some.fits(some.min_width_hz(tokens[staying], np.inf)):
            break
        staying = np.delete(staying, np.argmin(some.gain_hz_per_w))
    return staying
