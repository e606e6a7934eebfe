"""Cuts, mini-batches and interval of HASFL and AdaptSFL: exact blocks, whole solvers, limits and monotonicity."""

from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from learning.control.cuts import (
    ConvergenceBound,
    CutChoice,
    CutProblem,
    adapt,
    alternating,
    best_batches,
    best_cuts,
    best_interval,
    exhaustive,
)
from learning.control.cuts.solvers import descent
from learning.control.cuts.splits import fastest_cuts


def instance(seed: int, users: int = 3, cuts: int = 3, most: int = 6, interval: int = 5, **changed: Any) -> CutProblem:
    """Random devices, layers and rates; the target is half as much again as what moderate choices lose."""
    rng = np.random.default_rng(seed)
    layers = cuts + 1
    flops, bits, activations = rng.uniform(0.5, 2, layers), rng.uniform(0.5, 2, layers), rng.uniform(0.2, 2, layers)
    done = np.cumsum(flops)[:cuts]
    speed, uplink, downlink = 10 ** rng.uniform(-1, 0.5, users), rng.uniform(1, 8, users), rng.uniform(4, 30, users)
    bound = ConvergenceBound(1.0, 0.1, rng.uniform(0.5, 2, layers), rng.uniform(0.01, 0.05, layers), 1.0, interval)
    moderate = bound.noise(users) * users / max(most / 2, 1) + bound.drift[min(2, cuts)]
    settings: dict[str, Any] = {
        "bound": replace(bound, target=1.5 * moderate),
        "before_s": done / speed[:, None] + activations[:cuts] / uplink[:, None],
        "server_s": np.tile((flops.sum() - done) * 3 / 50, (users, 1)),
        "after_s": activations[:cuts] / downlink[:, None] + 2 * done / speed[:, None],
        "device_bits": np.cumsum(bits)[:cuts],
        "upload_bps": uplink,
        "download_bps": downlink,
        "exchange_bps": 20.0,
        "max_samples": np.full((users, cuts), most),
    }
    return CutProblem(**{**settings, **changed})


@pytest.mark.parametrize("seed", range(60))
def test_batches_against_all_of_them(seed: int) -> None:
    problem = instance(seed)
    cuts = np.random.default_rng(seed).integers(1, 4, 3)
    best = min(problem.cost(CutChoice(np.array(b), cuts)) for b in product(range(1, 7), repeat=3))
    found = best_batches(problem, cuts)
    assert (found is None) == (best == np.inf)
    assert found is None or problem.cost(found) == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("seed", [0, 4, 8, 9, 11])
def test_where_limits_are_thinned_out_no_sample_more_or_less_helps(seed: int) -> None:
    """Two users with up to 64 samples each: more limits than are tried, and the best of all 4096 mini-batches."""
    problem, cuts = instance(seed, users=2, most=64), np.random.default_rng(seed).integers(1, 4, 2)
    every = np.array(list(product(range(1, 65), repeat=2)))
    best = problem.costs(CutChoice(every, np.broadcast_to(cuts, every.shape))).min()
    found = best_batches(problem, cuts)
    assert found is not None
    assert problem.cost(found) == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_cuts_against_all_of_them(seed: int) -> None:
    """Also by the sweep, which takes over where there are too many to try."""
    problem = instance(seed, users=4, cuts=4, most=64)
    batches = np.random.default_rng(seed).integers(8, 64, 4)
    best = min(problem.cost(CutChoice(batches, np.array(c))) for c in product(range(1, 5), repeat=4))
    found = best_cuts(problem, batches)
    assert found is not None
    assert problem.cost(found) == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_the_sweep_is_exact(seed: int) -> None:
    """The fastest cuts of AdaptSFL, against all L^N of them."""
    problem = instance(seed, users=4, cuts=4)
    tables = problem.before_s, problem.server_s, problem.after_s

    def seconds(cuts: np.ndarray) -> float:
        before, server, after = (table[np.arange(4), cuts - 1] for table in tables)
        return float(before.max() + server.sum() + after.max())

    best = min(seconds(np.array(c)) for c in product(range(1, 5), repeat=4))
    assert seconds(fastest_cuts(*tables)) == pytest.approx(best, rel=1e-12)


