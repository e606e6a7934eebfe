"""Rates turned round, against the rate itself and a general-purpose solver."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize

from learning.control.rate import (
    LN2,
    bandwidth_hz,
    energy_j,
    min_energy_j,
    power_for_energy_w,
    power_w,
    rate_bps,
    snr_at,
)
from learning.control.split import min_energy_split, saving, smallest_within, width_worth

GAIN = 250.0**-2.5 / 10 ** (-174 / 10 - 3)
"""Hz/W of a user 250 m away with path-loss exponent 2.5 over thermal noise."""


@pytest.mark.parametrize("u", [1e-9, 0.01, 0.3, 0.9, 0.999, 1 - 1e-6])
def test_the_root_is_one(u: float) -> None:
    y = float(snr_at(u))
    assert y > 0
    assert abs(np.log1p(y) - u * y) < 1e-12 * max(1.0, u * y)


def test_the_ends() -> None:
    assert snr_at([0.0, -1.0, 1.0, 2.0]).tolist() == [np.inf, np.inf, 0.0, 0.0]
    assert bandwidth_hz(0.0, 1.0, 1.0) == 0
    assert rate_bps(0.0, 1.0, 1.0) == 0
    assert power_w(1.0, 0.0, 1.0) == np.inf
    assert energy_j(1.0, 0.0, 1.0, 1.0) == np.inf
    assert power_for_energy_w(1.0, LN2, 1.0, 1.0) == 0


def test_numbers_of_st_sflora() -> None:
    """5 MHz, 0.2 W, 250 m: 116.387 Mbit/s; 66 tokens of 64 x 768 x 32 bits take 0.89193 s and 0.17839 J."""
    rate = float(rate_bps(5e6, 0.2, GAIN))
    assert rate == pytest.approx(116.387e6, rel=1e-5)
    bits = 64 * 768 * 32 * 66
    assert bits == 103_809_024
    assert bits / rate == pytest.approx(0.89193, rel=1e-5)
    assert 0.2 * bits / rate == pytest.approx(0.17839, rel=1e-4)


@given(st.floats(1e3, 1e9), st.floats(1e-3, 10.0), st.floats(1e6, 1e13))
def test_there_and_back(width: float, power: float, gain: float) -> None:
    rate = rate_bps(width, power, gain)
    assert float(power_w(rate, width, gain)) == pytest.approx(power, rel=1e-6)
    if power * gain / width > 1e-4:  # below, the rate hardly depends on the bandwidth
        assert float(bandwidth_hz(rate, power, gain)) == pytest.approx(width, rel=1e-9)
    assert bandwidth_hz(1.001 * power * gain / LN2, power, gain) == np.inf


@given(st.floats(1e5, 1e9), st.floats(0.1, 100.0), st.floats(1e5, 1e8), st.floats(1.001, 50.0))
def test_energy_has_a_floor_and_falls(bits: float, time: float, width: float, factor: float) -> None:
    floor = float(min_energy_j(bits, GAIN))
    now, later = (float(energy_j(bits, t, width, GAIN)) for t in (time, factor * time))
    assert floor * (1 - 1e-9) <= later <= now
    assert float(energy_j(bits, time, factor * width, GAIN)) == pytest.approx(later, rel=1e-9)
    budget = factor * floor
    power = float(power_for_energy_w(bits, budget, width, GAIN))
    assert power * bits / float(rate_bps(width, power, GAIN)) == pytest.approx(budget, rel=1e-9)


def test_the_smallest_number_within_a_budget() -> None:
    calls = []

    def used(number: float) -> float:
        calls.append(number)
        return float(np.inf) if number <= 1e-3 else 1 / (number - 1e-3) ** 3

    found = smallest_within(1e-9, 1e9, used, 0.5)
    assert found == pytest.approx(1e-3 + 2 ** (1 / 3), rel=1e-12)
    assert used(found) <= 0.5
    assert len(calls) < 40, "bisection takes a hundred"
    assert smallest_within(3.0, 4.0, lambda number: 2 / number) == 3.0
    assert smallest_within(3.0, 4.0, lambda number: 5 / number) == 4.0  # not even the bound, which rounding explains


@given(st.floats(-8, 8), st.floats(1e-6, 1e6))
def test_a_step_is_found_from_its_right(log_step: float, height: float) -> None:
    step = 10.0**log_step
    found = smallest_within(1e-9, 1e9, lambda number: height * (2.0 if number < step else 0.5), height)
    assert step <= found <= step * (1 + 1e-11)


def test_the_price_of_a_hertz() -> None:
    rng = np.random.default_rng(1)
    bits, seconds, gain = rng.uniform(1e5, 1e7, 50), rng.uniform(0.1, 2, 50), 10 ** rng.uniform(9, 12, 50)
    for price in 10.0 ** np.arange(-14, -4):
        width = width_worth(price, bits, seconds, gain)
        assert np.allclose(saving(width, bits, seconds, gain), price, rtol=1e-6)
    width = np.full(50, 1e6)
    slope = (energy_j(bits, seconds, width - 1, gain) - energy_j(bits, seconds, width + 1, gain)) / 2
    assert np.allclose(saving(width, bits, seconds, gain), slope, rtol=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_the_split_is_the_least_energy(seed: int) -> None:
    """Against SLSQP from several starts, on four users of whom some are held at what they need at least."""
    rng = np.random.default_rng(seed)
    bits, seconds, gain = rng.uniform(1e6, 1e7, 4), rng.uniform(0.2, 1, 4), 10 ** rng.uniform(7, 8.5, 4)
    total = 2e7
    least = rng.uniform(0, 0.24, 4) * total * rng.integers(0, 2, 4)
    found = min_energy_split(bits, seconds, gain, least, total)
    assert found is not None
    assert found.sum() == pytest.approx(total, rel=1e-12)
    assert (found >= least * (1 - 1e-12)).all()

    def spent(share: np.ndarray) -> float:
        return float(energy_j(bits, seconds, share * total, gain).sum())

    best = min(
        minimize(
            lambda share: np.log(spent(share)),
            start,
            method="SLSQP",
            bounds=[(max(low / total, 1e-3), 1) for low in least],
            constraints={"type": "eq", "fun": lambda share: share.sum() - 1},
            options={"ftol": 1e-14, "maxiter": 500},
        ).fun
        for start in (np.full(4, 0.25), found / total, rng.dirichlet(np.ones(4)))
    )
    assert np.log(spent(found / total)) <= best + 1e-9


def test_too_little_bandwidth_is_none() -> None:
    ones = np.ones(2)
    assert min_energy_split(ones, ones, ones, np.array([0.6, 0.6]), 1.0) is None


def test_power_against_a_root_finder() -> None:
    wanted = 30e6
    power = brentq(lambda p: float(rate_bps(5e6, p, GAIN)) - wanted, 1e-9, 10, xtol=1e-15)
    assert float(power_w(wanted, 5e6, GAIN)) == pytest.approx(power, rel=1e-9)
