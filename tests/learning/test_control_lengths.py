"""Token lengths, bandwidth and power: blocks and solvers against brute force and a generic solver, limits, monotony."""

from dataclasses import replace
from itertools import pairwise, product
from typing import Any, Literal

import numpy as np
import pytest
from scipy.optimize import minimize

from learning.control.lengths import (
    SOLVERS,
    LengthAllocation,
    LengthProblem,
    PowerLaw,
    ServerTime,
    alternating,
    coupled,
    exhaustive,
    random_allocation,
)
from learning.control.lengths.alternating import BLOCKS, descent
from learning.control.lengths.blocks import with_best_bandwidth, with_best_lengths, with_best_power
from learning.control.lengths.controller import in_units_of
from learning.control.lengths.coupled import (
    cheapest,
    with_best_bandwidth_and_lengths,
    with_best_bandwidth_and_power,
)
from learning.control.rate import Floats, bandwidth_hz, rate_bps, snr_at

NOISE_W_PER_HZ = 10 ** (-174 / 10 - 3)
Latency = Literal["max", "sum"]
both = pytest.mark.parametrize("latency", ["max", "sum"])


def instance(seed: int, users: int = 3, tokens: int = 8, **changed: Any) -> LengthProblem:
    """A cell as in the specification: 1 MHz, 0.3 W in all, Rayleigh fading, 8 bits of 32 samples of width 64."""
    rng = np.random.default_rng(seed)
    distance_km = rng.uniform(0.02, 0.5, users)
    gain = 10 ** (-(128.1 + 37.6 * np.log10(distance_km)) / 10) * rng.exponential(size=users) / NOISE_W_PER_HZ
    lengths = np.arange(tokens + 1)
    curves = [PowerLaw(*rng.uniform([0.05, 0.3], [1.0, 2.0])) for _ in range(users)]
    loss = np.array([[np.inf, *curve.at(lengths[1:])] for curve in curves])
    device_s = np.tile(rng.uniform(0.001, 0.02, users)[:, None], tokens + 1)
    settings: dict[str, Any] = {
        "bits": np.tile(8.0 * 32 * 64 * lengths, (users, 1)),
        "device_s": device_s,
        "loss": loss,
        "gain_hz_per_w": gain,
        "max_power_w": np.full(users, 0.3),
        "total_hz": 1e6,
        "total_power_w": 0.3,
        "server": ServerTime(np.zeros(users, dtype=np.int64), 0.002, 1e-4),
        "common_loss": 0.3,
    }
    problem = LengthProblem(**{**settings, **changed})
    everything = problem.equal(problem.longest)
    loss_unit = float(problem.validation_loss(problem.longest))
    return replace(problem, latency_unit_s=problem.latency_s(everything), loss_unit=loss_unit)


def by_definition(problem: LengthProblem, allocation: LengthAllocation) -> float:
    """The weighted sum, user by user."""
    ends, tokens, loss = [], {}, problem.common_loss
    for user, length in enumerate(allocation.lengths):
        b, p, g = allocation.bandwidth_hz[user], allocation.power_w[user], problem.gain_hz_per_w[user]
        ends.append(problem.device_s[user, length] + problem.bits[user, length] / (b * np.log2(1 + p * g / b)))
        team = int(problem.server.team[user])
        tokens[team] = tokens.get(team, 0) + int(length)
        loss += problem.loss[user, length]
    server = problem.server.fixed_s + float(np.sum(problem.server.token_s * allocation.lengths))
    server += problem.server.square_s * sum(count**2 for count in tokens.values())
    latency = (max(ends) if problem.latency == "max" else sum(ends)) + server
    weight = problem.latency_weight
    return weight * latency / problem.latency_unit_s + (1 - weight) * loss / problem.loss_unit


def some(problem: LengthProblem, seed: int = 0) -> LengthAllocation:
    return random_allocation(problem, np.random.default_rng(seed))


