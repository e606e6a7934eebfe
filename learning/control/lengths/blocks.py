"""The three blocks of the alternation: bandwidth, power or lengths, each solved exactly while the others are fixed.

With the latest upload as latency, bandwidth and power follow from a root search over the instant by which all are done.
With the sum of all uploads, the marginal time of a hertz, or of a watt, is the same for all users (the condition of
Karush, Kuhn and Tucker), and that price is found by a root search. A result is never worse than what a block is given.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import lambertw

from learning.control.lengths.problem import Counts, LengthAllocation, LengthProblem
from learning.control.rate import LN2, Floats, bandwidth_hz, power_w, rate_bps
from learning.control.split import smallest_within

NEWTON_STEPS = 40
"""Bound on the steps of Newton's method for the SNR at a price of bandwidth; about six are taken."""


def with_best_bandwidth(problem: LengthProblem, allocation: LengthAllocation) -> LengthAllocation:
    """The best division of the band with powers and lengths fixed."""
    bits, power, gain = problem.of_length(problem.bits, allocation.lengths), allocation.power_w, problem.gain_hz_per_w
    if problem.latency == "max":
        width = _by_instant(
            problem, allocation, lambda rate: bandwidth_hz(rate, power, gain), lambda w: w.sum() / problem.total_hz
        )
    else:
        received_hz = power * gain

        def saved_s(width: Floats) -> Floats:
            """Seconds that one more hertz saves, S R'(b) / R(b)^2."""
            return np.asarray(bits * LN2 * _hertz_factor(received_hz / width) / received_hz**2)

        def demanded(price: float) -> Floats:
            return np.asarray(received_hz / _snr_of_factor(price * received_hz**2 / (bits * LN2)))

        width = _at_price(saved_s, demanded, np.full(problem.users, problem.total_hz), problem.total_hz)
    candidate = allocation._replace(bandwidth_hz=width * (problem.total_hz / width.sum()))
    return min(candidate, allocation, key=problem.objective)  # of equal ones that which spends the budget


def with_best_power(problem: LengthProblem, allocation: LengthAllocation) -> LengthAllocation:
    """The best powers with bandwidths and lengths fixed; the maximum where the budget is enough for that."""
    caps = np.minimum(problem.max_power_w, problem.total_power_w)
    if caps.sum() <= problem.total_power_w:
        return min(allocation, allocation._replace(power_w=caps), key=problem.objective)
    bits, width, gain = (
        problem.of_length(problem.bits, allocation.lengths),
        allocation.bandwidth_hz,
        problem.gain_hz_per_w,
    )
    if problem.latency == "max":
        power = _by_instant(
            problem,
            allocation,
            lambda rate: power_w(rate, width, gain),
            lambda p: max((p / caps).max(), p.sum() / problem.total_power_w),
        )
    else:

        def saved_s(power: Floats) -> Floats:
            """Seconds that one more watt saves, S R'(p) / R(p)^2, of which R = b log2(1 + x) and x = p g / b."""
            x = power * gain / width
            return np.asarray(bits * LN2 * gain / (width**2 * (1 + x) * np.log1p(x) ** 2))

        def demanded(price: float) -> Floats:
            """The root of (1 + x) ln(1 + x)^2 = c is ln(1 + x) = 2 W(sqrt(c) / 2), W of Lambert."""
            nats = 2 * np.real(lambertw(np.sqrt(bits * LN2 * gain / (width**2 * price)) / 2))
            return np.asarray(np.minimum(np.expm1(nats) * width / gain, caps))

        power = _at_price(saved_s, demanded, caps, problem.total_power_w)
    candidate = allocation._replace(power_w=power_spent(power, caps, problem.total_power_w))
    return min(candidate, allocation, key=problem.objective)  # of equal ones that which spends the budget


def with_best_lengths(problem: LengthProblem, allocation: LengthAllocation) -> LengthAllocation:
    """The best lengths with bandwidths and powers fixed, exact but for the square of the server's time.

    That is replaced by its tangent at the present lengths.
    """
    rate = rate_bps(allocation.bandwidth_hz, allocation.power_w, problem.gain_hz_per_w)
    seconds = problem.device_s + problem.bits / rate[:, None]
    cost = problem.length_cost(allocation.lengths)
    if problem.latency == "max":
        lengths = _best_by_instant(problem, seconds, cost)
    else:
        lengths = np.asarray((problem.second_weight * seconds + cost).argmin(axis=1))
    return min(allocation, allocation._replace(lengths=lengths), key=problem.objective)


