"""The precision problem: latency and radiated energy of a round, weighted, under a budget of quantisation error."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learning.control.rate import Floats, bandwidth_hz, power_w, rate_bps

Bits = NDArray[np.int64]


class PrecisionPlan(NamedTuple):
    """Decisions for all users of a round."""

    bits: Bits
    """(users,): bits of an element of the smashed data."""
    bandwidth_hz: Floats
    """(users,): uplink bandwidth in Hz."""
    power_w: Floats
    """(users,): transmit power in W."""


@dataclass(frozen=True)
class PrecisionProblem:
    """Users that upload quantised activations in one uplink band, each once in a round.

    Raises ValueError where even the largest number of bits exceeds the error budget, where choices of bits do not
    ascend, or where a weight is negative or both are zero.
    """

    gain_hz_per_w: Floats
    """(users,): power gain of the uplink over the noise power density."""
    fixed_s: Floats
    """(users,): time of a user's round without the upload: computing, and the downlink."""
    elements: Floats
    """(users,): elements of the smashed data to be uploaded."""
    error_weight: Floats
    """(users,): weight of the quantisation error, squared range included: the error is this over (2^bits - 1)^2."""
    error_budget: float
    """Upper bound on the sum of all users' errors."""
    total_hz: float
    """Bandwidth that all users share, in Hz."""
    max_power_w: Floats | float
    """(users,), or one number for all: upper bound on the transmit power."""
    choices: tuple[int, ...] = (2, 4, 6, 8, 16)
    """Bits of an element that may be chosen, ascending."""
    overhead_bits: Floats | float = 0.0
    """(users,), or one number for all: bits sent beside the elements, such as ranges, labels and the model."""
    time_weight: float = 0.5
    """Weight of the latency, in units of `reference`."""
    energy_weight: float = 0.5
    """Weight of the radiated energy, in units of `reference`."""
    max_latency_s: float = 1e6
    """Upper bound on the latency of a round."""

    def __post_init__(self) -> None:
        if list(self.choices) != sorted(set(self.choices)) or not self.choices or self.choices[0] < 1:
            raise ValueError(f"bits {self.choices} are not a rising list of whole numbers from one on")
        if min(self.time_weight, self.energy_weight) < 0 or self.time_weight + self.energy_weight == 0:
            raise ValueError("the weights of time and energy must not be negative, nor both zero")
        finest = self.error(np.full(self.users, self.choices[-1]))
        if finest > self.error_budget:
            raise ValueError(
                f"even {self.choices[-1]} bits give an error of {finest:.3g}; the budget is {self.error_budget:.3g}"
            )

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.elements)

    def payload(self, bits: Bits) -> Floats:
        """(users,): bits of each user's upload, with `bits` (users,) for an element."""
        return np.asarray(self.elements * bits + self.overhead_bits, dtype=float)

    def error(self, bits: Bits) -> float:
        """Sum of all users' quantisation errors."""
        return float((self.error_weight / (2.0**bits - 1) ** 2).sum())

    def seconds(self, plan: PrecisionPlan) -> Floats:
        """(users,): upload times in seconds."""
        return self.payload(plan.bits) / rate_bps(plan.bandwidth_hz, plan.power_w, self.gain_hz_per_w)

    def latency_s(self, plan: PrecisionPlan) -> float:
        """Latency of the round in seconds: when the last upload ends."""
        return float((self.fixed_s + self.seconds(plan)).max())

    def energy_j(self, plan: PrecisionPlan) -> float:
        """Energy in J that all uploads radiate together."""
        return float((plan.power_w * self.seconds(plan)).sum())

    @cached_property
    def reference(self) -> tuple[float, float]:
        """Latency (s) and energy (J) of eight bits, or the next choice below, at full power over equal bandwidths."""
        usual = max([bits for bits in self.choices if bits <= 8], default=self.choices[0])
        plan = self.equal(np.full(self.users, usual))
        return self.latency_s(plan), self.energy_j(plan)

    def equal(self, bits: Bits) -> PrecisionPlan:
        """The plan of these bits at full power over equal bandwidths."""
        return PrecisionPlan(
            bits, np.full(self.users, self.total_hz / self.users), np.full(self.users, self.max_power_w)
        )

    @cached_property
    def prices(self) -> tuple[float, float]:
        """Increase of the objective by a second of latency, and by a joule."""
        latency_s, energy_j = self.reference
        return self.time_weight / latency_s, self.energy_weight / energy_j

    def cost(self, plan: PrecisionPlan) -> float:
        """The objective, to be minimised; infinite where the error budget is exceeded."""
        if self.error(plan.bits) > self.error_budget * (1 + 1e-12):
            return float("inf")
        second, joule = self.prices
        return second * self.latency_s(plan) + joule * self.energy_j(plan)

    def predicted(self, plan: PrecisionPlan) -> dict[str, float]:
        """Predicted consequences of a plan, by their names in the table `decisions`."""
        return {
            "predicted_latency_s": self.latency_s(plan),
            "predicted_radiated_j": self.energy_j(plan),
            "objective": self.cost(plan),
        }

    def min_width_hz(self, bits: Bits, latency_s: float) -> Floats:
        """(users,): bandwidth that each user needs at full power to end within a latency; infinite where it cannot."""
        left_s = latency_s - self.fixed_s
        with np.errstate(divide="ignore"):
            rate = np.where(left_s > 0, self.payload(bits) / np.maximum(left_s, 1e-300), np.inf)
        return np.where(np.isfinite(rate), bandwidth_hz(rate, self.max_power_w, self.gain_hz_per_w), np.inf)

    def just_in_time(self, bits: Bits, width_hz: Floats, latency_s: float) -> PrecisionPlan:
        """The plan in which each user ends just at a latency, at the lowest power for that, within its limit."""
        needed = power_w(
            self.payload(bits) / np.maximum(latency_s - self.fixed_s, 1e-300), width_hz, self.gain_hz_per_w
        )
        return PrecisionPlan(bits, width_hz, np.minimum(needed, self.max_power_w))
