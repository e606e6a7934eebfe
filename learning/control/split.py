"""Division of a bandwidth among users that minimises their total radiated energy."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.special import lambertw

from learning.control.rate import LN2, Floats

NEARLY = 1e-13, 1e-12
"""Relative distances behind the root that a search has found, at which rounding no longer matters."""
LARGEST_LOG = 600.0
"""Bound on the logarithm of a ratio in a search for a root, since infinite ones have no slope."""
POLISHING = 3
"""Newton steps that refine Lambert's W, which loses digits near its branch point."""


def smallest_within(low: float, high: float, used: Callable[[float], float], budget: float = 1.0) -> float:
    """The smallest number from which on no more than a budget is used, by Brent's method over its logarithm.

    Args:
        low: lower bound of the result, positive.
        high: upper bound of the result, which is within the budget but for rounding.
        used: what is used at a number: falling, and infinite where it cannot be had.
        budget: the budget, positive.

    Returns:
        The number, to a relative 1e-12; there no more than the budget is used, unless it is `high`.
    """
    used = cache(used)  # the search asks again at its ends
    if used(low) <= budget:
        return low
    if used(high) > budget:
        return high

    def excess(log_number: float) -> float:
        number = float(np.clip(np.exp(log_number), low, high))
        with np.errstate(divide="ignore"):
            return float(np.clip(np.log(used(number) / budget), -LARGEST_LOG, LARGEST_LOG))

    from scipy.optimize import brentq  # here, because it takes a fifth of a second of every command

    beyond = 1e-12  # so that rounding leaves both ends of the search at `low` and `high`, or outside
    root = float(np.exp(brentq(excess, np.log(low) - beyond, np.log(high) + beyond, xtol=1e-13)))
    tried = (root, *(root * (1 + further) for further in NEARLY))
    return min(next((number for number in tried if used(number) <= budget), high), high)


def min_energy_split(
    bits: Floats, seconds: Floats, gain_hz_per_w: Floats, min_hz: Floats, total_hz: float
) -> Floats | None:
    """Bandwidths (users,) of a given sum that minimise the total radiated energy; None where `min_hz` exceed the sum.

    Args:
        bits: (users,): bits that each user sends.
        seconds: (users,): time in which it sends them.
        gain_hz_per_w: (users,): power gain of its channel over the noise power density.
        min_hz: (users,): bandwidth that it needs because of its power limit.
        total_hz: sum of the bandwidths.
    """
    # A root search for the price of a hertz: at the optimum one more hertz saves the same energy for every user whose
    # bandwidth exceeds its minimum.
    excess_hz = total_hz - float(min_hz.sum())
    if excess_hz < 0:
        return None

    def demanded(price: float) -> Floats:
        return np.maximum(min_hz, width_worth(price, bits, seconds, gain_hz_per_w))

    shared = min_hz + excess_hz / len(bits)
    if excess_hz <= 1e-9 * total_hz:
        return shared
    lowest = float(saving(np.full_like(bits, total_hz), bits, seconds, gain_hz_per_w).min())
    highest = float(saving(shared, bits, seconds, gain_hz_per_w).max())
    from scipy.optimize import brentq  # here, because it takes a fifth of a second of every command

    price = brentq(
        lambda log_price: float(demanded(np.exp(log_price)).sum()) - total_hz,
        np.log(lowest / 2),
        np.log(highest * 2),
        xtol=1e-13,
    )
    width_hz = demanded(float(np.exp(price)))
    return min_hz + (width_hz - min_hz) * (excess_hz / max(float((width_hz - min_hz).sum()), 1e-300))


def saving(width_hz: Floats, bits: Floats, seconds: Floats, gain_hz_per_w: Floats) -> Floats:
    """(users,): J saved by one more hertz: (t / g) (x e^x - e^x + 1), with the rate x = S ln 2 / (W t) in nat/s/Hz."""
    x = np.minimum(bits * LN2 / (width_hz * seconds), 700.0)
    return np.asarray(seconds / gain_hz_per_w * (x * np.exp(x) - np.expm1(x)), dtype=float)


def width_worth(price: float, bits: Floats, seconds: Floats, gain_hz_per_w: Floats) -> Floats:
    """(users,): bandwidth at which a further hertz saves its price in J: x = 1 + W((c - 1) / e), c = price g / t."""
    cost = price * gain_hz_per_w / seconds
    x = 1 + np.real(lambertw((cost - 1) / np.e, k=0))
    x = np.where(cost < 1e-6, np.sqrt(2 * cost), x)
    for _ in range(POLISHING):
        x = x - (x * np.exp(x) - np.expm1(x) - cost) / (x * np.exp(x))
    return np.asarray(bits * LN2 / (x * seconds), dtype=float)
