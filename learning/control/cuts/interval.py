"""The best aggregation interval for given cuts and mini-batches."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from learning.control.cuts.problem import CutChoice, CutProblem

MAX_ROUNDS = 10_000
"""Upper bound on an interval."""


def best_interval(problem: CutProblem, choice: CutChoice) -> int:
    """The number of rounds between aggregations that minimises the time to the target.

    With k = 4 beta^2 gamma^2 sum G^2 and e = eps less the noise, a stationary point of (T_S + T_A / I) / (e - k I^2)
    solves 2 k T_S I^3 + 3 k T_A I^2 - T_A e = 0, which has one positive root; the best integer is next to it, or one,
    where there is no drift.
    """
    step_s, aggregation_s = float(problem.step_s(choice)), float(problem.aggregation_s(choice.cuts))
    once = problem.with_interval(1).bound
    drift = 4 * (once.smoothness * once.learning_rate) ** 2 * once.squared_norms[: choice.cuts.max()].sum()
    left = float(once.progress(choice))
    if aggregation_s == 0 or left <= 0:
        return 1
    roots: Iterable[complex] = (
        np.roots([2 * drift * step_s, 3 * drift * aggregation_s, 0.0, -aggregation_s * left]) if drift else []
    )
    real = [root.real for root in roots if abs(root.imag) < 1e-9 * max(abs(root), 1) and root.real > 0]
    around = [int(np.floor(real[0])), int(np.ceil(real[0]))] if real else [MAX_ROUNDS]
    candidates = [1, *(min(max(each, 1), MAX_ROUNDS) for each in around)]
    return min(candidates, key=lambda interval: problem.with_interval(interval).cost(choice))