@both
def test_the_weighted_sum_by_its_definition(latency: Latency) -> None:
    server = ServerTime(np.array([0, 1, 0]), 0.003, np.array([1e-3, 2e-3, 3e-3]), 1e-5)
    for seed in range(20):
        problem = instance(seed, latency=latency, server=server, latency_weight=0.3)
        allocation = some(problem, seed)
        assert problem.objective(allocation) == pytest.approx(by_definition(problem, allocation), rel=1e-12)
        assert problem.excess(allocation) <= 1e-12
        assert problem.objective(problem.equal(problem.longest)) == pytest.approx(1.0, rel=1e-12)


def test_inverse_rate_in_closed_form() -> None:
    """y(u) solves ln(1 + y) = u y; a bandwidth that gives a rate gives it back."""
    assert snr_at(0.3) == pytest.approx(6.881894, abs=5e-7)
    assert snr_at(0.9) == pytest.approx(0.230163, abs=5e-7)
    for u in (0.01, 0.3, 0.9, 0.999):
        assert np.log1p(snr_at(u)) == pytest.approx(u * snr_at(u), rel=1e-9)
        rate = u * 0.1 * 1e8 / np.log(2)
        assert rate_bps(bandwidth_hz(rate, 0.1, 1e8), 0.1, 1e8) == pytest.approx(rate, rel=1e-9)


# ---------------------------------------------------------------- single blocks


@both
@pytest.mark.parametrize("what", ["bandwidth_hz", "power_w"])
def test_bandwidth_and_power_against_a_generic_solver(latency: Latency, what: str) -> None:
    """SLSQP on fractions of the budget, the latest upload as one more variable; both budgets are spent."""
    block = with_best_bandwidth if what == "bandwidth_hz" else with_best_power
    for seed in range(25):
        problem = instance(seed, latency=latency)
        start = problem.equal(np.random.default_rng(seed).integers(1, 9, 3))
        found = block(problem, start)
        total = problem.total_hz if what == "bandwidth_hz" else problem.total_power_w
        assert getattr(found, what).sum() == pytest.approx(total, rel=1e-9)

        def seconds(parts: Floats, start: LengthAllocation = start, problem: LengthProblem = problem) -> Floats:
            allocation = start._replace(**{what: np.maximum(parts, 1e-9) * total})  # noqa: B023
            return problem.seconds(allocation) / problem.latency_unit_s

        initial = getattr(start, what) / total
        sums_up = {"type": "eq", "fun": lambda x: x[:3].sum() - 1}
        if latency == "sum":
            best = minimize(
                lambda x: seconds(x).sum(),
                initial,
                bounds=[(1e-6, 1)] * 3,
                constraints=[sums_up],
                tol=1e-12,
            )
        else:
            late = {"type": "ineq", "fun": lambda x: x[3] - seconds(x[:3])}
            first = np.append(initial, seconds(initial).max())
            best = minimize(
                lambda x: x[3], first, bounds=[(1e-6, 1)] * 3 + [(0, None)], constraints=[sums_up, late], tol=1e-12
            )
        own = float(problem.combined_s(problem.seconds(found))) / problem.latency_unit_s
        assert own <= best.fun * (1 + 1e-5)
        assert own >= best.fun * (1 - 1e-4)


@both
def test_equal_users_have_equal_shares(latency: Latency) -> None:
    one = instance(3, 1)
    problem = instance(
        3, 4, latency=latency, gain_hz_per_w=np.full(4, one.gain_hz_per_w[0]), device_s=np.tile(one.device_s, (4, 1))
    )
    start = some(problem)._replace(lengths=np.full(4, 3))
    alike = with_best_power(problem, with_best_bandwidth(problem, start._replace(power_w=np.full(4, 0.075))))
    np.testing.assert_allclose(alike.bandwidth_hz, 2.5e5, rtol=1e-6)
    np.testing.assert_allclose(alike.power_w, 0.075, rtol=1e-6)


