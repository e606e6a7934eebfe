"""Bandwidth in whole subchannels: a two-sided matching of users and subchannels, improved by swaps until none helps."""

from __future__ import annotations

import numpy as np

from learning.control.precision.problem import Bits, PrecisionProblem
from learning.control.rate import Floats


def match(problem: PrecisionProblem, bits: Bits, power_w: Floats, gains_hz_per_w: Floats) -> Bits:
    """The user of each subchannel; each user has at least one, and shares its power equally among its own.

    `gains_hz_per_w` is (users, subchannels); all subchannels are as wide. Ends where neither the exchange of two
    subchannels nor a move of one lowers the cost. Raises ValueError with fewer subchannels than users.
    """
    users, subchannels = gains_hz_per_w.shape
    if subchannels < users:
        raise ValueError(f"{users} users cannot have one of {subchannels} subchannels each")
    owner = _first(problem, bits, power_w, gains_hz_per_w)
    cost = cost_of(problem, bits, power_w, gains_hz_per_w, owner)
    while True:
        candidates = list(_changes(owner, users))
        costs = [cost_of(problem, bits, power_w, gains_hz_per_w, candidate) for candidate in candidates]
        best = int(np.argmin(costs)) if costs else -1
        if best < 0 or costs[best] >= cost * (1 - 1e-12):
            return owner
        owner, cost = candidates[best], costs[best]


def rates_bps(power_w: Floats, gains_hz_per_w: Floats, owner: Bits, width_hz: float) -> Floats:
    """Rate of each user over its subchannels."""
    users = np.arange(len(power_w))
    mine = owner == users[:, None]  # (users, subchannels)
    each_w = power_w / np.maximum(mine.sum(axis=1), 1)
    efficiency = np.log2(1 + each_w[:, None] * gains_hz_per_w / width_hz)
    return np.asarray(width_hz * (mine * efficiency).sum(axis=1), dtype=float)


def cost_of(problem: PrecisionProblem, bits: Bits, power_w: Floats, gains_hz_per_w: Floats, owner: Bits) -> float:
    """The objective of an assignment; a subchannel of nobody has owner -1."""
    rate = rates_bps(power_w, gains_hz_per_w, owner, problem.total_hz / gains_hz_per_w.shape[1])
    if not (rate > 0).all():
        return float("inf")
    seconds = problem.payload(bits) / rate
    second, joule = problem.prices
    return second * float((problem.fixed_s + seconds).max()) + joule * float((power_w * seconds).sum())


def _first(problem: PrecisionProblem, bits: Bits, power_w: Floats, gains_hz_per_w: Floats) -> Bits:
    """Each user its best free subchannel, the others to whom they lower the cost most."""
    users, subchannels = gains_hz_per_w.shape
    owner = np.full(subchannels, -1)
    for user in range(users):
        owner[int(np.argmax(np.where(owner < 0, gains_hz_per_w[user], -1.0)))] = user
    for subchannel in np.flatnonzero(owner < 0):
        costs = []
        for user in range(users):
            owner[subchannel] = user
            costs.append(cost_of(problem, bits, power_w, gains_hz_per_w, owner))
        owner[subchannel] = int(np.argmin(costs))
    return owner


def _changes(owner: Bits, users: int) -> list[Bits]:
    """All assignments one exchange or one move away that leave nobody without a subchannel."""
    counts = np.bincount(owner, minlength=users)
    out = []
    for one in range(len(owner)):
        for other in range(one):
            if owner[one] != owner[other]:
                swapped = owner.copy()
                swapped[[one, other]] = swapped[[other, one]]
                out.append(swapped)
        for user in range(users):
            if user != owner[one] and counts[owner[one]] > 1:
                moved = owner.copy()
                moved[one] = user
                out.append(moved)
    return out
