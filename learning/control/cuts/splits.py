"""The best cuts for given mini-batches: a sweep over the limits before and after the server.

For a deepest cut the bound is constant and seconds alone count. For given limits on what comes before and after the
server, each user takes its cheapest cut at the server that keeps to both; sweeping the limits over all times that occur
is exact, but for the aggregation, which depends on all cuts together and is taken in by steps of single users.
"""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np

from learning.control.cuts.problem import CutChoice, CutProblem, Floats, Integers

MAX_COMBINATIONS = 5_000
MAX_LIMITS, POLISHED = 40, 2
"""Maximum number of limits of one kind that are tried, and of deepest cuts that a local search starts from."""


def best_cuts(problem: CutProblem, batches: Integers) -> CutChoice | None:
    """The best cuts with these mini-batches; None where none fits or reaches the target."""
    if problem.cuts**problem.users <= MAX_COMBINATIONS:
        every = np.array(list(product(range(1, problem.cuts + 1), repeat=problem.users)))
        best: CutChoice | None = problem.best_of(_with(batches, every))
    else:
        swept = sorted(_swept(problem, batches), key=problem.cost)
        polished = [problem.local_search(found, partial(_one_cut_apart, problem.cuts)) for found in swept[:POLISHED]]
        best = min(polished, key=problem.cost, default=None)
    return best if best is not None and np.isfinite(problem.cost(best)) else None


def fastest_cuts(before: Floats, server: Floats, after: Floats) -> Integers:
    """Cuts (from one) with the least T1 + T2 + sum of server times, exactly; tables are (users, cuts), in seconds.

    Infinite entries are infeasible cuts. This is AdaptSFL's optimal cut, with energies of stages left out.
    """
    return _sweep(before, server, after, np.unique(before[np.isfinite(before)]), np.unique(after[np.isfinite(after)]))


def _swept(problem: CutProblem, batches: Integers) -> list[CutChoice]:
    """For each deepest cut, the fastest cuts up to it, where the user for whom it costs least has the deepest one."""
    scaled = [batches[:, None] * table for table in (problem.before_s, problem.server_s, problem.after_s)]
    fits = problem.max_samples >= batches[:, None]
    before, server, after = (np.where(fits, table, np.inf) for table in scaled)
    found = []
    for deepest in range(1, problem.cuts + 1):
        tables = before[:, :deepest], server[:, :deepest], after[:, :deepest]
        if not np.isfinite(tables[0]).any(axis=1).all():
            continue
        cuts = _sweep(*tables, _thinned(tables[0]), _thinned(tables[2]))
        forced = np.where(np.eye(problem.users, dtype=bool), deepest, cuts)
        found.append(problem.best_of(_with(batches, forced)))
    return found


def _sweep(before: Floats, server: Floats, after: Floats, first: Floats, last: Floats) -> Integers:
    best, best_s = np.argmin(np.where(np.isfinite(before), server, np.inf), axis=1), np.inf
    for limit in first:
        early = np.where(before <= limit, server, np.inf)
        if not np.isfinite(early).any(axis=1).all():
            continue
        allowed = np.where(after <= last[:, None, None], early, np.inf)  # (limits, users, cuts)
        chosen = allowed.argmin(axis=2)
        total_s = limit + last + allowed.min(axis=2).sum(axis=1)
        row = int(np.argmin(total_s))
        if total_s[row] < best_s:
            best, best_s = chosen[row], float(total_s[row])
    return np.asarray(best + 1, dtype=np.int64)


def _thinned(table: Floats) -> Floats:
    """The finite times of a table, ascending; of many at most MAX_LIMITS, the largest included."""
    times = np.unique(table[np.isfinite(table)])
    if len(times) <= MAX_LIMITS:
        return times
    return np.asarray(times[np.linspace(0, len(times) - 1, MAX_LIMITS).round().astype(int)])


def _one_cut_apart(cuts: int, choice: CutChoice) -> CutChoice:
    """Choices, one a row, in which a single user has another cut, and the choice itself."""
    users = len(choice.cuts)
    moved = np.where(np.eye(users, dtype=bool)[:, None], np.arange(1, cuts + 1)[:, None], choice.cuts)
    return _with(choice.batches, moved.reshape(-1, users))


def _with(batches: Integers, cuts: Integers) -> CutChoice:
    """Choices with these rows of cuts, all with the same mini-batches."""
    return CutChoice(np.broadcast_to(batches, cuts.shape), cuts)
