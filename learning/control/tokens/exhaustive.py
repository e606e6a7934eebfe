"""All combinations of tokens, each at its shortest latency: the optimum, for few users and few patches."""

from __future__ import annotations

import numpy as np

from learning.control.tokens.problem import Allocation, TokenProblem

MAX_COMBINATIONS = 200_000


def exhaustive(problem: TokenProblem) -> Allocation:
    """The best of all combinations.

    Raises ValueError where there are more than can be looked at.
    """
    counts = np.arange(problem.min_tokens, problem.patches + 1)
    if len(counts) ** problem.users > MAX_COMBINATIONS:
        raise ValueError(
            f"{problem.users} users with {len(counts)} choices each are more than {MAX_COMBINATIONS} combinations"
        )
    grids = np.meshgrid(*[counts] * problem.users, indexing="ij")
    return problem.best_of(np.stack([grid.ravel() for grid in grids], axis=1))