def _by_instant(
    problem: LengthProblem,
    allocation: LengthAllocation,
    needed: Callable[[Floats], Floats],
    fraction: Callable[[Floats], float],
) -> Floats:
    """(users,): what users need, of bandwidth or power, to be done at the earliest instant at which that fits.

    Args:
        problem: the problem.
        allocation: an allocation that fits.
        needed: rates (users,) -> what users need for them.
        fraction: how much of what there is it takes.
    """
    bits, device_s = (problem.of_length(table, allocation.lengths) for table in (problem.bits, problem.device_s))

    def by(instant_s: float) -> Floats:
        left_s = instant_s - device_s
        with np.errstate(divide="ignore"):
            return needed(np.where(left_s > 0, bits / np.maximum(left_s, 0), np.inf))

    latest = float(problem.seconds(allocation).max())
    earliest = max(float(device_s.max()), latest * 1e-9)
    found = by(smallest_within(min(earliest, latest), latest, lambda instant_s: float(fraction(by(instant_s)))))
    return found if np.isfinite(found).all() else by(latest)


def _best_by_instant(problem: LengthProblem, seconds: Floats, cost: Floats) -> Counts:
    """(users,): lengths for the latest upload as latency: all instants at which some length becomes possible are tried.

    By an instant, each user takes the cheapest of the lengths that it can send.
    """
    allowed = problem.allowed
    instants = np.unique(seconds[allowed])
    instants = instants[instants >= np.where(allowed, seconds, np.inf).min(axis=1).max()]
    choices = np.empty((len(instants), problem.users), dtype=np.int64)
    for user in range(problem.users):
        order = np.argsort(np.where(allowed[user], seconds[user], np.inf), kind="stable")
        sorted_cost = cost[user][order]
        cheapest = np.minimum.accumulate(sorted_cost)
        place = np.maximum.accumulate(np.where(sorted_cost == cheapest, np.arange(len(order)), 0))
        possible = np.searchsorted(seconds[user][order][: allowed[user].sum()], instants, side="right") - 1
        choices[:, user] = order[place[possible]]
    return np.asarray(
        choices[np.argmin(problem.second_weight * instants + problem.of_length(cost, choices).sum(axis=1))]
    )


def _at_price(
    saved_s: Callable[[Floats], Floats], demanded: Callable[[float], Floats], caps: Floats, total: float
) -> Floats:
    """(users,): amounts of a given sum that all save as many seconds by one more unit, unless they are at their caps.

    Args:
        saved_s: amounts -> seconds that one more unit saves each user, falling.
        demanded: price in seconds -> amounts that save as much, at most `caps`.
        caps: (users,): upper bounds, whose sum is at least `total`.
        total: sum of the amounts.
    """
    from scipy.optimize import brentq  # here, because it takes a fifth of a second of every command

    if len(caps) == 1:
        return np.full(1, total)
    lowest, highest = float(saved_s(caps).min()), float(saved_s(np.minimum(caps, total / len(caps))).max())
    price = brentq(
        lambda log_price: float(demanded(np.exp(log_price)).sum()) - total,
        np.log(lowest / 2),
        np.log(highest * 2),
        xtol=1e-13,
    )
    return demanded(float(np.exp(price)))


def power_spent(power: Floats, caps: Floats, total_w: float) -> Floats:
    """(users,): powers of exactly the sum `total_w`: what is left over goes to all, in proportion to what they lack."""
    if caps.sum() <= total_w:
        return caps
    power = power * min(1.0, total_w / power.sum())
    return np.asarray(power + (caps - power) * ((total_w - power.sum()) / (caps - power).sum()))


def _hertz_factor(snr: Floats) -> Floats:
    """x^2 (ln(1 + x) - x / (1 + x)) / ln(1 + x)^2 of the SNR x, rising: what a hertz saves, but for constants."""
    nats = np.log1p(snr)
    return np.asarray(snr**2 * _gap(snr, nats) / nats**2)


def _gap(snr: Floats, nats: Floats) -> Floats:
    """ln(1 + x) - x / (1 + x), by its series where digits would be lost."""
    return np.where(snr < 1e-4, snr**2 * (0.5 - 2 / 3 * snr), nats - snr / (1 + snr))


def _snr_of_factor(factor: Floats) -> Floats:
    """The SNR with a given `_hertz_factor`, by Newton's method for their logarithms."""
    target = np.log(factor)
    log_snr = np.where(target < 0, (target + LN2) / 2, target / 2 + 1)
    for _ in range(NEWTON_STEPS):
        snr = np.exp(log_snr)
        nats = np.log1p(snr)
        gap = _gap(snr, nats)
        slope = 2 + snr**2 / (1 + snr) ** 2 / gap - 2 * snr / ((1 + snr) * nats)
        step = (2 * log_snr + np.log(gap) - 2 * np.log(nats) - target) / slope
        log_snr = log_snr - step
        if np.abs(step).max() < 1e-14:
            break
    return np.exp(log_snr)
