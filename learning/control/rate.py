"""Shannon's rate and its inverses: bandwidth, power or energy for sending a number of bits within a time.

Everywhere R = W log2(1 + p g / W): rate R in bit/s, bandwidth W in Hz, power p in W, and g the power gain of the
channel over the noise power density, in Hz/W. Arguments are numbers or arrays that broadcast; a result is infinite
where no bandwidth, power or energy suffices.

The inverses take the root y > 0 of ln(1 + y) = u y, 0 < u < 1, which is y = -W(-u exp(-u)) / u - 1 on the lower branch
of Lambert's W (Corless et al., On the Lambert W function, Advances in Computational Mathematics 5, 1996).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import lambertw

Floats = NDArray[np.float64]

LN2 = np.log(2.0)
NEAR, POLISHING = 1e-3, 3
"""Distance of u from one below which Lambert's W has lost too many digits, and Newton steps that refine the root."""


def rate_bps(bandwidth_hz: ArrayLike, power_w: ArrayLike, gain_hz_per_w: ArrayLike) -> Floats:
    """Shannon's rate in bit/s; zero where there is no bandwidth."""
    width = np.asarray(bandwidth_hz, dtype=float)
    received_hz = np.multiply(power_w, gain_hz_per_w)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(width > 0, width * np.log1p(received_hz / width) / LN2, 0.0)


def snr_at(u: ArrayLike) -> Floats:
    """The root y of ln(1 + y) = u y: the signal-to-noise ratio at which a nat costs 1/u times its minimum energy.

    Zero for u >= 1, where no bandwidth suffices; infinite for u <= 0.
    """
    ratio = np.asarray(u, dtype=float)
    inside = (ratio > 0) & (ratio < 1)
    safe = np.where(inside, ratio, 0.5)
    lost = 1 - safe
    y = np.real(-lambertw(-safe * np.exp(-safe), k=-1) / safe) - 1
    y = np.where(lost < NEAR, 2 * lost + 8 / 3 * lost**2, y)  # the series of the root about u = 1
    for _ in range(POLISHING):
        y = y - (np.log1p(y) - safe * y) / (1 / (1 + y) - safe)
    return np.where(inside, y, np.where(ratio <= 0, np.inf, 0.0))


def bandwidth_hz(rate: ArrayLike, power_w: ArrayLike, gain_hz_per_w: ArrayLike) -> Floats:
    """The bandwidth in Hz that gives a rate in bit/s; infinite from p g / ln 2 on, the rate of unlimited bandwidth."""
    received_hz = np.multiply(power_w, gain_hz_per_w)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = snr_at(np.asarray(rate) * LN2 / received_hz)
        return np.where(np.asarray(rate) <= 0, 0.0, np.where(snr > 0, received_hz / snr, np.inf))


def power_w(rate: ArrayLike, bandwidth_hz: ArrayLike, gain_hz_per_w: ArrayLike) -> Floats:
    """The power in W that gives a rate in a bandwidth; infinite without bandwidth."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        needed = np.expm1(np.asarray(rate) * LN2 / bandwidth_hz) * np.divide(bandwidth_hz, gain_hz_per_w)
    return np.where(np.asarray(bandwidth_hz) > 0, needed, np.inf)


def energy_j(bits: ArrayLike, seconds: ArrayLike, bandwidth_hz: ArrayLike, gain_hz_per_w: ArrayLike) -> Floats:
    """Radiated energy in J of sending `bits` in exactly `seconds`.

    It depends on time and bandwidth through their product alone, convex and falling, with `min_energy_j` its limit.
    """
    time_s = np.asarray(seconds, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        spent = time_s * power_w(np.asarray(bits) / time_s, bandwidth_hz, gain_hz_per_w)
    return np.where(time_s > 0, spent, np.inf)


def min_energy_j(bits: ArrayLike, gain_hz_per_w: ArrayLike) -> Floats:
    """Infimum of the energy in J of S bits over all times and bandwidths: S ln 2 / g."""
    return np.asarray(np.multiply(bits, LN2) / np.asarray(gain_hz_per_w, dtype=float))


def power_for_energy_w(
    bits: ArrayLike, budget_j: ArrayLike, bandwidth_hz: ArrayLike, gain_hz_per_w: ArrayLike
) -> Floats:
    """The largest power in W at which sending `bits` radiates at most an energy budget.

    Zero where the budget is no more than `min_energy_j`.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = snr_at(min_energy_j(bits, gain_hz_per_w) / np.asarray(budget_j, dtype=float))
    return np.asarray(snr * np.divide(bandwidth_hz, gain_hz_per_w), dtype=float)
