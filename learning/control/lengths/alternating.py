"""Alternating optimisation of bandwidth, power and lengths, as published, and what single blocks of it achieve.

Each block is solved exactly, so that the weighted sum never rises. With the sum of all
uploads as latency, bandwidth and power of fixed lengths converge to their optimum, as the time of an upload is jointly
convex in both, and only whole lengths can end in a local optimum: hence several starts. With the latest upload as
latency it stalls: all uploads end together once the band is divided, and then neither other powers nor another length
of one user make the latest one earlier. `coupled` has blocks for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from learning.control.lengths.blocks import with_best_bandwidth, with_best_lengths, with_best_power
from learning.control.lengths.problem import LengthAllocation, LengthProblem

Block = Callable[[LengthProblem, LengthAllocation], LengthAllocation]
"""A step that improves an allocation, or returns it as it is."""

BLOCKS: tuple[Block, ...] = (with_best_bandwidth, with_best_power, with_best_lengths)
"""The published blocks, in their order."""
MAX_PASSES = 30
"""Bound on the passes over the blocks."""
SETTLED = 1e-4
"""Relative decrease of the weighted sum in a pass below which the alternation ends."""


def alternating(problem: LengthProblem) -> LengthAllocation:
    """The best result of the alternations from the shortest, a quarter, half and all of each user's tokens."""
    longest = problem.longest
    starts = (problem.shortest, longest // 4, longest // 2, longest)
    ends = [descent(problem, problem.equal(start))[-1] for start in starts]
    return min(ends, key=problem.objective)


def descent(
    problem: LengthProblem, start: LengthAllocation, blocks: Sequence[Block] = BLOCKS, settled: float = SETTLED
) -> list[LengthAllocation]:
    """An alternation's allocations: the start, and what each block makes of the one before.

    Args:
        problem: the problem.
        start: an allocation within the budgets.
        blocks: the blocks, in the order in which they are solved.
        settled: relative decrease in a pass at which it ends.
    """
    path = [start]
    for _ in range(MAX_PASSES):
        before = problem.objective(path[-1])
        for block in blocks:
            path.append(block(problem, path[-1]))
        if problem.objective(path[-1]) >= before * (1 - settled):
            break
    return path
