"""The published alternating optimisation of power, bandwidth and tokens (algorithms 2 to 4), from three starts.

Every step solves its block exactly, so the efficiency never falls. The alternation can end in a local optimum: the
power step uses the whole energy for the present tokens, and the token step can then increase none. Hence the starts at
the fewest, half and all tokens.
"""

from __future__ import annotations

import numpy as np

from learning.control.rate import Floats, bandwidth_hz, power_for_energy_w, rate_bps
from learning.control.split import smallest_within
from learning.control.tokens.problem import Counts, TokenAllocation, TokenProblem

MAX_PASSES = 50
"""Bound on the passes of an alternation."""
ROUNDING = 1e-9
"""Relative excess over a limit that rounding may cause where a user spends all its energy."""
ENDLESS_S = 1e9
"""Stands for an unlimited latency: at an infinite one, the bandwidths needed would all be zero."""
SETTLED = 1e-9
"""Relative gain of a pass below which the alternation ends."""


def alternating(problem: TokenProblem) -> TokenAllocation:
    """The best result of the alternations from the fewest, half and all tokens."""
    starts = (problem.min_tokens, max(problem.patches // 2, problem.min_tokens), problem.patches)
    return max((ascent(problem, first(problem, start))[-1] for start in starts), key=problem.efficiency)


def ascent(problem: TokenProblem, allocation: TokenAllocation) -> list[TokenAllocation]:
    """The initial allocation and that after each pass."""
    path = [allocation]
    while len(path) <= MAX_PASSES:
        power = with_best_power(problem, path[-1])
        width = with_best_bandwidth(problem, power)
        path.append(with_best_tokens(problem, width))
        before, after = problem.efficiency(path[-2]), problem.efficiency(path[-1])
        if after <= before * (1 + SETTLED):
            break
    return path


def first(problem: TokenProblem, tokens: int) -> TokenAllocation:
    """An initial allocation: `tokens` for every user, or as many as fit; equal bandwidths where these suffice."""
    wanted = np.full(problem.users, tokens)
    while not problem.fits(problem.min_width_hz(wanted, ENDLESS_S)):
        wanted = np.maximum((wanted + problem.min_tokens) // 2, problem.min_tokens)
    equal = np.full(problem.users, problem.total_hz / problem.users)
    allocation = with_best_power(problem, TokenAllocation(wanted, equal, equal))
    if problem.excess(allocation) <= ROUNDING:
        return allocation
    width = problem.shared(problem.min_width_hz(wanted, ENDLESS_S))
    return with_best_power(problem, TokenAllocation(wanted, width, width))


def with_best_power(problem: TokenProblem, allocation: TokenAllocation) -> TokenAllocation:
    """The best power with tokens and bandwidth fixed: the largest allowed, at which uploads are shortest (Eq. 27)."""
    if not problem.optimise_power:
        return allocation._replace(power_w=np.full(problem.users, problem.max_power_w))
    bits = problem.bits(allocation.tokens)
    within = power_for_energy_w(bits, problem.max_energy_j, allocation.bandwidth_hz, problem.gain_hz_per_w)
    return allocation._replace(power_w=np.minimum(problem.max_power_w, within))


def with_best_bandwidth(problem: TokenProblem, allocation: TokenAllocation) -> TokenAllocation:
    """The best bandwidth with tokens and power fixed: shortest latency; the rest is distributed."""
    if not problem.optimise_bandwidth:
        return allocation
    bits, power = problem.bits(allocation.tokens), allocation.power_w
    slowest = np.maximum(power * bits / problem.max_energy_j, bits / problem.time_left_s)

    def needed(latency_s: float) -> Floats:
        return bandwidth_hz(np.maximum(bits / latency_s, slowest), power, problem.gain_hz_per_w)

    latest = float(problem.seconds(allocation).max())
    latency_s = smallest_within(
        latest * 1e-6, latest, lambda latency_s: float(needed(latency_s).sum()), problem.total_hz
    )
    width = needed(latency_s)
    if not width.sum() <= problem.total_hz:  # rounding: the allocation itself is the best there is
        return allocation
    return allocation._replace(bandwidth_hz=problem.shared(width))


def with_best_tokens(problem: TokenProblem, allocation: TokenAllocation) -> TokenAllocation:
    """The best tokens with bandwidth and power fixed: tries all latencies at which one more token fits (Eq. 41)."""
    rate = rate_bps(allocation.bandwidth_hz, allocation.power_w, problem.gain_hz_per_w)
    most = np.minimum(_sendable(problem, rate * problem.max_energy_j / allocation.power_w), problem.patches)
    most = np.maximum(np.minimum(most, _sendable(problem, rate * problem.time_left_s)), allocation.tokens)
    ends = problem.bits(np.arange(problem.patches + 1)[:, None]).T / rate[:, None]
    earliest = ends[:, problem.min_tokens].max()
    latencies = np.unique(ends[ends >= earliest])
    tokens = np.minimum(_sendable(problem, rate * latencies[:, None]), most)
    delivered = problem.mass[np.arange(problem.users), tokens].sum(axis=1)
    best = tokens[np.argmax(delivered / (problem.bits(tokens) / rate).max(axis=1))]
    better = allocation._replace(tokens=best)
    return max(allocation, better, key=problem.efficiency)


def _sendable(problem: TokenProblem, bits: Floats) -> Counts:
    """(..., users): patch tokens that fit into `bits`, (..., users); an exact fit counts as fitting."""
    whole = np.floor((bits * (1 + 1e-12) - problem.overhead_bits) / problem.token_bits) - problem.extra_tokens
    counts: Counts = np.clip(whole, problem.min_tokens, problem.patches).astype(np.int64)
    return counts
