"""The best mini-batches for given cuts, exactly.

For given limits T1 on what comes before the server and T2 on what comes after it, each user has a largest mini-batch,
and (T1 + T2 + T_A / I + sum s_i b_i) / (eps - D - a sum 1 / b_i) is to be least. Dinkelbach's method turns the ratio q
into a sum: min sum_i (s_i b_i + q a / b_i), one integer for each user, which is a neighbour of sqrt(q a / s_i) or the
largest; the new ratio is the next q. (Dinkelbach, On nonlinear fractional programming, Management Science 13, 1967.)
"""

from __future__ import annotations

import numpy as np

from learning.control.cuts.problem import CutChoice, CutProblem, Floats, Integers

MAX_LIMITS = 40
"""Maximum number of limits of one kind that are all tried; where there are more, this many in equal ratios are tried,
followed by a local search."""
ITERATIONS = 60


def best_batches(problem: CutProblem, cuts: Integers) -> CutChoice | None:
    """The best mini-batches at the cuts (users,); None where no mini-batches reach the target or fit the devices."""
    before, server, after, most = problem.per_sample(cuts)
    if (most < 1).any():
        return None
    limits = [_limits(each, most) for each in (before, after)]
    first, last = (grid.ravel() for grid in np.meshgrid(*limits, indexing="ij"))
    caps = np.minimum(_within(first, before), _within(last, after))
    caps = np.minimum(caps, most)
    possible = (caps >= 1).all(axis=1)
    first, last, caps = first[possible], last[possible], np.unique(caps[possible], axis=0)
    batches = _dinkelbach(problem, cuts, caps, before, server, after)
    if not len(batches):
        return None
    best = problem.best_of(_at(cuts, np.unique(batches, axis=0)))
    return problem.local_search(best, _one_sample_apart) if np.isfinite(problem.cost(best)) else None


def _limits(seconds: Floats, most: Integers) -> Floats:
    """Limits that allow different mini-batches: multiples of single users' seconds a sample."""
    if most.sum() <= MAX_LIMITS:
        return np.unique(
            np.concatenate([np.arange(1, top + 1) * each for each, top in zip(seconds, most, strict=True)])
        )
    return np.geomspace(seconds.max(), max((seconds * most).max(), seconds.max() * 1.001), MAX_LIMITS)


def _within(limits: Floats, seconds: Floats) -> Integers:
    """(limits, users): samples of each user that fit into each limit."""
    with np.errstate(divide="ignore"):
        fitting = np.floor(limits[:, None] / seconds * (1 + 1e-12))
    return np.minimum(fitting, 2**31).astype(np.int64)


def _dinkelbach(
    problem: CutProblem, cuts: Integers, caps: Integers, before: Floats, server: Floats, after: Floats
) -> Integers:
    """The best integers under each row of caps, without rows that cannot reach the target."""
    noise = problem.bound.noise(problem.users)
    left = problem.bound.target - problem.bound.drift[cuts.max()]
    overhead = problem.aggregation_s(cuts) / problem.bound.interval
    caps = caps[left - noise * (1 / caps).sum(axis=1) > 0]
    fixed = (caps * before).max(axis=1, initial=0) + (caps * after).max(axis=1, initial=0) + overhead
    batches: Integers = caps
    for _ in range(ITERATIONS):
        ratio = _ratio(batches, fixed, server, noise, left)
        following = _separately(ratio, caps, server, noise)
        better = _ratio(following, fixed, server, noise, left) < ratio * (1 - 1e-13)
        if not better.any():
            break
        batches = np.where(better[:, None], following, batches)
    return batches


def _ratio(batches: Integers, fixed: Floats, server: Floats, noise: float, left: float) -> Floats:
    seconds = fixed + (batches * server).sum(axis=1)
    progress = left - noise * (1 / batches).sum(axis=1)
    return np.where(progress > 0, seconds / np.where(progress > 0, progress, 1.0), np.inf)


def _separately(ratio: Floats, caps: Integers, server: Floats, noise: float) -> Integers:
    """Each user's integer with the least s b + q a / b, from 1 to its cap."""
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.sqrt(ratio[:, None] * noise / server)
    low = np.clip(np.floor(np.nan_to_num(level, posinf=2.0**31)), 1, caps).astype(np.int64)
    high = np.minimum(low + 1, caps)

    def term(batches: Integers) -> Floats:
        return np.asarray(server * batches + ratio[:, None] * noise / batches, dtype=float)

    return np.asarray(np.where(term(high) < term(low), high, low))


def _one_sample_apart(choice: CutChoice) -> CutChoice:
    """Choices, one a row, with one sample more or less of a single user."""
    steps = np.eye(len(choice.batches), dtype=np.int64)
    return _at(choice.cuts, np.maximum(np.concatenate([choice.batches - steps, choice.batches + steps]), 1))


def _at(cuts: Integers, batches: Integers) -> CutChoice:
    """Choices with these rows of mini-batches, all at the same cuts."""
    return CutChoice(batches, np.broadcast_to(cuts, batches.shape))