def test_own_limits_of_power_bind() -> None:
    """With enough budget all are at their limits; else none is beyond its own, and the budget is spent."""
    caps = np.array([0.02, 0.2, 0.1])
    for latency in ("max", "sum"):
        rich = instance(4, latency=latency, max_power_w=caps, total_power_w=np.inf)
        np.testing.assert_allclose(with_best_power(rich, rich.equal(rich.longest)).power_w, caps)
        for seed in range(10):
            problem = instance(seed, latency=latency, max_power_w=caps, total_power_w=0.25)
            power = with_best_power(problem, problem.equal(problem.longest)).power_w
            assert (power <= caps * (1 + 1e-12)).all()
            assert power.sum() == pytest.approx(0.25, rel=1e-9)


@both
def test_lengths_are_those_of_all_combinations(latency: Latency) -> None:
    """512 combinations, at random shares and with device times that depend on lengths; the server's time is linear."""
    combinations = np.array(list(product(range(1, 9), repeat=3)))
    for seed in range(60):
        problem = instance(seed, latency=latency)
        bumps = np.random.default_rng(seed).uniform(1, 3, problem.device_s.shape)
        problem = replace(problem, device_s=problem.device_s * bumps)
        start = some(problem, seed)
        best = min(by_definition(problem, start._replace(lengths=each)) for each in combinations)
        assert problem.objective(with_best_lengths(problem, start)) == pytest.approx(best, rel=1e-12)


def test_lengths_of_a_power_law_are_next_to_its_continuous_optimum() -> None:
    """Sum of uploads: ((1 - w) a c / (w tau))^(1 / (1 + c)), rounded down or up, within the box."""
    laws = [PowerLaw(0.8, 0.7), PowerLaw(0.3, 1.5), PowerLaw(0.9, 1.1)]
    loss = np.array([[np.inf, *law.at(np.arange(1, 41))] for law in laws])
    problem = instance(5, tokens=40, latency="sum", loss=loss, server=ServerTime(np.zeros(3, dtype=np.int64)))
    start = problem.equal(problem.longest)
    found = with_best_lengths(problem, start).lengths
    tau = problem.bits[:, 1] / rate_bps(start.bandwidth_hz, start.power_w, problem.gain_hz_per_w)
    for law, own_tau, length in zip(laws, tau, found, strict=True):
        worth = problem.loss_weight * law.scale * law.exponent / (problem.second_weight * own_tau)
        assert abs(length - np.clip(worth ** (1 / (1 + law.exponent)), 1, 40)) < 1
    assert len(set(found)) > 1


def test_the_square_of_the_servers_time_is_improved_by_its_tangent() -> None:
    """Attention alone costs time: repeated steps end where no single change of a length improves."""
    for seed in range(20):
        server = ServerTime(np.array([0, 0, 1]), square_s=3e-4)
        problem = instance(seed, latency="sum", server=server)
        end = descent(problem, problem.equal(problem.longest), (with_best_lengths,), 0.0)[-1]
        assert problem.objective(end) <= problem.objective(problem.equal(problem.longest)) + 1e-12
        changed = [end._replace(lengths=end.lengths + step) for step in np.vstack([np.eye(3), -np.eye(3)]).astype(int)]
        others = [
            problem.objective(each) for each in changed if (each.lengths >= 1).all() and (each.lengths <= 8).all()
        ]
        assert problem.objective(end) <= min(others) * (1 + 2e-3)


def test_the_knapsack_against_all_choices() -> None:
    """Four users of six lengths, convex needs: within the largest saving of one user of the best, and never above."""
    rng = np.random.default_rng(8)
    for _ in range(40):
        cost = np.sort(rng.uniform(0, 1, (4, 6)), axis=1)[:, ::-1] ** 2
        need = np.cumsum(rng.uniform(0.01, 0.2, (4, 6)), axis=1)
        (lengths,), (fits,) = cheapest(cost, need[None])
        totals = [
            cost[np.arange(4), each].sum()
            for each in product(range(6), repeat=4)
            if need[np.arange(4), each].sum() <= 1
        ]
        assert fits == bool(totals)
        if totals:
            own = cost[np.arange(4), lengths].sum()
            assert need[np.arange(4), lengths].sum() <= 1 + 1e-12
            assert min(totals) - 1e-12 <= own <= min(totals) + np.abs(np.diff(cost, axis=1)).max()


# ---------------------------------------------------------------- whole solvers


