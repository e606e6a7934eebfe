"""What SFLAM decides on before each round: bits of an activation, power, and part of the band, for each user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval, Le

from learning.control.precision import SOLVERS, PrecisionPlan, PrecisionProblem, matched_descent
from learning.control.precision.bits import with_best_bits
from learning.control.precision.blocks import with_best_power, with_best_power_by_approximation
from learning.control.precision.matching import dealt

FULL = 32
"""Bits that stand for no quantisation."""


@dataclass(frozen=True)
class Control:
    """How bits, powers and bandwidths are chosen: for the least weighted sum of a round's latency and radiated energy.

    Raises ValueError for weights that are both zero, bits that do not rise or cannot keep to the error budget, and
    brute force over subchannels.
    """

    bits: Annotated[int, Interval(ge=1, le=16)] | Literal[32, "optimised"] = "optimised"
    """Bits of an activation, the same for all users, or chosen for each; 32 sends activations as they are."""
    choices: tuple[Annotated[int, Interval(ge=1, le=16)], ...] = (2, 4, 6, 8, 16)
    """Bits that may be chosen, rising."""
    solver: Literal["joint", "published", "brute", "fixed"] = "joint"
    """Power and bandwidth at once; one after the other by successive convex approximation, as published; all
    combinations of bits; or full power over equal parts of the band."""
    bandwidth: Literal["continuous", "matching", "random"] = "continuous"
    """Whether the band is divided at will, or in subchannels that are matched with users or dealt at random."""
    subchannels: Annotated[int, Ge(1)] = 20
    """Subchannels to be matched or dealt, all as wide."""
    downlink: Literal["shared", "parts"] = "shared"
    """Whether the downlink is shared by the scenario's law, or all users of a round keep equal parts of it until the
    round's end, as the problem takes it; that needs the law `controlled` there as well."""
    time_weight: Annotated[float, Ge(0)] = 0.5
    """Weight of the latency, in units of that of eight bits at full power over equal parts of the band."""
    energy_weight: Annotated[float, Ge(0)] = 0.5
    """Weight of the radiated energy, likewise."""
    error_budget_bits: Annotated[float, Gt(0), Le(16)] = 6.0
    """Quantisation may do as much harm as if everybody had so many bits."""
    ranges: Literal["seen", "stated"] = "seen"
    """Whether the harm goes by the range of each user's activations in its last round, so that decisions depend on
    values, or all ranges are taken to be alike; so they are before a user's first round, and by the dry executor."""
    csi: Literal["instantaneous", "average"] = "instantaneous"
    """Whether gains are those of the round's first instant, or those on average over fading."""

    def __post_init__(self) -> None:
        if self.time_weight == self.energy_weight == 0:
            raise ValueError("time_weight and energy_weight are both 0; at least one must be positive")
        if list(self.choices) != sorted(set(self.choices)) or not self.choices:
            raise ValueError(f"choices are {list(self.choices)}; give at least one number of bits, and let them rise")
        if self.optimised and self.choices[-1] < self.error_budget_bits:
            raise ValueError(
                f"error_budget_bits is {self.error_budget_bits:g}; "
                f"the largest of choices, {self.choices[-1]}, is the most allowed"
            )
        if self.solver == "brute" and self.bandwidth != "continuous":
            raise ValueError(
                f"solver brute goes with bandwidth continuous; {self.bandwidth} needs joint, published or fixed"
            )

    @property
    def optimised(self) -> bool:
        """Whether bits are chosen for each user."""
        return self.bits == "optimised"

    @property
    def allowed(self) -> tuple[int, ...]:
        """Bits that a user may get."""
        return self.choices if self.bits == "optimised" else (self.bits,)

    def solve(self, problem: PrecisionProblem, draw: np.random.Generator) -> PrecisionPlan:
        """`draw` is what subchannels are dealt by.

        Raises ValueError with fewer subchannels than users, or too many combinations for brute force.
        """
        if self.bandwidth != "continuous":
            powers = {"joint": with_best_power, "published": with_best_power_by_approximation}
            owner = dealt(problem.users, self.subchannels, draw) if self.bandwidth == "random" else None
            return matched_descent(problem, self.subchannels, powers.get(self.solver), owner)
        if self.solver == "fixed":
            return with_best_bits(problem, problem.equal(np.full(problem.users, problem.choices[-1])))
        return SOLVERS[self.solver](problem)
