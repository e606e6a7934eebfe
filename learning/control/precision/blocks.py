"""The best power and bandwidth, one with the other fixed, or jointly.

As a function of the upload time the energy is convex and falling, so all uploads should end just at the end of the
round, and what is left is a convex search over that end.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from learning.control.precision.problem import Bits, PrecisionPlan, PrecisionProblem
from learning.control.rate import LN2, Floats, rate_bps
from learning.control.split import min_energy_split, smallest_within

SCA_PASSES, SETTLED = 200, 1e-6
"""Bound on the passes of successive convex approximation, and the relative gain of a pass below which it ends."""


def with_best_power(problem: PrecisionProblem, plan: PrecisionPlan) -> PrecisionPlan:
    """The best power with bits and bandwidth fixed: a convex search over the latency, every upload ending just then."""
    return _over_latency(problem, plan, lambda latency_s: problem.just_in_time(*plan[:2], latency_s))


def with_best_power_by_approximation(problem: PrecisionProblem, plan: PrecisionPlan) -> PrecisionPlan:
    """The best power with bits and bandwidth fixed, by successive convex approximation, as published.

    The energy of an upload is concave in its power, so its tangent is an upper bound; with the bound in its place the
    problem is convex, and its solution the next point to take the tangent at. The cost never rises.
    """
    second, joule = problem.prices
    payload, width = problem.payload(plan.bits), plan.bandwidth_hz
    bits = plan.bits

    def at(latency_s: float) -> PrecisionPlan:
        return problem.just_in_time(bits, width, latency_s)

    for _ in range(SCA_PASSES):
        slope = joule * _energy_slope(payload, width, plan.power_w, problem.gain_hz_per_w)

        def above(candidate: PrecisionPlan, slope: Floats = slope) -> float:
            return second * problem.latency_s(candidate) + float((slope * candidate.power_w).sum())

        following = _over_latency(problem, plan, at, above)
        before, plan = plan, min(following, plan, key=problem.cost)
        if problem.cost(plan) >= problem.cost(before) * (1 - SETTLED):
            break
    return plan


def _energy_slope(payload: Floats, width_hz: Floats, power_w: Floats, gain_hz_per_w: Floats) -> Floats:
    """(users,): derivative of the energy p S / R(p) by the power p."""
    rate = rate_bps(width_hz, power_w, gain_hz_per_w)
    rate_slope = gain_hz_per_w / LN2 / (1 + power_w * gain_hz_per_w / width_hz)
    return np.asarray(payload * (rate - power_w * rate_slope) / rate**2, dtype=float)


def with_best_bandwidth(problem: PrecisionProblem, plan: PrecisionPlan) -> PrecisionPlan:
    """The split of the band with the least energy, with bits and latency fixed, every upload ending just in time."""
    latency_s = problem.latency_s(plan)
    least = problem.min_width_hz(plan.bits, latency_s) * (1 - 1e-12)
    width = min_energy_split(
        problem.payload(plan.bits), latency_s - problem.fixed_s, problem.gain_hz_per_w, least, problem.total_hz
    )
    better = plan if width is None else problem.just_in_time(plan.bits, width, latency_s)
    return min(plan, better, key=problem.cost)


def with_best_radio(problem: PrecisionProblem, bits: Bits) -> PrecisionPlan:
    """The best power and bandwidth jointly, with bits fixed.

    In the logarithms of times and bandwidths the problem is jointly convex, so the least cost for a latency is convex
    in the latency, and the search over it finds the optimum.
    """

    def at(latency_s: float) -> PrecisionPlan:
        split = min_energy_split(
            problem.payload(bits),
            latency_s - problem.fixed_s,
            problem.gain_hz_per_w,
            problem.min_width_hz(bits, latency_s),
            problem.total_hz,
        )
        return problem.equal(bits) if split is None else problem.just_in_time(bits, split, latency_s)

    low = float(problem.fixed_s.max()) * (1 + 1e-12) + 1e-9

    def used_hz(latency_s: float) -> float:
        return float(problem.min_width_hz(bits, latency_s).sum())

    if not used_hz(problem.max_latency_s) <= problem.total_hz:
        return problem.equal(bits)
    earliest_s = smallest_within(low, problem.max_latency_s, used_hz, problem.total_hz)
    return _over_latency(problem, at(earliest_s * (1 + 1e-12)), at)


def _over_latency(
    problem: PrecisionProblem,
    start: PrecisionPlan,
    at: Callable[[float], PrecisionPlan],
    cost: Callable[[PrecisionPlan], float] | None = None,
) -> PrecisionPlan:
    """The cheapest of `at(latency)` over latencies from the shortest that full power allows, or `start` itself."""
    measure = problem.cost if cost is None else cost
    fastest = problem.latency_s(start._replace(power_w=np.full(problem.users, problem.max_power_w)))
    second, _ = problem.prices
    cap_s = problem.max_latency_s if second == 0 else min(problem.max_latency_s, fastest + problem.cost(start) / second)
    if cap_s <= fastest:
        return start
    margin_s = np.log([max(fastest - problem.fixed_s.max(), 1e-12), cap_s - problem.fixed_s.max()])
    from scipy.optimize import minimize_scalar  # here, because it takes a fifth of a second of every command

    found = minimize_scalar(
        lambda x: measure(at(float(np.exp(x)) + problem.fixed_s.max())),
        bounds=tuple(margin_s),
        method="bounded",
        options={"xatol": 1e-11, "maxiter": 500},
    )
    candidates = [at(fastest), at(float(np.exp(found.x)) + problem.fixed_s.max()), at(cap_s), start]
    return min(candidates, key=measure)
