"""Solvers of the token problem by name, and exhaustive search, which finds the optimum for few users and patches."""

from __future__ import annotations

import numpy as np

from learning.control.tokens.alternating import alternating
from learning.control.tokens.latency import by_latency
from learning.control.tokens.problem import TokenAllocation, TokenProblem

MAX_COMBINATIONS = 200_000
"""Bound on the combinations of tokens that exhaustive search tries."""


def exhaustive(problem: TokenProblem) -> TokenAllocation:
    """The best of all combinations of tokens, each at its shortest latency.

    Raises ValueError where there are more than MAX_COMBINATIONS.
    """
    counts = np.arange(problem.min_tokens, problem.patches + 1)
    if len(counts) ** problem.users > MAX_COMBINATIONS:
        raise ValueError(
            f"{problem.users} users with {len(counts)} choices each are more than {MAX_COMBINATIONS} combinations"
        )
    grids = np.meshgrid(*[counts] * problem.users, indexing="ij")
    return problem.best_of(np.stack([grid.ravel() for grid in grids], axis=1))


SOLVERS = {"published": alternating, "improved": by_latency, "brute": exhaustive}
"""The paper's alternation, a search over the latency that nearly always finds the optimum, and exhaustive search."""
