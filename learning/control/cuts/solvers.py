"""Solvers of the cut problem: HASFL's and AdaptSFL's alternating optimisation, and exhaustive search."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product

import numpy as np

from learning.control.cuts.batches import best_batches
from learning.control.cuts.interval import best_interval
from learning.control.cuts.problem import CutChoice, CutProblem, Integers
from learning.control.cuts.splits import best_cuts

MAX_PASSES = 10
SETTLED = 1e-6
"""Relative gain of a pass below which the alternation ends."""
MAX_COMBINATIONS = 200_000

Half = Callable[[CutProblem, Integers], CutChoice | None]
"""Half of a pass: the best choice with the given cuts, or with the given mini-batches; None where there is none."""


def alternating(problem: CutProblem, starts: Iterable[CutChoice] = ()) -> CutChoice:
    """HASFL's alternating optimisation: mini-batches for given cuts, then cuts for given mini-batches, each exactly.

    Args:
        problem: the problem.
        starts: initial choices that are tried beside the usual four: moderate, shallow with large mini-batches, deep,
            and the easiest of the problem.

    Returns:
        The best choice from all starts.

    Raises:
        OutOfReach: no choice reaches the target.
    """
    problem.check()
    usual = [
        equal_choice(problem, 16, 2),
        equal_choice(problem, 2**31, 1),
        equal_choice(problem, 8, problem.cuts),
        problem.easiest,
    ]
    halves = _once_each(best_batches), _once_each(best_cuts)
    paths = [descent(problem, start, *halves) for start in [*starts, *usual] if problem.feasible(start)]
    return min((path[-1] for path in paths), key=problem.cost)


def descent(
    problem: CutProblem, choice: CutChoice, with_cuts: Half = best_batches, with_batches: Half = best_cuts
) -> list[CutChoice]:
    """The initial choice and that after each pass of the alternation; the cost never rises."""
    path = [choice]
    while len(path) <= MAX_PASSES:
        now = with_cuts(problem, path[-1].cuts) or path[-1]
        now = min(now, path[-1], key=problem.cost)
        now = min(with_batches(problem, now.batches) or now, now, key=problem.cost)
        path.append(now)
        if problem.cost(now) >= problem.cost(path[-2]) * (1 - SETTLED):
            break
    return path


def adapt(problem: CutProblem, choice: CutChoice) -> tuple[CutChoice, int]:
    """AdaptSFL's alternating optimisation of cuts and aggregation interval, with the mini-batches of `choice`."""
    interval = problem.bound.interval
    for _ in range(MAX_PASSES):
        now = problem.with_interval(interval)
        choice = min(best_cuts(now, choice.batches) or choice, choice, key=now.cost)
        following = best_interval(now, choice)
        if now.with_interval(following).cost(choice) >= now.cost(choice) * (1 - SETTLED):
            break
        interval = following
    return choice, interval


def exhaustive(problem: CutProblem) -> CutChoice:
    """The best of all combinations of mini-batches and cuts.

    Raises ValueError where there are more than MAX_COMBINATIONS.
    """
    batches = range(1, int(problem.max_samples.max()) + 1)
    if (len(batches) * problem.cuts) ** problem.users > MAX_COMBINATIONS:
        raise ValueError(
            f"{problem.users} users with {len(batches)} mini-batches and {problem.cuts} cuts each are more than "
            f"{MAX_COMBINATIONS} combinations"
        )
    every = product(product(batches, repeat=problem.users), product(range(1, problem.cuts + 1), repeat=problem.users))
    return min((CutChoice(np.array(b), np.array(c)) for b, c in every), key=problem.cost)


def equal_choice(problem: CutProblem, samples: int, cut: int) -> CutChoice:
    """The choice of `samples` samples, or as many as fit, and `cut` blocks for all users."""
    cuts = np.full(problem.users, min(cut, problem.cuts))
    return CutChoice(np.minimum(samples, problem.per_sample(cuts)[3]), cuts)


def _once_each(half: Half) -> Half:
    """The same half, computed once for each argument: descents from several starts soon meet."""
    known: dict[bytes, CutChoice | None] = {}

    def remembered(problem: CutProblem, given: Integers) -> CutChoice | None:
        key = given.tobytes()
        if key not in known:
            known[key] = half(problem, given)
        return known[key]

    return remembered


SOLVERS = {"improved": alternating, "brute": exhaustive}
"""Solvers by name: alternating optimisation, and exhaustive search. The papers' inner iterations have the same optima
as the exact steps."""
