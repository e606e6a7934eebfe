"""Coupled blocks, for the latest upload as latency: bandwidths with lengths, and bandwidths with powers.

Within an instant, each length of a user needs a known bandwidth at its power. Which lengths cost least in all, within
the band, is a multiple-choice knapsack. It is solved by a price of the band, at which users choose independently, and
what is left over goes to the changes of single users that fit. The instant is found by trying many, then more of them
about the best. With fixed lengths, bandwidths and powers are found together: one after the other they stall, since all
uploads end together as soon as either is divided.
"""

from __future__ import annotations

import numpy as np

from learning.control.lengths.alternating import alternating, descent
from learning.control.lengths.blocks import power_spent, with_best_bandwidth
from learning.control.lengths.problem import Counts, LengthAllocation, LengthProblem
from learning.control.rate import Floats, bandwidth_hz, power_w
from learning.control.split import min_energy_split, smallest_within

INSTANTS = 40
"""Instants that are tried in equal ratios, and again between the neighbours of the best one."""
HALVINGS = 50
"""Steps of the bisection over the logarithm of a price."""
LOWEST, HIGHEST = 1e-12, 1e12
"""Prices of the whole band among which is searched, in units of the weighted sum."""


def coupled(problem: LengthProblem) -> LengthAllocation:
    """The alternation of the coupled blocks, from equal powers.

    With the sum of all uploads as latency the published alternation is close to the optimum, and stands in for it.
    """
    if problem.latency == "sum":
        return alternating(problem)
    blocks = (with_best_bandwidth_and_lengths, with_best_bandwidth_and_power)
    return descent(problem, problem.equal(problem.longest), blocks)[-1]


def with_best_bandwidth_and_lengths(problem: LengthProblem, allocation: LengthAllocation) -> LengthAllocation:
    """Bandwidths and lengths with powers fixed; the better of what is found and of the present allocation."""
    cost, power, gain = problem.length_cost(allocation.lengths), allocation.power_w, problem.gain_hz_per_w

    def earliest_s(lengths: Counts) -> float:
        return float(problem.seconds(with_best_bandwidth(problem, allocation._replace(lengths=lengths))).max())

    def tried(instants: Floats) -> tuple[Counts, float]:
        """The best lengths within these instants, and the instant."""
        left_s = instants[:, None, None] - problem.device_s
        with np.errstate(divide="ignore"):
            rate = np.where(left_s > 0, problem.bits / np.maximum(left_s, 0), np.inf)
        width = bandwidth_hz(rate, power[:, None], gain[:, None]) / problem.total_hz
        lengths, fits = cheapest(cost, np.where(problem.allowed, width, np.inf))
        value = problem.second_weight * instants + problem.of_length(cost, lengths).sum(axis=1)
        best = int(np.argmin(np.where(fits, value, np.inf)))
        return lengths[best], float(instants[best])

    first, last = earliest_s(problem.shortest), earliest_s(np.asarray(cost.argmin(axis=1)))
    grid = np.geomspace(first, max(last, first * (1 + 1e-6)), INSTANTS)
    lengths, instant_s = tried(grid)
    ratio = grid[1] / grid[0]
    closer, _ = tried(np.geomspace(instant_s / ratio, instant_s * ratio, INSTANTS))
    found = [with_best_bandwidth(problem, allocation._replace(lengths=each)) for each in (lengths, closer)]
    return min([allocation, *found], key=problem.objective)


def with_best_bandwidth_and_power(problem: LengthProblem, allocation: LengthAllocation) -> LengthAllocation:
    """Bandwidths and powers with lengths fixed: the earliest instant at which the least total power is in budget."""
    bits, device_s = (problem.of_length(table, allocation.lengths) for table in (problem.bits, problem.device_s))
    gain, caps = problem.gain_hz_per_w, np.minimum(problem.max_power_w, problem.total_power_w)

    def by(instant_s: float) -> tuple[Floats, Floats]:
        """Bandwidths and powers by which all are done; beyond a budget where that cannot be."""
        left_s = instant_s - device_s
        with np.errstate(divide="ignore"):
            rate = np.where(left_s > 0, bits / np.maximum(left_s, 0), np.inf)
        least_hz = bandwidth_hz(rate, caps, gain)
        width = min_energy_split(rate, np.ones(problem.users), gain, least_hz, problem.total_hz)
        return (least_hz, caps) if width is None else (width, power_w(rate, width, gain))

    def fraction(instant_s: float) -> float:
        """How much is taken of what is scarce: of a band too narrow for the highest powers, else of the power."""
        width, power = by(instant_s)
        return float(width.sum() / problem.total_hz if power is caps else power.sum() / problem.total_power_w)

    latest = float(problem.seconds(allocation).max())
    earliest = max(float(device_s.max()), latest * 1e-9)
    width, power = by(smallest_within(min(earliest, latest), latest, fraction))
    width = width * (problem.total_hz / width.sum())
    power = power_spent(power, caps, problem.total_power_w)
    return min(allocation._replace(bandwidth_hz=width, power_w=power), allocation, key=problem.objective)


def cheapest(cost: Floats, need: Floats) -> tuple[Counts, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """Lengths of little cost within a budget of one, for several needs at once.

    Args:
        cost: (users, lengths): cost of each length; infinite where it is not allowed.
        need: (cases, users, lengths): fraction of the budget that it needs; infinite where it cannot be.

    Returns:
        Lengths (cases, users), and whether those of a case fit (cases,).
    """
    finite = np.where(np.isfinite(need), cost, np.inf)

    def at(price: Floats) -> tuple[Counts, Floats]:
        lengths = np.asarray((finite + price[:, None, None] * need).argmin(axis=2))
        return lengths, np.take_along_axis(need, lengths[:, :, None], axis=2)[:, :, 0].sum(axis=1)

    low, high = np.full(len(need), LOWEST), np.full(len(need), HIGHEST)
    for _ in range(HALVINGS):
        middle = np.sqrt(low * high)
        fits = at(middle)[1] <= 1
        low, high = np.where(fits, low, middle), np.where(fits, middle, high)
    lengths, spent = at(high)
    _fill_up(lengths, 1 - spent, finite, need)
    return lengths, spent <= 1


def _fill_up(lengths: Counts, left: Floats, cost: Floats, need: Floats) -> None:
    """Change lengths (cases, users) of single users, each time to the largest saving that fits, until none does."""
    cases, width = np.arange(len(lengths)), cost.shape[2]
    left = np.where(np.isfinite(left), left, -np.inf)
    while True:
        now = lengths[:, :, None]
        with np.errstate(invalid="ignore"):
            saved = np.take_along_axis(np.broadcast_to(cost, need.shape), now, axis=2) - cost
            more = need - np.take_along_axis(need, now, axis=2)
            saved = np.where((more <= left[:, None, None]) & (saved > 0), saved, 0.0).reshape(len(cases), -1)
        best = saved.argmax(axis=1)
        better = saved[cases, best] > 0
        if not better.any():
            return
        user, length = best // width, best % width
        spent = more.reshape(len(cases), -1)[cases, best]
        left = np.where(better, left - np.where(better, spent, 0.0), left)
        lengths[cases[better], user[better]] = length[better]
