"""A search over the latency: for a given one, tokens are granted where their mass costs the least bandwidth.

Within a latency, an upload needs the least bandwidth if it takes exactly that time at the maximum power that the limits
of power and energy allow. That bandwidth rises convexly with the tokens, while their mass rises concavely. The greedy
choice by the ratio of mass to bandwidth is then optimal except for the last token, of which only a fraction fits.
"""

from __future__ import annotations

import numpy as np

from learning.control.rate import Floats
from learning.control.tokens.alternating import ascent
from learning.control.tokens.problem import Counts, TokenAllocation, TokenProblem

POINTS = 40
"""Number of latencies that are tried in equal ratios, and again between the neighbours of the best one."""


def by_latency(problem: TokenProblem) -> TokenAllocation:
    """The best choice over a grid of latencies, improved by the alternation, which cannot lower its efficiency."""
    few, many = (np.full(problem.users, count) for count in (problem.min_tokens, problem.patches))
    shortest, longest = problem.shortest_s(np.stack([few, many]))
    grid = np.geomspace(shortest, min(longest, float(np.max(problem.time_left_s)), 1e9), POINTS)
    best = _best(problem, grid)
    centre, ratio = float(problem.seconds(best).max()), grid[1] / grid[0]
    closer = _best(problem, np.geomspace(centre / ratio, centre * ratio, POINTS))
    return ascent(problem, max(best, closer, key=problem.efficiency))[-1]


def _best(problem: TokenProblem, latencies_s: Floats) -> TokenAllocation:
    return problem.best_of(np.unique([_tokens(problem, latency_s) for latency_s in latencies_s], axis=0))


def _tokens(problem: TokenProblem, latency_s: float) -> Counts:
    """(users,): the greedy choice at a latency; `min_tokens` where not even these fit."""
    counts = np.arange(problem.min_tokens, problem.patches + 1)
    grid = np.broadcast_to(counts[:, None], (len(counts), problem.users))
    width = problem.min_width_hz(grid, latency_s).T  # (users, counts)
    if not problem.optimise_bandwidth:
        fitting: Counts = (width <= problem.total_hz / problem.users).sum(axis=1)
        return problem.min_tokens - 1 + np.maximum(fitting, 1)
    left = float(problem.total_hz - width[:, 0].sum())
    if not left >= 0:
        return np.full(problem.users, problem.min_tokens)
    return problem.min_tokens + _greedy(problem.importance[:, problem.min_tokens :], width, left)


def _greedy(gain: Floats, width: Floats, left: float) -> Counts:
    """(users,): further tokens of each user: largest mass per hertz first, until the first that does not fit."""
    with np.errstate(invalid="ignore"):
        cost = np.nan_to_num(np.diff(width, axis=1), nan=np.inf)
    worth = gain / np.maximum(cost, 1e-300)
    order = np.argsort(-worth, axis=None, kind="stable")
    taken = int(np.searchsorted(np.cumsum(cost.ravel()[order]), left, side="right"))
    more: Counts = np.bincount(order[:taken] // max(gain.shape[1], 1), minlength=len(gain))
    left -= float(cost.ravel()[order[:taken]].sum())
    return _filled_up(more, cost, worth, left)


def _filled_up(more: Counts, cost: Floats, worth: Floats, left: float) -> Counts:
    """(users,): further tokens, with those that still fit into the rest of the band, largest mass per hertz first."""
    users, last = np.arange(len(more)), cost.shape[1] - 1
    while last >= 0:
        following = users, np.minimum(more, last)
        fits = (more <= last) & (cost[following] <= left)
        if not fits.any():
            break
        chosen = int(np.argmax(np.where(fits, worth[following], -1.0)))
        left -= float(cost[chosen, more[chosen]])
        more[chosen] += 1
    return more