@both
def test_the_weighted_sum_never_rises(latency: Latency) -> None:
    orders = [BLOCKS, (with_best_bandwidth_and_lengths, with_best_bandwidth_and_power)]
    for seed in range(8 if latency == "max" else 30):
        problem = instance(seed, latency=latency)
        for blocks in orders if latency == "max" else orders[:1]:
            path = descent(problem, problem.equal(problem.longest // 2), blocks)
            values = [problem.objective(each) for each in path]
            assert all(after <= before for before, after in pairwise(values))
            assert max(problem.excess(each) for each in path) < 1e-9


@both
def test_no_start_and_no_single_choice_is_better(latency: Latency) -> None:
    for seed in range(4):
        problem = instance(seed, latency=latency)
        best = {name: problem.objective(solve(problem)) for name, solve in SOLVERS.items() if name != "brute"}
        for name in ("equal", "bandwidth_only", "power_only", "length_only"):
            assert best["coupled"] <= best[name] + 1e-9
            assert best["published"] <= best[name] + 1e-12 or name in ("power_only", "length_only")  # no step of it
        for length in (1, 2, 4, 8):
            assert best["published"] <= problem.objective(problem.equal(np.full(3, length))) + 1e-12
        drawn = random_allocation(problem, np.random.default_rng(seed))
        assert best["coupled"] <= problem.objective(drawn)


SHARES = (np.arange(49) + 1) / 50


def on_a_grid(problem: LengthProblem) -> float:
    """The best of 49 x 49 shares of band and power of two users, times all lengths."""
    w, p = (each.ravel() for each in np.meshgrid(SHARES, SHARES))
    rates = [
        rate_bps(share_w * problem.total_hz, share_p * problem.total_power_w, gain)
        for share_w, share_p, gain in zip((w, 1 - w), (p, 1 - p), problem.gain_hz_per_w, strict=True)
    ]
    best = np.inf
    for lengths in product(range(1, problem.loss.shape[1]), repeat=2):
        n = np.array(lengths)
        ends = [problem.device_s[k, n[k]] + problem.bits[k, n[k]] / rates[k] for k in (0, 1)]
        latency = np.maximum(*ends) if problem.latency == "max" else ends[0] + ends[1]
        latency_s = float(latency.min() + problem.server.seconds(n))
        best = min(best, float(problem.weighted(latency_s, problem.validation_loss(n))))
    return best


@pytest.mark.slow
@both
def test_both_solvers_against_the_grid_on_two_hundred_instances(latency: Latency) -> None:
    """Two users of eight tokens. The coupled blocks are within 2 %; the alternation is where the latency is a sum."""
    gaps = np.array([_gaps(seed, latency) for seed in range(200)])
    assert gaps[:, 0].max() < 0.02
    assert (gaps[:, 0] <= gaps[:, 1] + 1e-9).mean() >= 0.95
    if latency == "sum":
        assert gaps[:, 1].max() < 0.02


@both
def test_both_solvers_against_the_grid(latency: Latency) -> None:
    """As on two hundred instances, on the first six."""
    gaps = np.array([_gaps(seed, latency) for seed in range(6)])
    assert gaps[:, 0].max() < 0.02
    assert (gaps[:, 0] <= gaps[:, 1] + 1e-9).all()


def _gaps(seed: int, latency: Latency) -> tuple[float, float]:
    problem = instance(seed, 2, latency=latency)
    best = on_a_grid(problem)
    return tuple(problem.objective(solve(problem)) / best - 1 for solve in (coupled, alternating))  # type: ignore[return-value]


def test_exhaustive_search_is_not_worse_than_the_grid() -> None:
    for seed in range(2):
        problem = instance(seed, 2, 3)
        assert problem.objective(exhaustive(problem)) <= on_a_grid(problem) * (1 + 1e-9)
    with pytest.raises(ValueError, match="there are 4096 combinations of lengths, more than the 2000"):
        exhaustive(instance(0, 4, 8))


# ---------------------------------------------------------------- limits and monotony


@both
def test_limits_of_the_weight(latency: Latency) -> None:
    """Latency alone: one token of each. Loss alone: all of them."""
    for solve in (coupled, alternating):
        quick, good = (instance(1, latency=latency, latency_weight=weight) for weight in (1.0, 0.0))
        assert solve(quick).lengths.tolist() == [1, 1, 1]
        assert solve(good).lengths.tolist() == [8, 8, 8]


def test_unlimited_bandwidth_does_not_send_the_latency_to_zero() -> None:
    """What power allows remains: the sum of S ln 2 / (p g) over equal powers."""
    problem = instance(2, latency="sum", total_hz=1e15)
    start = problem.equal(problem.longest)
    found = problem.seconds(with_best_bandwidth(problem, start)) - problem.device_s[:, 8]
    limit = problem.bits[:, 8] * np.log(2) / (start.power_w * problem.gain_hz_per_w)
    assert found.sum() == pytest.approx(limit.sum(), rel=1e-6)


@both
@pytest.mark.parametrize("what", ["total_hz", "total_power_w"])
def test_more_of_a_budget_is_never_worse(latency: Latency, what: str) -> None:
    """In the units of the smallest budget, beyond what the solvers' own gaps allow."""
    for seed in range(2):
        first = instance(seed, latency=latency)
        more = [replace(first, **{what: getattr(first, what) * factor}) for factor in (1, 2, 4, 8)]
        if what == "total_power_w":
            more = [replace(each, max_power_w=np.full(3, each.total_power_w)) for each in more]
        values = [each.objective(coupled(each)) for each in more]
        assert all(after <= before * (1 + 1e-4) for before, after in pairwise(values))
        assert values[-1] < values[0]


def test_equal_users_send_more_with_more_and_less_where_time_weighs() -> None:
    law = PowerLaw(0.8, 0.8)
    loss = np.tile([np.inf, *law.at(np.arange(1, 17))], (3, 1))
    alike = {"loss": loss, "gain_hz_per_w": np.full(3, 1e8), "device_s": np.full((3, 17), 0.001)}
    first = instance(0, 3, 16, **alike)

    def length(**changed: Any) -> float:
        return float(coupled(replace(first, **changed)).lengths.mean())

    for budget, values in (("total_hz", 1e6), ("total_power_w", 0.3)):
        chosen = [length(**{budget: values * factor}) for factor in (0.1, 0.5, 1, 4, 16)]
        assert chosen == sorted(chosen)
        assert chosen[0] < chosen[-1]
    by_weight = [length(latency_weight=weight) for weight in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert by_weight == sorted(by_weight, reverse=True)
    assert by_weight[0] > by_weight[-1]


def test_units_are_those_of_all_tokens_over_equal_shares_in_average_channels() -> None:
    """There the weighted sum is one; the channels of the problem stay what they are."""
    problem = instance(4)
    average = problem.gain_hz_per_w * np.array([0.5, 3.0, 1.5])
    found = in_units_of(problem, average)
    everything = problem.equal(problem.longest)
    assert replace(found, gain_hz_per_w=average).objective(everything) == pytest.approx(1.0, rel=1e-12)
    assert found.objective(everything) != pytest.approx(1.0, rel=1e-3)
    assert found.gain_hz_per_w.tolist() == problem.gain_hz_per_w.tolist()


def test_users_of_different_lengths_keep_to_their_own() -> None:
    """Lengths beyond a user's sequence, and below the fewest, are never taken."""
    loss = instance(6).loss.copy()
    loss[0, 3:], loss[1, :4] = np.inf, np.inf
    problem = replace(instance(6), loss=loss)
    assert problem.shortest.tolist() == [1, 4, 1]
    assert problem.longest.tolist() == [2, 8, 8]
    assert problem.with_lengths(np.array([8, 1, 5])).longest.tolist() == [2, 4, 5]
    for solve in (solve for name, solve in SOLVERS.items() if name != "brute"):
        lengths = solve(problem).lengths
        assert (lengths >= problem.shortest).all()
        assert (lengths <= problem.longest).all()
    for seed in range(20):
        lengths = random_allocation(problem, np.random.default_rng(seed)).lengths
        assert (problem.allowed[np.arange(3), lengths]).all()
