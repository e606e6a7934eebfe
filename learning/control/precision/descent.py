"""Whole solvers: blocks in turn from several starts, and all combinations of bits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from learning.control.precision.bits import with_best_bits
from learning.control.precision.blocks import (
    with_best_bandwidth,
    with_best_power_by_approximation,
    with_best_radio,
)
from learning.control.precision.matching import match
from learning.control.precision.problem import Bits, Plan, PrecisionProblem

MAX_PASSES = 20
SETTLED = 1e-4
"""Relative gain of a pass below which the descent ends."""
MAX_COMBINATIONS = 5_000

Pass = Callable[[PrecisionProblem, Plan], Plan]


def block_descent(problem: PrecisionProblem) -> Plan:
    """Bits, power by successive convex approximation, bandwidth, and again, as published; the best of all starts."""
    return _best(problem, one_pass)


def joint_descent(problem: PrecisionProblem) -> Plan:
    """Bits, then power and bandwidth at once, and again; the best of several starts."""
    return _best(problem, lambda problem, plan: with_best_radio(problem, with_best_bits(problem, plan).bits))


def matched_descent(problem: PrecisionProblem, subchannels: int, power: Pass | None, owner: Bits | None = None) -> Plan:
    """Bits, power by one of the blocks for it (None leaves it at its limit), and a matching of subchannels, in turn.

    Subchannels are alike, so what matters of a matching is how many each user gets; `owner`, the user of each, is one
    that stays as it is. Raises ValueError with fewer subchannels than users.
    """
    gains = np.tile(problem.gain_hz_per_w[:, None], (1, subchannels))

    def matched(problem: PrecisionProblem, plan: Plan) -> Plan:
        found = match(problem, plan.bits, plan.power_w, gains) if owner is None else owner
        counts = np.bincount(found, minlength=problem.users).astype(np.float64)
        return plan._replace(bandwidth_hz=counts * (problem.total_hz / subchannels))

    def step(problem: PrecisionProblem, plan: Plan) -> Plan:
        plan = with_best_bits(problem, plan)
        plan = plan if power is None else power(problem, plan)
        return min(plan, matched(problem, plan), key=problem.cost)

    begun = [matched(problem, start) for start in starts(problem)]
    return min((descent(problem, start, step)[-1] for start in begun), key=problem.cost)


def one_pass(problem: PrecisionProblem, plan: Plan) -> Plan:
    """Every block of the published descent once."""
    return with_best_bandwidth(problem, with_best_power_by_approximation(problem, with_best_bits(problem, plan)))


def descent(problem: PrecisionProblem, plan: Plan, step: Pass) -> list[Plan]:
    """The plan after each pass, the first one included; the cost never rises."""
    path = [plan]
    while len(path) <= MAX_PASSES:
        path.append(min(step(problem, path[-1]), path[-1], key=problem.cost))
        before, after = problem.cost(path[-2]), problem.cost(path[-1])
        if not after < before * (1 - SETTLED):
            break
    return path


def starts(problem: PrecisionProblem) -> list[Plan]:
    """Equal bits that keep to the error budget, the coarsest, middle and finest, at full power over equal bandwidths.

    Bits are fixed by the rates and rates by the bits, so the descent may stall where it began: hence more than one.
    """
    equal = [np.full(problem.users, bits) for bits in problem.choices]
    kept = [problem.equal(bits) for bits in equal if problem.error(bits) <= problem.error_budget * (1 + 1e-12)]
    return [kept[number] for number in sorted({0, len(kept) // 2, len(kept) - 1})]


def exhaustive(problem: PrecisionProblem) -> Plan:
    """All combinations of bits, each with its best power and bandwidth.

    Raises ValueError where there are more than can be looked at.
    """
    choices = len(problem.choices)
    if choices**problem.users > MAX_COMBINATIONS:
        raise ValueError(
            f"{problem.users} users with {choices} choices each are more than {MAX_COMBINATIONS} combinations"
        )
    every = [np.array(bits) for bits in product(problem.choices, repeat=problem.users)]
    kept = [bits for bits in every if problem.error(bits) <= problem.error_budget]
    return min((with_best_radio(problem, bits) for bits in kept), key=problem.cost)


def _best(problem: PrecisionProblem, step: Pass) -> Plan:
    return min((descent(problem, start, step)[-1] for start in starts(problem)), key=problem.cost)
