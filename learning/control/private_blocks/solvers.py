"""Solvers of the choice of private blocks: a price of the server's capacity by bisection, and exhaustive search.

For a given price (a Lagrange multiplier) users choose independently, each by enumeration. Raising the price until the
load fits gives a choice and a bound: no choice is better than the dual value. As choices are discrete, the two may
differ by about one user's step; what capacity is left is given to single users.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from learning.control.private_blocks.problem import Integers, SplitProblem, SplitSolution

TOLERANCE = 1e-9
"""Relative width of the interval of prices at which bisection ends."""
MAX_COMBINATIONS = 200_000


def priced(problem: SplitProblem) -> SplitSolution:
    """The choice at the lowest price of capacity at which the load fits, improved for single users, and its bound.

    Raises ValueError where no choice keeps to the capacity.
    """
    problem.check()
    free = problem.at_price(0.0)
    if problem.fits(free):
        return SplitSolution(free, problem.objective(free), problem.dual(0.0), 0.0)
    low, high = 0.0, 1.0
    while not problem.fits(problem.at_price(high)):
        low, high = high, 2 * high
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if problem.fits(problem.at_price(middle)) else (middle, high)
    choice = improved(problem, problem.at_price(high))
    return SplitSolution(choice, problem.objective(choice), min(problem.dual(low), problem.dual(high)), high)


def improved(problem: SplitProblem, choice: Integers) -> Integers:
    """A choice after changes of single users, each time the one that adds most, until none that fits adds anything."""
    users, splits = problem.value.shape
    while True:
        apart = np.where(np.eye(users, dtype=bool)[:, None], np.arange(splits)[:, None], choice).reshape(-1, users)
        objectives = [problem.objective(each) for each in apart]
        best = int(np.argmax(objectives))
        if objectives[best] <= problem.objective(choice):
            return choice
        choice = apart[best]


def exhaustive(problem: SplitProblem) -> SplitSolution:
    """The best of all combinations. Raises ValueError where there are more than MAX_COMBINATIONS, or none fits."""
    users, splits = problem.value.shape
    if splits**users > MAX_COMBINATIONS:
        raise ValueError(f"{users} users with {splits} splits each are more than {MAX_COMBINATIONS} combinations")
    problem.check()
    best = max((np.array(each) for each in product(range(splits), repeat=users)), key=problem.objective)
    return SplitSolution(best, problem.objective(best), problem.objective(best), 0.0)


SOLVERS = {"priced": priced, "exhaustive": exhaustive}
