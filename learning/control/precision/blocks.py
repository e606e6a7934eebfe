"""Power and bandwidth, one with the other fixed, or both at once.

With the time of an upload in place of its power the energy is convex and falling, so everybody should be done just at
the round's end, and what is left is a convex search over that end.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize_scalar

from learning.control.precision.problem import Bits, Plan, PrecisionProblem
from learning.control.rate import LN2, Floats, rate_bps
from learning.control.split import bisect, min_energy_split

SCA_PASSES, SETTLED = 200, 1e-6
"""Successive convex approximation ends after so many passes, or with a smaller relative gain of one."""


def with_best_power(problem: PrecisionProblem, plan: Plan) -> Plan:
    """Bits and bandwidth fixed: the latency whose just-in-time powers cost least, by a convex search."""
    return _over_latency(problem, plan, lambda latency_s: problem.just_in_time(*plan[:2], latency_s))


def with_best_power_by_approximation(problem: PrecisionProblem, plan: Plan) -> Plan:
    """The same by successive convex approximation, as published.

    The energy of an upload is concave in its power, so its tangent is above it; with that in its place the problem is
    convex, and its solution the next point to take the tangent at. The cost never rises.
    """
    second, joule = problem.prices
    payload, width = problem.payload(plan.bits), plan.bandwidth_hz
    bits = plan.bits

    def at(latency_s: float) -> Plan:
        return problem.just_in_time(bits, width, latency_s)

    for _ in range(SCA_PASSES):
        slope = joule * _energy_slope(payload, width, plan.power_w, problem.gain_hz_per_w)

        def above(candidate: Plan, slope: Floats = slope) -> float:
            return second * problem.latency_s(candidate) + float((slope * candidate.power_w).sum())

        following = _over_latency(problem, plan, at, above)
        before, plan = plan, min(following, plan, key=problem.cost)
        if problem.cost(plan) >= problem.cost(before) * (1 - SETTLED):
            break
    return plan


def _energy_slope(payload: Floats, width_hz: Floats, power_w: Floats, gain_hz_per_w: Floats) -> Floats:
    """Derivative of p S / R(p)."""
    rate = rate_bps(width_hz, power_w, gain_hz_per_w)
    rate_slope = gain_hz_per_w / LN2 / (1 + power_w * gain_hz_per_w / width_hz)
    return np.asarray(payload * (rate - power_w * rate_slope) / rate**2, dtype=float)


def with_best_bandwidth(problem: PrecisionProblem, plan: Plan) -> Plan:
    """Bits and latency fixed: the split of the band with the least energy, everybody done just in time."""
    latency_s = problem.latency_s(plan)
    least = problem.min_width_hz(plan.bits, latency_s) * (1 - 1e-12)
    width = min_energy_split(
        problem.payload(plan.bits), latency_s - problem.fixed_s, problem.gain_hz_per_w, least, problem.total_hz
    )
    better = plan if width is None else problem.just_in_time(plan.bits, width, latency_s)
    return min(plan, better, key=problem.cost)


def with_best_radio(problem: PrecisionProblem, bits: Bits) -> Plan:
    """Bits fixed: power and bandwidth at once.

    In the logarithms of times and bandwidths the problem is jointly convex, so the least cost for a latency is convex
    in the latency, and the search over it finds the optimum.
    """

    def at(latency_s: float) -> Plan:
        split = min_energy_split(
            problem.payload(bits),
            latency_s - problem.fixed_s,
            problem.gain_hz_per_w,
            problem.min_width_hz(bits, latency_s),
            problem.total_hz,
        )
        return problem.equal(bits) if split is None else problem.just_in_time(bits, split, latency_s)

    low = float(problem.fixed_s.max()) * (1 + 1e-12) + 1e-9

    def enough(latency_s: float) -> bool:
        return float(problem.min_width_hz(bits, latency_s).sum()) <= problem.total_hz

    if not enough(problem.longest_s):
        return problem.equal(bits)
    return _over_latency(problem, at(bisect(low, problem.longest_s, enough) * (1 + 1e-12)), at)


def _over_latency(
    problem: PrecisionProblem,
    start: Plan,
    at: Callable[[float], Plan],
    cost: Callable[[Plan], float] | None = None,
) -> Plan:
    """The cheapest of `at(latency)` from the shortest that full power allows, which `start` has or is slower than."""
    measure = problem.cost if cost is None else cost
    fastest = problem.latency_s(start._replace(power_w=np.full(problem.users, problem.max_power_w)))
    second, _ = problem.prices
    cap_s = problem.longest_s if second == 0 else min(problem.longest_s, fastest + problem.cost(start) / second)
    if cap_s <= fastest:
        return start
    margin_s = np.log([max(fastest - problem.fixed_s.max(), 1e-12), cap_s - problem.fixed_s.max()])
    found = minimize_scalar(
        lambda x: measure(at(float(np.exp(x)) + problem.fixed_s.max())),
        bounds=tuple(margin_s),
        method="bounded",
        options={"xatol": 1e-11, "maxiter": 500},
    )
    candidates = [at(fastest), at(float(np.exp(found.x)) + problem.fixed_s.max()), at(cap_s), start]
    return min(candidates, key=measure)
