"""Solvers of the precision problem: block coordinate descent from several starts, and exhaustive search over bits."""

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
from learning.control.precision.problem import Bits, PrecisionPlan, PrecisionProblem

MAX_PASSES = 20
"""Bound on the passes of a descent."""
SETTLED = 1e-4
"""Relative gain of a pass below which the descent ends."""
MAX_COMBINATIONS = 5_000
"""Bound on the combinations of bits that exhaustive search tries."""

Block = Callable[[PrecisionProblem, PrecisionPlan], PrecisionPlan]
"""An improved plan: the best of some variables, with the others fixed."""


def block_descent(problem: PrecisionProblem) -> PrecisionPlan:
    """Published descent: bits, power by successive convex approximation, bandwidth, repeated; best of all starts."""
    return _best(problem, one_pass)


def joint_descent(problem: PrecisionProblem) -> PrecisionPlan:
    """Descent over two blocks, bits, then power and bandwidth jointly; best of all starts."""
    return _best(problem, lambda problem, plan: with_best_radio(problem, with_best_bits(problem, plan).bits))


def matched_descent(
    problem: PrecisionProblem, subchannels: int, power: Block | None, owner: Bits | None = None
) -> PrecisionPlan:
    """Descent over three blocks: bits, power, and the subchannels of each user.

    All subchannels have the same width and gains, so that only their number for each user matters.

    Args:
        problem: the problem.
        subchannels: number of subchannels.
        power: the step that optimises the power; None leaves every user at its limit.
        owner: (subchannels,): number of the user of each subchannel (default: users and subchannels are matched).

    Raises:
        ValueError: there are fewer subchannels than users.
    """
    gains = np.tile(problem.gain_hz_per_w[:, None], (1, subchannels))

    def matched(problem: PrecisionProblem, plan: PrecisionPlan) -> PrecisionPlan:
        found = match(problem, plan.bits, plan.power_w, gains) if owner is None else owner
        counts = np.bincount(found, minlength=problem.users).astype(np.float64)
        return plan._replace(bandwidth_hz=counts * (problem.total_hz / subchannels))

    def step(problem: PrecisionProblem, plan: PrecisionPlan) -> PrecisionPlan:
        plan = with_best_bits(problem, plan)
        plan = plan if power is None else power(problem, plan)
        return min(plan, matched(problem, plan), key=problem.cost)

    begun = [matched(problem, start) for start in starts(problem)]
    return min((descent(problem, start, step)[-1] for start in begun), key=problem.cost)


def one_pass(problem: PrecisionProblem, plan: PrecisionPlan) -> PrecisionPlan:
    """One pass over the blocks of the published descent."""
    return with_best_bandwidth(problem, with_best_power_by_approximation(problem, with_best_bits(problem, plan)))


def descent(problem: PrecisionProblem, plan: PrecisionPlan, step: Block) -> list[PrecisionPlan]:
    """The initial plan and that after each pass; the cost never rises."""
    path = [plan]
    while len(path) <= MAX_PASSES:
        path.append(min(step(problem, path[-1]), path[-1], key=problem.cost))
        before, after = problem.cost(path[-2]), problem.cost(path[-1])
        if not after < before * (1 - SETTLED):
            break
    return path


def starts(problem: PrecisionProblem) -> list[PrecisionPlan]:
    """Initial plans: the coarsest, middle and finest equal bits within the error budget, at full power, equal bands.

    The best bits depend on the rates and the best rates on the bits, so a descent may stall near its start.
    """
    equal = [np.full(problem.users, bits) for bits in problem.choices]
    kept = [problem.equal(bits) for bits in equal if problem.error(bits) <= problem.error_budget * (1 + 1e-12)]
    return [kept[number] for number in sorted({0, len(kept) // 2, len(kept) - 1})]


def exhaustive(problem: PrecisionProblem) -> PrecisionPlan:
    """The best of all combinations of bits, each with its best power and bandwidth.

    Raises ValueError where there are more than MAX_COMBINATIONS.
    """
    choices = len(problem.choices)
    if choices**problem.users > MAX_COMBINATIONS:
        raise ValueError(
            f"{problem.users} users with {choices} choices each are more than {MAX_COMBINATIONS} combinations"
        )
    every = [np.array(bits) for bits in product(problem.choices, repeat=problem.users)]
    kept = [bits for bits in every if problem.error(bits) <= problem.error_budget]
    return min((with_best_radio(problem, bits) for bits in kept), key=problem.cost)


def _best(problem: PrecisionProblem, step: Block) -> PrecisionPlan:
    return min((descent(problem, start, step)[-1] for start in starts(problem)), key=problem.cost)


SOLVERS = {"published": block_descent, "joint": joint_descent, "brute": exhaustive}
"""Solvers over a band that is divided continuously, by the names that a scenario gives them."""