def test_the_sweep_for_many_users_is_hardly_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learning.control.cuts.splits.MAX_COMBINATIONS", 0)
    for seed in range(20):
        problem = instance(seed, users=4, cuts=4, most=64)
        batches = np.random.default_rng(seed).integers(8, 64, 4)
        best = min(problem.cost(CutChoice(batches, np.array(c))) for c in product(range(1, 5), repeat=4))
        found = best_cuts(problem, batches)
        assert found is not None
        assert problem.cost(found) <= 1.05 * best


@pytest.mark.parametrize("seed", [10, 16, 21])
def test_the_sweep_finds_deep_cuts_at_a_slow_server(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And with little drift: the deepest cuts, which come last, are polished, as they are the cheapest."""
    monkeypatch.setattr("learning.control.cuts.splits.MAX_COMBINATIONS", 0)
    problem = instance(seed, users=5, cuts=6, most=64)
    bound = replace(problem.bound, squared_norms=1e-3 * problem.bound.squared_norms)
    problem, batches = replace(problem, server_s=100 * problem.server_s, bound=bound), batches_of(seed, 5)
    every = np.array(list(product(range(1, 7), repeat=5)))
    best = problem.costs(CutChoice(np.broadcast_to(batches, every.shape), every)).min()
    found = best_cuts(problem, batches)
    assert found is not None
    assert problem.cost(found) <= 1.001 * best


def batches_of(seed: int, users: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(8, 64, users)


def test_the_sweep_keeps_to_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts at which the mini-batches do not fit are none, however fast: against all cuts that fit, and none at all."""
    monkeypatch.setattr("learning.control.cuts.splits.MAX_COMBINATIONS", 0)
    feasible = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        most = rng.choice([8, 64], size=(4, 4))
        most[np.arange(4), rng.integers(0, 4, 4)] = 64
        problem, batches = instance(seed, users=4, cuts=4, most=64, max_samples=most), rng.integers(9, 64, 4)
        best = min(problem.cost(CutChoice(batches, np.array(c))) for c in product(range(1, 5), repeat=4))
        found = best_cuts(problem, batches)
        assert (found is None) == (best == np.inf)
        assert found is None or problem.cost(found) <= 1.05 * best
        feasible += found is not None
    assert feasible > 15


def test_whole_solutions_against_all_of_them() -> None:
    """Within 5 % of the joint optimum in at least 95 % of instances; never below it; no pass makes it worse."""
    near = 0
    for seed in range(60):
        problem = instance(seed, users=2, most=4)
        found, best = problem.cost(alternating(problem)), problem.cost(exhaustive(problem))
        assert found >= best * (1 - 1e-9)
        near += found <= 1.05 * best
        costs = [problem.cost(choice) for choice in descent(problem, problem.easiest)]
        assert all(later <= earlier for earlier, later in pairwise(costs))
    assert near >= 57


def test_equals_are_treated_alike() -> None:
    """Equal devices and an aggregation each round: equal mini-batches and cuts, but for a sample or tie."""
    one = instance(3, users=1, most=32, interval=1)
    alike = {name: np.repeat(getattr(one, name), 4, axis=0) for name in ("before_s", "server_s", "after_s")}
    rates = {name: np.repeat(getattr(one, name), 4) for name in ("upload_bps", "download_bps")}
    problem = replace(one, **alike, **rates, max_samples=np.full((4, 3), 32))
    choice = alternating(problem)
    assert np.ptp(choice.batches) <= 1
    assert np.ptp(choice.cuts) == 0


def test_the_bound() -> None:
    bound = instance(1).bound
    choice = CutChoice(np.array([4, 2, 6]), np.array([1, 2, 1]))
    noise = bound.target - bound.drift[2] - bound.progress(choice)
    double = choice._replace(batches=2 * choice.batches)
    assert bound.target - bound.drift[2] - bound.progress(double) == pytest.approx(noise / 2, rel=1e-12)
    assert bound.noise(3) == pytest.approx(1.0 * 0.1 * bound.variances.sum() / 9)
    for user in range(3):
        larger = choice._replace(batches=choice.batches + np.eye(3, dtype=int)[user])
        assert bound.rounds(larger, 1.0) < bound.rounds(choice, 1.0)
    assert bound.rounds(choice, 2.0) == pytest.approx(2 * 2.0 / (0.1 * float(bound.progress(choice))))
    deeper = choice._replace(cuts=np.array([1, 3, 1]))
    assert bound.rounds(deeper, 1.0) > bound.rounds(choice, 1.0)
    every_round = replace(bound, interval=1)
    assert every_round.rounds(deeper, 1.0) == every_round.rounds(choice, 1.0)
    assert bound.drift[2] == pytest.approx(4 * 0.01 * 25 * bound.squared_norms[:2].sum())


def slower(problem: CutProblem, user: int, factor: float) -> CutProblem:
    scale = np.ones((problem.users, 1))
    scale[user] = factor
    return replace(problem, before_s=problem.before_s * scale, after_s=problem.after_s * scale)


def test_a_slower_device_never_helps() -> None:
    """Cuts fixed: the optimum never falls, and the slow device's own mini-batch rises in rare integer cases only."""
    raised = 0
    cuts = np.array([1, 1, 1])
    for seed in range(100):
        problem = instance(seed)
        now, then = best_batches(problem, cuts), best_batches(hindered := slower(problem, 0, 2.0), cuts)
        assert now is not None
        assert then is not None
        assert hindered.cost(then) >= problem.cost(now) * (1 - 1e-12)
        raised += then.batches[0] > now.batches[0]
    assert raised <= 2


def test_limits_of_noise_server_and_drift() -> None:
    problem = instance(2, most=16)
    silent = replace(problem, bound=replace(problem.bound, variances=np.zeros(4)))
    found = best_batches(silent, np.array([1, 1, 1]))
    assert found is not None
    assert (found.batches == 1).all()
    endless = replace(problem, server_s=np.zeros((3, 3)))
    free = best_batches(endless, np.array([1, 2, 1]))
    assert free is not None
    before, _, after, _ = endless.per_sample(free.cuts)
    spare = (free.batches + 1) * before > (free.batches * before).max()
    spare |= (free.batches + 1) * after > (free.batches * after).max()
    assert (spare | (free.batches == 16)).all()  # nobody could take one sample more within the limits that others set
    often = instance(2, interval=1)
    batches = np.full(3, 4)
    fastest = min(
        product(range(1, 4), repeat=3),
        key=lambda c: often.step_s(CutChoice(batches, np.array(c))) + often.aggregation_s(np.array(c)),
    )
    chosen = best_cuts(often, batches)
    assert chosen is not None
    assert chosen.cuts.tolist() == list(fastest)
    huge = replace(problem.bound, squared_norms=np.array([1e-9, 1e6, 1e6, 1e6]))
    assert (alternating(replace(problem, bound=huge)).cuts == 1).all()


def test_a_straggler_is_helped() -> None:
    problem = slower(instance(5, users=4, most=32), 0, 10.0)
    plain = CutChoice(np.full(4, 16), np.full(4, 2))
    found = alternating(problem)
    assert problem.cost(found) < problem.cost(plain)
    before = problem.per_sample(found.cuts)[0] * found.batches
    assert np.var(before.max() - before) < np.var(16 * (problem.before_s[:, 1].max() - problem.before_s[:, 1]))


def test_bits_between_servers_and_over_the_air() -> None:
    """Device parts and the private copies at the server add up to the deepest device part for every user."""
    problem = instance(4)
    cuts = np.array([1, 3, 2])
    own = problem.device_bits[cuts - 1]
    between = problem.device_bits[2] * 3 - own.sum()
    slow = replace(problem, upload_bps=np.full(3, 1e9), download_bps=np.full(3, 1e9))
    assert slow.aggregation_s(cuts) == pytest.approx(2 * between / 20.0)
    fast = replace(problem, exchange_bps=1e9)
    assert fast.aggregation_s(cuts) == pytest.approx(
        (own / problem.upload_bps).max() + (own / problem.download_bps).max()
    )


def test_the_interval() -> None:
    """k = 1e-3, T_S = 2, T_A = 5, eps' = 1: the cubic's root is 9.66, the best integer 10."""
    bound = ConvergenceBound(1.0, 0.5, np.zeros(2), np.array([1e-3, 0.0]), 1.0, 1)
    ones = np.ones(1)
    problem = CutProblem(
        bound, ones[:, None], 0 * ones[:, None], ones[:, None], 2.5 * ones, ones, ones, 1.0, np.ones((1, 1), int)
    )
    choice = CutChoice(np.ones(1, int), np.ones(1, int))
    assert (problem.step_s(choice), problem.aggregation_s(choice.cuts)) == (2.0, 5.0)
    assert best_interval(problem, choice) == 10
    brute = min(range(1, 32), key=lambda interval: problem.with_interval(interval).cost(choice))
    assert brute == 10


@pytest.mark.parametrize("seed", range(10))
def test_adapt_is_as_good_as_all_cuts_and_intervals(seed: int) -> None:
    problem = instance(seed)
    start = CutChoice(np.full(3, 6), np.full(3, 1))
    choice, interval = adapt(problem, start)
    best = min(
        problem.with_interval(i).cost(CutChoice(start.batches, np.array(c)))
        for i in range(1, 60)
        for c in product(range(1, 4), repeat=3)
    )
    assert best * (1 - 1e-9) <= problem.with_interval(interval).cost(choice) <= 1.1 * best


def test_fifty_users() -> None:
    """`python -m benchmarks solvers` tells the time that this takes."""
    problem = instance(9, users=50, cuts=6, most=64, interval=3)
    plain = CutChoice(np.full(50, 16), np.full(50, 2))
    found, (adapted, interval) = alternating(problem), adapt(problem, plain)
    assert problem.feasible(found)
    assert problem.cost(found) < problem.cost(plain)
    assert problem.with_interval(interval).cost(adapted) < problem.cost(plain)


def test_many_choices_cost_what_each_does() -> None:
    """One after another, by the definition: barriers, server and aggregation over what noise and drift leave."""
    problem = instance(6)
    rng = np.random.default_rng(6)
    many = CutChoice(rng.integers(0, 8, (200, 3)), rng.integers(1, 4, (200, 3)))
    bound, costs = problem.bound, problem.costs(many)
    for batches, cuts, cost in zip(*many, costs, strict=True):
        before, server, after, most = problem.per_sample(cuts)
        own = [problem.device_bits[cut - 1] for cut in cuts]
        between = sum(max(own) - each for each in own) / problem.exchange_bps
        up, down = (max(own / rates) for rates in (problem.upload_bps, problem.download_bps))
        seconds = max(batches * before) + sum(batches * server) + max(batches * after)
        seconds += (max(up, between) + max(down, between)) / bound.interval
        fits = min(batches) >= 1 and all(batches <= most)
        left = bound.target - bound.drift[max(cuts)] - bound.noise(3) * sum(1 / batches) if fits else 0.0
        assert cost == (pytest.approx(seconds / left) if left > 0 else np.inf)
    assert 0.2 < np.isfinite(costs).mean() < 0.8


def test_what_cannot_be_is_one_sentence() -> None:
    bound = instance(0).bound
    with pytest.raises(ValueError, match=r"the target .* is out of reach: the largest mini-batches"):
        alternating(instance(0, bound=replace(bound, target=0.999 * (bound.drift[1] + bound.noise(3) * 3 / 6))))
    with pytest.raises(ValueError, match="user 1 can hold no part of the model"):
        instance(0, max_samples=np.array([[6, 6, 6], [0, 0, 0], [6, 6, 0]]))
    with pytest.raises(ValueError, match="more than 200000 combinations"):
        exhaustive(instance(0, users=5))


def test_memory_decides() -> None:
    problem = instance(0, max_samples=np.array([[6, 2, 0], [6, 6, 6], [0, 3, 3]]))
    found = alternating(problem)
    assert problem.feasible(found)
    assert found.cuts[2] > 1
    assert not problem.feasible(CutChoice(np.array([1, 1, 1]), np.array([3, 1, 2])))
    assert problem.cost(found) == pytest.approx(problem.cost(exhaustive(problem)), rel=0.05)
