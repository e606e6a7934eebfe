"""The controller of each user's bits of an activation, power and share of the band, which decides before a round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Interval, Le

from learning.control.observation import Csi, Observation
from learning.control.precision.bits import with_best_bits
from learning.control.precision.blocks import with_best_power, with_best_power_by_approximation
from learning.control.precision.matching import random_assignment
from learning.control.precision.problem import PrecisionPlan, PrecisionProblem
from learning.control.precision.round_cost import RoundCost
from learning.control.precision.solvers import SOLVERS, matched_descent
from learning.control.rate import Floats

ROUNDING = 1e-9
"""Relative excess of the error budget that rounding may cause."""


class PrecisionGrant(NamedTuple):
    """What is granted to a user for a round."""

    bits: int
    """Bits of an element of the smashed data."""
    share: float
    """Share of the uplink band, 0 to 1."""
    power_w: float
    """Transmit power in W."""


@dataclass(frozen=True)
class PrecisionController:
    """Choice of bits, powers and bandwidths that minimises a weighted sum of a round's latency and radiated energy.

    A round is modelled as one upload of all of a user's mini-batches and of its part of the model. Its other times are
    those of the downlink, over an equal share of the band, and of all computing, at nominal speed and without a queue.

    Raises ValueError where both weights are zero, where choices of bits do not ascend or cannot keep to the error
    budget, and for brute force over subchannels.
    """

    bits: Annotated[int, Interval(ge=1, le=16)] | Literal[32, "optimised"] = "optimised"
    """Bits of an activation, the same for all users, or chosen for each (`optimised`); 32 is no quantisation."""
    choices: tuple[Annotated[int, Interval(ge=1, le=16)], ...] = (2, 4, 6, 8, 16)
    """Bits among which is chosen, ascending."""
    solver: Literal["joint", "published", "brute", "fixed"] = "joint"
    """How powers and bandwidths are found: jointly; alternately, by successive convex approximation, as published; for
    all combinations of bits (`brute`); or as full power over equal shares of the band (`fixed`)."""
    bandwidth: Literal["continuous", "matching", "random"] = "continuous"
    """Whether the band is divided continuously, or into subchannels that are matched with users or assigned at
    random."""
    subchannels: Annotated[int, Interval(ge=1, le=10_000)] = 20
    """Number of subchannels, all of the same bandwidth."""
    downlink: Literal["shared", "parts"] = "shared"
    """Whether the scenario's scheduler divides the downlink, or all users of a round have equal shares of it until the
    round's end (`parts`), as the problem assumes; that needs the scheduler `controlled` on the downlink too."""
    time_weight: Annotated[float, Ge(0)] = 0.5
    """Weight of the latency, in units of the latency of eight bits at full power over equal shares of the band."""
    energy_weight: Annotated[float, Ge(0)] = 0.5
    """Weight of the radiated energy, in units of the energy of the same reference."""
    error_budget_bits: Annotated[float, Gt(0), Le(16)] = 6.0
    """Upper bound on the sum of quantisation errors: the sum if every user had this number of bits."""
    ranges: Literal["observed", "equal"] = "observed"
    """Whether a user's error is weighted by the range of its activations in its last round, so that decisions depend on
    values; or all ranges are taken as equal, as before any is observed and in a dry run."""
    csi: Csi = "instantaneous"
    """Channel state information: gains at the first instant of the round, or on average over fading."""

    def __post_init__(self) -> None:
        if self.time_weight == self.energy_weight == 0:
            raise ValueError("time_weight and energy_weight are both 0; at least one must be positive")
        if list(self.choices) != sorted(set(self.choices)) or not self.choices:
            raise ValueError(f"choices are {list(self.choices)}; give at least one number of bits, and let them rise")
        if self.optimised and self.choices[-1] < self.error_budget_bits:
            raise ValueError(
                f"error_budget_bits is {self.error_budget_bits:g}; "
                f"at most the largest of choices, {self.choices[-1]}, is allowed"
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
    def uses_ranges(self) -> bool:
        """Whether decisions depend on the ranges of activations that training produces."""
        return self.optimised and self.ranges == "observed"

    @property
    def allowed(self) -> tuple[int, ...]:
        """Bits that a user may be granted, ascending."""
        return self.choices if self.bits == "optimised" else (self.bits,)

    def problem(
        self,
        users: Sequence[Observation],
        costs: Sequence[RoundCost],
        server_flops_per_s: float,
        weights: Sequence[float],
        ranges: Floats,
    ) -> PrecisionProblem:
        """The problem of a round.

        Args:
            users: observations of the users that take part.
            costs: what the round costs each of them, apart from the bits of its activations.
            server_flops_per_s: speed of the server.
            weights: (users,): weights in the aggregation, by which errors are weighted.
            ranges: (users,): ranges of the users' activations, by whose squares errors are weighted.

        Raises:
            ValueError: even the largest number of bits exceeds the error budget.
        """
        device_flops, server_flops, elements, overhead_bits, down_bits = np.array(costs, dtype=float).T
        flops_per_s = np.array([user.flops_per_s for user in users])
        download_bps = np.array([user.download_bps(1 / len(users)) for user in users])
        error_weight = np.asarray(weights) * ranges**2
        budget = error_weight.sum() / (2.0**self.error_budget_bits - 1) ** 2 * (1 + ROUNDING)
        return PrecisionProblem(
            gain_hz_per_w=np.array([user.uplink.gain_hz_per_w for user in users]),
            fixed_s=device_flops / flops_per_s + server_flops / server_flops_per_s + down_bits / download_bps,
            elements=elements,
            error_weight=error_weight,
            error_budget=budget if self.optimised else inf,
            total_hz=users[0].uplink.bandwidth_hz,
            max_power_w=np.array([user.uplink.max_power_w for user in users]),
            choices=self.allowed,
            overhead_bits=overhead_bits,
            time_weight=self.time_weight,
            energy_weight=self.energy_weight,
        )

    def solve(self, problem: PrecisionProblem, draw: np.random.Generator) -> PrecisionPlan:
        """Solve the problem of a round.

        Args:
            problem: the problem.
            draw: random generator that assigns subchannels, where they are assigned at random.

        Raises:
            ValueError: there are fewer subchannels than users, or too many combinations for brute force.
        """
        if self.bandwidth != "continuous":
            powers = {"joint": with_best_power, "published": with_best_power_by_approximation}
            owner = random_assignment(problem.users, self.subchannels, draw) if self.bandwidth == "random" else None
            return matched_descent(problem, self.subchannels, powers.get(self.solver), owner)
        if self.solver == "fixed":
            return with_best_bits(problem, problem.equal(np.full(problem.users, problem.choices[-1])))
        return SOLVERS[self.solver](problem)


def grants(problem: PrecisionProblem, plan: PrecisionPlan) -> list[PrecisionGrant]:
    """The grants of a plan, one for each user of the problem, in its order."""
    shares = np.minimum(plan.bandwidth_hz / problem.total_hz, 1.0)
    columns = plan.bits.tolist(), shares.tolist(), plan.power_w.tolist()
    return [PrecisionGrant(*each) for each in zip(*columns, strict=True)]
