"""The length problem: the weighted sum of latency and validation loss, under budgets of bandwidth and power."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learning.control.rate import Floats, rate_bps

Counts = NDArray[np.int64]


class LengthAllocation(NamedTuple):
    """Decisions for all users."""

    lengths: Counts
    """(users,): tokens that are sent of a sample."""
    bandwidth_hz: Floats
    """(users,): uplink bandwidth in Hz."""
    power_w: Floats
    """(users,): transmit power in W."""


@dataclass(frozen=True)
class ServerTime:
    """Time of the server's passes: for each team constant, linear and quadratic in the tokens that it reads."""

    team: Counts
    """(users,): number of the team whose tokens are read together, from 0."""
    fixed_s: float = 0.0
    """Time for all teams that does not depend on lengths."""
    token_s: Floats | float = 0.0
    """(users,), or one number for all: time for one token of a user, of all samples."""
    square_s: Floats | float = 0.0
    """(teams,), or one number for all: time for each pair of tokens that are read together, which is attention."""

    def seconds(self, lengths: Counts) -> Floats:
        """(...,): time for lengths (..., users)."""
        linear = (self.token_s * lengths).sum(axis=-1)
        pairs = (self.square_s * (lengths @ self._members) ** 2).sum(axis=-1)
        return np.asarray(self.fixed_s + linear + pairs)

    def marginal_s(self, lengths: Counts) -> Floats:
        """(users,): derivative of the time by each user's length, at these lengths."""
        pairs = (self.square_s * (lengths @ self._members))[self.team]
        return np.asarray(self.token_s + 2 * pairs, dtype=float)

    @property
    def _members(self) -> Counts:
        """(users, teams): 1 where a user belongs to a team."""
        return np.asarray(self.team[:, None] == np.arange(self.team.max() + 1), dtype=np.int64)


@dataclass(frozen=True)
class LengthProblem:
    """Users that send tokens of their samples in one uplink band to a server that reads all of them.

    Tables have one column for each length from 0, which no user takes, to that of the longest sequence.
    """

    bits: Floats
    """(users, lengths): bits of an upload."""
    device_s: Floats
    """(users, lengths): time on the device before the upload."""
    loss: Floats
    """(users, lengths): part of the validation loss that depends on the user's length; infinite where that length is
    not allowed."""
    gain_hz_per_w: Floats
    """(users,): power gain of the uplink over the noise power density."""
    max_power_w: Floats
    """(users,): upper bound on the user's transmit power."""
    total_hz: float
    """Bandwidth that all users share, in Hz."""
    server: ServerTime
    """Time of the server's passes."""
    total_power_w: float = np.inf
    """Upper bound on the sum of the users' powers; infinite is none."""
    common_loss: float = 0.0
    """Part of the validation loss that depends on no length."""
    latency: Literal["max", "sum"] = "max"
    """Whether the uploads' part of the latency is the latest one, or their sum."""
    latency_weight: float = 0.5
    """Weight of the latency, 0 to 1; the loss has the rest."""
    latency_unit_s: float = 1.0
    """Latency that counts as one in the weighted sum."""
    loss_unit: float = 1.0
    """Loss that counts as one in the weighted sum."""

    @property
    def users(self) -> int:
        """Number of users."""
        return int(self.bits.shape[0])

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """(users, lengths): whether a user may take a length."""
        return np.isfinite(self.loss)

    @property
    def shortest(self) -> Counts:
        """(users,): smallest length that is allowed."""
        return np.asarray(self.allowed.argmax(axis=1))

    @property
    def longest(self) -> Counts:
        """(users,): largest length that is allowed."""
        return np.asarray(self.allowed.shape[1] - 1 - self.allowed[:, ::-1].argmax(axis=1))

    def of_length(self, table: Floats, lengths: Counts) -> Floats:
        """(..., users): entries of a table (users, lengths) at lengths (..., users)."""
        return np.asarray(table[np.arange(self.users), lengths])

    def seconds(self, allocation: LengthAllocation) -> Floats:
        """(users,): time until each upload is done."""
        rate = rate_bps(allocation.bandwidth_hz, allocation.power_w, self.gain_hz_per_w)
        lengths = allocation.lengths
        return self.of_length(self.device_s, lengths) + self.of_length(self.bits, lengths) / rate

    def combined_s(self, seconds: Floats) -> Floats:
        """(...,): the uploads' part of the latency, for times of uploads (..., users)."""
        return np.asarray(seconds.max(axis=-1) if self.latency == "max" else seconds.sum(axis=-1))

    def latency_s(self, allocation: LengthAllocation) -> float:
        """Latency of a request: of the uploads, and of the server's passes."""
        return float(self.combined_s(self.seconds(allocation)) + self.server.seconds(allocation.lengths))

    def validation_loss(self, lengths: Counts) -> Floats:
        """(...,): validation loss at lengths (..., users)."""
        return np.asarray(self.common_loss + self.of_length(self.loss, lengths).sum(axis=-1))

    def weighted(self, latency_s: Floats | float, loss: Floats | float) -> Floats:
        """Weighted sum of a latency and a validation loss."""
        timed = self.second_weight * np.asarray(latency_s, dtype=float)
        return np.asarray(timed + self.loss_weight * np.asarray(loss, dtype=float))

    def objective(self, allocation: LengthAllocation) -> float:
        """Weighted sum of latency and validation loss, which is to be minimised."""
        return float(self.weighted(self.latency_s(allocation), self.validation_loss(allocation.lengths)))

    @property
    def second_weight(self) -> float:
        """Weight of a second of latency."""
        return self.latency_weight / self.latency_unit_s

    @property
    def loss_weight(self) -> float:
        """Weight of a unit of loss."""
        return (1 - self.latency_weight) / self.loss_unit

    def length_cost(self, around: Counts) -> Floats:
        """(users, lengths): weighted loss, and time at the server, linear about the lengths `around`; else infinite."""
        numbers = np.arange(self.loss.shape[1])
        timed = self.second_weight * self.server.marginal_s(around)[:, None] * numbers
        return np.where(self.allowed, timed + self.loss_weight * np.where(self.allowed, self.loss, 0.0), np.inf)

    def equal(self, lengths: Counts) -> LengthAllocation:
        """Equal shares of the band and of the power budget, and these lengths, or the nearest ones that are allowed."""
        nearest = np.abs(np.arange(self.loss.shape[1]) - np.asarray(lengths)[:, None])
        width = np.full(self.users, self.total_hz / self.users)
        power = np.minimum(self.max_power_w, self.total_power_w / self.users)
        return LengthAllocation(np.where(self.allowed, nearest, np.inf).argmin(axis=1), width, power)

    def with_lengths(self, lengths: Counts) -> LengthProblem:
        """The problem in which each user has this one length, or the nearest that is allowed."""
        one = np.arange(self.loss.shape[1]) == self.equal(lengths).lengths[:, None]
        return replace(self, loss=np.where(one, self.loss, np.inf))

    def excess(self, allocation: LengthAllocation) -> float:
        """Largest relative excess of an allocation over a budget or bound; at most rounding where it is feasible."""
        used = [
            allocation.bandwidth_hz.sum() / self.total_hz,
            (allocation.power_w / self.max_power_w).max(),
            allocation.power_w.sum() / self.total_power_w,
        ]
        return float(max(used) - 1)
