"""The problem: a weighted sum of the round's latency and the users' energy, under an error budget for quantisation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learning.control.rate import Floats, bandwidth_hz, power_w, rate_bps

Bits = NDArray[np.int64]


class Plan(NamedTuple):
    """For each user: bits of an element, bandwidth, transmit power."""

    bits: Bits
    bandwidth_hz: Floats
    power_w: Floats


@dataclass(frozen=True)
class PrecisionProblem:
    """Users that each upload quantised activations once.

    Raises ValueError where even the finest bits miss the error budget, or where choices or weights make no sense.
    """

    gain_hz_per_w: Floats
    """Power gain of each user's channel over the noise power density."""
    fixed_s: Floats
    """What each user's round takes beside the upload: computing and the downlink."""
    elements: Floats
    """Elements that each user uploads."""
    error_weight: Floats
    """Weight of each user's quantisation error, squared range included: the error is this over (2^bits - 1)^2."""
    error_budget: float
    """Sum of the users' errors at most."""
    total_hz: float
    """Bandwidth that all share."""
    max_power_w: Floats | float
    """Transmit power of a user at most: the same for all, or one for each."""
    choices: tuple[int, ...] = (2, 4, 6, 8, 16)
    """Bits of an element that may be chosen, rising."""
    overhead_bits: Floats | float = 0.0
    """Bits sent beside the elements, such as range and labels: the same for all users, or one number for each."""
    time_weight: float = 0.5
    """Weight of the latency, in units of `reference`."""
    energy_weight: float = 0.5
    """Weight of the radiated energy, in units of `reference`."""
    longest_s: float = 1e6
    """Latency of a round at most."""

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
        return len(self.elements)

    def payload(self, bits: Bits) -> Floats:
        """Bits that each user uploads."""
        return np.asarray(self.elements * bits + self.overhead_bits, dtype=float)

    def error(self, bits: Bits) -> float:
        """Sum of the quantisation errors."""
        return float((self.error_weight / (2.0**bits - 1) ** 2).sum())

    def seconds(self, plan: Plan) -> Floats:
        """Upload time of each user."""
        return self.payload(plan.bits) / rate_bps(plan.bandwidth_hz, plan.power_w, self.gain_hz_per_w)

    def latency_s(self, plan: Plan) -> float:
        """When the last user is done."""
        return float((self.fixed_s + self.seconds(plan)).max())

    def energy_j(self, plan: Plan) -> float:
        """Radiated energy of all uploads."""
        return float((plan.power_w * self.seconds(plan)).sum())

    @cached_property
    def reference(self) -> tuple[float, float]:
        """Latency and energy of eight bits (or the next choice below) at full power over equal bandwidths."""
        usual = max([bits for bits in self.choices if bits <= 8], default=self.choices[0])
        plan = self.equal(np.full(self.users, usual))
        return self.latency_s(plan), self.energy_j(plan)

    def equal(self, bits: Bits) -> Plan:
        """Full power over equal bandwidths."""
        return Plan(bits, np.full(self.users, self.total_hz / self.users), np.full(self.users, self.max_power_w))

    @cached_property
    def prices(self) -> tuple[float, float]:
        """Cost of a second and of a joule."""
        latency_s, energy_j = self.reference
        return self.time_weight / latency_s, self.energy_weight / energy_j

    def cost(self, plan: Plan) -> float:
        """The objective: infinite where the error budget is missed."""
        if self.error(plan.bits) > self.error_budget * (1 + 1e-12):
            return float("inf")
        second, joule = self.prices
        return second * self.latency_s(plan) + joule * self.energy_j(plan)

    def min_width_hz(self, bits: Bits, latency_s: float) -> Floats:
        """The bandwidth that each user needs at full power to be done by then; infinite where time is up."""
        left_s = latency_s - self.fixed_s
        with np.errstate(divide="ignore"):
            rate = np.where(left_s > 0, self.payload(bits) / np.maximum(left_s, 1e-300), np.inf)
        return np.where(np.isfinite(rate), bandwidth_hz(rate, self.max_power_w, self.gain_hz_per_w), np.inf)

    def just_in_time(self, bits: Bits, width_hz: Floats, latency_s: float) -> Plan:
        """Each user just done by a latency, with as little power as that takes, but never beyond its limit."""
        needed = power_w(
            self.payload(bits) / np.maximum(latency_s - self.fixed_s, 1e-300), width_hz, self.gain_hz_per_w
        )
        return Plan(bits, width_hz, np.minimum(needed, self.max_power_w))
