"""Solvers of the length problem by name, and exhaustive search, which finds the optimum for few users and tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from learning.control.lengths.alternating import alternating, descent
from learning.control.lengths.blocks import with_best_bandwidth, with_best_lengths, with_best_power
from learning.control.lengths.coupled import coupled, with_best_bandwidth_and_power
from learning.control.lengths.problem import LengthAllocation, LengthProblem

MAX_COMBINATIONS = 2_000
"""Bound on the combinations of lengths that exhaustive search tries."""
EXACT = 1e-12
"""Relative decrease at which the alternation of bandwidth and power ends, where lengths are fixed."""


def exhaustive(problem: LengthProblem) -> LengthAllocation:
    """The best of all combinations of lengths, each with its best bandwidths and powers.

    Raises ValueError where there are more than MAX_COMBINATIONS.
    """
    check_combinations(int(problem.allowed.sum(axis=1).prod()))
    choices = np.meshgrid(*(np.flatnonzero(each) for each in problem.allowed), indexing="ij")
    lengths = np.stack([each.ravel() for each in choices], axis=1)
    return min((with_best_shares(problem, problem.equal(each)) for each in lengths), key=problem.objective)


def with_best_shares(problem: LengthProblem, start: LengthAllocation) -> LengthAllocation:
    """The best bandwidths and powers with lengths fixed."""
    if problem.latency == "max":
        return with_best_bandwidth_and_power(problem, start)
    return descent(problem, start, (with_best_bandwidth, with_best_power), EXACT)[-1]


def check_combinations(count: int) -> None:
    """Raises ValueError where exhaustive search would have more than MAX_COMBINATIONS combinations to try."""
    if count > MAX_COMBINATIONS:
        raise ValueError(
            f"there are {count} combinations of lengths, more than the {MAX_COMBINATIONS} that brute force tries; take "
            "another solver"
        )


def halves(problem: LengthProblem) -> LengthAllocation:
    """Equal shares of band and power, and half of each user's tokens."""
    return problem.equal(problem.longest // 2)


def random_allocation(problem: LengthProblem, draw: np.random.Generator) -> LengthAllocation:
    """Lengths drawn uniformly, and shares of the band and of the power budget by random proportions."""
    lengths = draw.integers(problem.shortest, problem.longest + 1)
    width, power = (draw.dirichlet(np.ones(problem.users)) for _ in range(2))
    budget = min(problem.total_power_w, float(problem.max_power_w.sum()))
    allocation = problem.equal(lengths)
    return allocation._replace(
        bandwidth_hz=width * problem.total_hz, power_w=np.minimum(power * budget, problem.max_power_w)
    )


SOLVERS: dict[str, Callable[[LengthProblem], LengthAllocation]] = {
    "coupled": coupled,
    "published": alternating,
    "brute": exhaustive,
    "equal": halves,
    "bandwidth_only": lambda problem: with_best_bandwidth(problem, halves(problem)),
    "power_only": lambda problem: with_best_power(problem, halves(problem)),
    "length_only": lambda problem: with_best_lengths(problem, halves(problem)),
}
"""The coupled blocks, the published alternation and exhaustive search; and equal shares with half of the tokens, of
which nothing, the bandwidth, the power or the lengths are chosen."""
