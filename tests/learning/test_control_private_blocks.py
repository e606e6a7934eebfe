"""Private blocks of users: the priced choice against exhaustive search and its own bound, and costs against runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fakes import world
from learning.control.observation import observe
from learning.control.private_blocks import BestSplits, FixedSplits, MemoryOnly, Probe, Split
from learning.control.private_blocks.forecast import CostTable, step_cost
from learning.control.private_blocks.problem import SplitProblem
from learning.control.private_blocks.solvers import exhaustive, priced
from learning.models import Mlp
from learning.schemes import FlexPSFL

DEEP = Mlp((12, 10, 9, 8))


def instance(seed: int, capacity: float = 0.5, users: int = 4, splits: int = 4) -> SplitProblem:
    """Values that rise with the blocks on the device, less a random cost; loads that fall; some splits do not fit.

    `capacity` is the share that the server has of the range between the smallest and the largest load.
    """
    rng = np.random.default_rng(seed)
    value = np.cumsum(rng.uniform(0, 1, (users, splits)), axis=1) - np.cumsum(
        rng.uniform(0, 2, (users, splits)), axis=1
    )
    load = np.sort(rng.uniform(1, 10, (users, splits)), axis=1)[:, ::-1].copy()
    value[rng.uniform(size=value.shape) < 0.15] = -np.inf
    value[np.arange(users), rng.integers(splits, size=users)] = 0.0
    allowed = np.where(np.isfinite(value), load, np.inf)
    most = np.where(np.isfinite(value), load, 0).max(axis=1).sum()
    return SplitProblem(value, load, float(allowed.min(axis=1).sum() * (1 - capacity) + most * capacity))


@pytest.mark.parametrize("seed", range(60))
def test_the_best_choice_lies_between_the_priced_one_and_its_bound(seed: int) -> None:
    """And the gap is at most what one user gains or loses by another split, as capacity is one constraint."""
    problem = instance(seed, capacity=0.05 + 0.9 * (seed % 10) / 10)
    found, best = priced(problem), exhaustive(problem)
    assert problem.fits(found.choice)
    assert problem.fits(best.choice)
    assert found.objective <= best.objective + 1e-12
    assert best.objective <= found.bound + 1e-6
    finite = np.where(np.isfinite(problem.value), problem.value, np.nan)
    assert found.bound - found.objective <= np.nanmax(np.nanmax(finite, axis=1) - np.nanmin(finite, axis=1)) + 1e-6
    if problem.fits(problem.at_price(0)):
        assert found.objective == found.bound == best.objective
        assert found.price == 0


def test_it_is_mostly_the_best_choice() -> None:
    """On 60 instances the loss against exhaustive search, as a share of the mean gap of a random choice."""
    losses = [exhaustive(p).objective - priced(p).objective for p in map(instance, range(60))]
    assert sum(loss <= 1e-9 for loss in losses) >= 50
    gaps = [priced(p).bound - priced(p).objective for p in map(instance, range(60))]
    assert max(losses) <= max(gaps)


@pytest.mark.parametrize("seed", range(20))
def test_more_memory_or_capacity_is_never_worse(seed: int) -> None:
    problem = instance(seed)
    roomy = replace(problem, value=np.where(np.isfinite(problem.value), problem.value, -0.5))
    faster = replace(problem, capacity_flops_per_s=1.3 * problem.capacity_flops_per_s)
    for relaxed in (roomy, faster):
        assert exhaustive(relaxed).objective >= exhaustive(problem).objective
        assert priced(relaxed).bound >= priced(problem).bound - 1e-6


def test_no_choice_may_exceed_the_capacity() -> None:
    problem = replace(instance(0), capacity_flops_per_s=0.1)
    for solve in (priced, exhaustive):
        with pytest.raises(ValueError, match="all users together give the server at least"):
            solve(problem)


# Costs.


def ran(splits: Any, **more: Any) -> Any:
    return world(FlexPSFL(local_steps=1, splits=splits), **{"model": DEEP, "users": 3, "rounds": 1, **more})


@pytest.mark.parametrize("split", [Split(1, 1), Split(3, 1), Split(2, 2), Split(1, 3)], ids=str)
def test_predicted_costs_are_those_of_the_run(split: Split) -> None:
    done = ran(FixedSplits(split[:1], split[1:]), users=1)
    cost, journal = step_cost(done, observe(done.users)[0], split), done.journal
    assert [cost.forward_flops, cost.tail_flops, cost.backward_flops] == journal.charged(node=0)
    assert [cost.server_forward_flops, cost.server_backward_flops] == journal.charged(user=0, node=None)
    assert [cost.up_bits, cost.up_gradient_bits] == journal.sent(direction="up")
    assert [cost.down_bits, cost.down_gradient_bits] == journal.sent(direction="down")[1:]
    jobs = [work.memory_bytes for work in journal.works if work.kind in ("client_backward", "client_tail")]
    assert cost.memory_bytes == sum(jobs)


# Rules.


def test_memory_alone_takes_all_that_fits() -> None:
    plain = ran(FixedSplits())
    table = CostTable.of(plain, 1)
    limits = [step_cost(plain, table.users[0], split).memory_bytes for split in table.splits]
    assert limits == sorted(limits)
    for node, limit in zip((user.node for user in plain.users), limits, strict=True):
        node.memory_bytes = limit
    assert MemoryOnly().plan(plain).splits == [Split(1, 1), Split(2, 1), Split(3, 1)]
    plain.users[1].node.memory_bytes = limits[0] - 1
    with pytest.raises(ValueError, match=f"user 1 has {limits[0] - 1} bytes, too little for any private blocks"):
        MemoryOnly().plan(plain)


def test_slow_devices_keep_fewer_blocks() -> None:
    plain = ran(FixedSplits(), flops_per_s=[1e5, 1e6, 1e8], server_flops_per_s=1e9)
    rule = BestSplits(Probe((2, 4), (0.0, 1.0)), time_weight=3.0)
    first = [split.first for split in rule.plan(plain).splits]
    assert first == sorted(first)
    assert first[0] < first[-1]
    assert {split.first for split in BestSplits(Probe((2, 4), (0.0, 1.0)), time_weight=0).plan(plain).splits} == {3}
    limited = replace(rule, max_device_s=float(CostTable.of(plain, 1).device_s[1].min()))
    with pytest.raises(ValueError, match="user 0 can hold none of the splits"):
        limited.plan(plain)


def test_a_slow_server_sends_blocks_to_devices() -> None:
    """By the rates at which users step; and what is left of the optimum is reported."""
    fast, slow = (ran(FixedSplits(), server_flops_per_s=speed) for speed in (1e9, 6e5))
    free, tight = (BestSplits(time_weight=1.0).plan(each) for each in (fast, slow))
    assert sum(split.first for split in tight.splits) > sum(split.first for split in free.splits)
    assert free.figures["duality_gap"] == 0 <= tight.figures["duality_gap"]
    exact = BestSplits(time_weight=1.0, solver="exhaustive").plan(slow)
    assert tight.figures["split_objective"] <= exact.figures["split_objective"]
    table = CostTable.of(slow, 1)
    problem = BestSplits(time_weight=1.0).problem(slow, table)
    chosen = np.array([table.splits.index(split) for split in tight.splits])
    assert problem.load(chosen) <= problem.capacity_flops_per_s == 0.8 * 6e5


@pytest.mark.parametrize(
    ("probe", "at", "expected"),
    [
        (Probe(), [1, 5], [0, 0]),
        (Probe((3,), (0.5,)), [1, 5], [0.5, 0.5]),
        (Probe((2, 4), (0.2, 0.6)), [1, 2, 3, 4, 9], [0.2, 0.2, 0.4, 0.6, 0.6]),
    ],
)
def test_a_probe_is_interpolated(probe: Probe, at: list[int], expected: list[float]) -> None:
    assert probe.at(at) == pytest.approx(expected)


def test_interpolation_is_monotone() -> None:
    values = Probe((1, 3, 5), (0.0, 0.9, 1.0)).at(np.linspace(1, 5, 50))
    assert (np.diff(values) >= 0).all()
    with pytest.raises(ValueError, match="as many numbers"):
        Probe((3, 1), (0.0, 1.0))
