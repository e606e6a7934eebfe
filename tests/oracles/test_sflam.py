"""SFLAM against the oracles of its specification: reductions, true averages, gradients, bits, and the plan on the air.

The optimiser by itself is tested in tests/learning/test_control_precision.py, the quantiser in test_codecs.py.
"""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from by_hand import Plain, batch, by_samples, distance, mean, same_bits, split_step
from torch import Tensor

from fakes import world
from learning.codecs import Uniform
from learning.control.precision import PrecisionPlan, PrecisionProblem
from learning.control.precision.controller import PrecisionController
from learning.control.precision.ranges import ActivationRanges
from learning.control.precision.solvers import starts
from learning.local_training import ConstantEpochs
from learning.models import Vit
from learning.optimisers import Sgd
from learning.schemes import SFLAM
from runs import TINY
from scenarios import load, simulate
from scenarios.build import build
from scenarios.errors import ScenarioError

PLAIN = PrecisionController(bits=32, solver="fixed")
PATCHES, WIDTH, BATCH, USERS = 16, 16, 8, 4
STATIC = {
    "network.users.count": USERS,
    "network.channel.fading": "none",
    "network.sharing.uplink": {"bandwidth_mhz": 1, "scheduler": "controlled"},
    "network.sharing.downlink": {"bandwidth_mhz": 1, "scheduler": "fixed"},
    "compute.stragglers.slowdown": "none",
    "compute.servers.slots": USERS,
    "energy.amplifier_efficiency": 1,
    "energy.circuit_power_w": 0,
    "learning.model": {"name": "vit", "patch": 2, "width": WIDTH, "depth": 2, "heads": 2},
    "learning.executor": "dry",
    "learning.stop.rounds": 2,
}


def scenario(control: dict[str, Any], /, scheme: dict[str, Any] | None = None, **changed: Any) -> Any:
    overrides = {name.replace("__", "."): value for name, value in changed.items()}
    described = {"name": "sflam", "control": control, **(scheme or {})}
    return load(TINY, {**STATIC, "learning.scheme": described, **overrides})


def tables(described: Any, *names: str) -> list[pd.DataFrame]:
    result = simulate(described)
    return [result.table(name).to_pandas() for name in names]


def decided(decisions: pd.DataFrame, name: str) -> list[float]:
    """Values of a decision in round 0, by user."""
    return list(decisions[(decisions["name"] == name) & (decisions["round"] == 0)]["value"])


def deciders(decisions: pd.DataFrame) -> list[int]:
    """Users of round 0 in the order of `decided`."""
    return list(decisions[(decisions["name"] == "bits") & (decisions["round"] == 0)]["user"])


def problem_of(described: Any) -> tuple[PrecisionProblem, PrecisionController]:
    """What is to be solved before the first round of a scenario."""
    local = build(described).process.gi_frame.f_locals  # type: ignore[union-attr]
    scheme, built = local["self"], local["world"]
    return scheme.problem(built, built.users, 0, ActivationRanges()), scheme.control


def solution(problem: PrecisionProblem, control: PrecisionController) -> PrecisionPlan:
    return control.solve(problem, np.random.default_rng(0))


# 1: in the limit it is what everybody knows.


def test_one_user_in_full_is_plain_sgd() -> None:
    """Bit for bit, momentum within a round and afresh in the next."""
    optimiser = Sgd(0.1, 0.9)
    ran = world(SFLAM(control=PLAIN, local_epochs=ConstantEpochs(2)), users=1, rounds=2, optimiser=optimiser)
    weights = ran.initial(ran.whole)
    for turn in range(2):
        plain = Plain(ran, ran.whole, optimiser)
        plain.load(weights)
        for step in range(6):
            plain.step(*batch(ran, ran.users[0], 6 * turn + step))
        weights = plain.weights
    assert same_bits(ran.model, weights)
    assert not same_bits(
        ran.model, world(SFLAM(control=PrecisionController(bits=4)), users=1, rounds=2, optimiser=optimiser).model
    )


def test_one_mini_batch_of_each_is_one_large_one() -> None:
    ran = world(SFLAM(control=PLAIN, local_steps=1), users=3, rounds=1, optimiser=Sgd(0.1))
    plain = Plain(ran, ran.whole, Sgd(0.1))
    xs, ys = zip(*(batch(ran, user, 0) for user in ran.users), strict=True)
    plain.step(torch.cat(xs), torch.cat(ys))
    assert distance(ran.model, plain.weights) < 1e-12


# 2: the server's part is the mean of copies that were trained apart.


@pytest.mark.parametrize("legacy", [False, True])
def test_the_average_is_one(legacy: bool) -> None:
    """The released code keeps one list entry's weights for all: what follows is the last user's copy."""
    scheme = SFLAM(control=PLAIN, legacy_last_client=legacy)
    ran = world(scheme, users=2, samples=(16, 32), rounds=1, optimiser=Sgd(0.1, 0.9))
    fronts, backs = [], []
    for user, steps in zip(ran.users, (2, 4), strict=True):
        front, back = (Plain(ran, part, Sgd(0.1, 0.9)) for part in (ran.front, ran.back))
        for step in range(steps):
            split_step(front, back, *batch(ran, user, step))
        fronts.append(front.weights)
        backs.append(back.weights)
    server = backs[-1] if legacy else mean(backs, by_samples(ran))
    assert distance(backs[0], backs[1]) > 1e-3
    assert same_bits(ran.model, mean(fronts, by_samples(ran)) | server)


# 4: gradients pass the quantiser as if it were not there, and are taken at what the server saw.


@pytest.mark.parametrize("bits", [2, 8])
def test_straight_through(bits: int) -> None:
    scheme = SFLAM(control=PrecisionController(bits=bits, solver="fixed"), rounding="nearest", local_steps=1)
    ran = world(scheme, users=1, rounds=1, optimiser=Sgd(0.1))
    front, back = Plain(ran, ran.front, Sgd(0.1)), Plain(ran, ran.back, Sgd(0.1))
    x, y = batch(ran, ran.users[0], 0)
    z: Tensor = front.module(x)
    received = Uniform(bits, "nearest").roundtrip(z.detach(), None).requires_grad_()
    F.cross_entropy(back.module(received), y).backward()
    z.backward(received.grad)
    front.optimiser.step()
    back.optimiser.step()
    assert same_bits(ran.model, front.weights | back.weights)


# 5: bits on the air.


@pytest.mark.parametrize(("bits", "gradient_bits"), [(2, 32), (8, 8), (32, 32)])
def test_bits_on_the_air(bits: int, gradient_bits: int) -> None:
    described = scenario({"bits": bits, "solver": "fixed"}, {"gradient_bits": gradient_bits})
    users = build(described).process.gi_frame.f_locals["world"].users  # type: ignore[union-attr]
    sizes = {min(BATCH, user.samples - first) for user in users for first in range(0, user.samples, BATCH)}
    assert len(sizes) > 1
    (transfers,) = tables(described, "transfers")
    up = transfers[transfers["kind"] == "activation"]["bits"]
    down = transfers[transfers["kind"] == "gradient"]["bits"]
    for sent, of_element, of_label in ((up, bits, 4), (down, gradient_bits, 0)):
        expected = [of_element * size * PATCHES * WIDTH + 64 * (of_element < 32) + of_label * size for size in sizes]
        assert set(sent) == set(expected)


def test_bits_of_the_paper() -> None:
    z = torch.empty(128, 49, 768, device="meta")
    scheme = SFLAM()
    assert scheme.link(32).activations.bits(z) == 154_140_672
    for bits in (2, 4, 8):
        assert 154_140_672 / (scheme.link(bits).activations.bits(z) - 64) == 32 / bits


# 9, 10: what is decided is better than what is not, on problems as they come out of scenarios.


@pytest.mark.parametrize("seed", [1, 2])
def test_plans_of_a_cell_are_better_than_none(seed: int) -> None:
    found: dict[str, float] = {}
    for solver in ("fixed", "published", "joint", "brute"):
        problem, control = problem_of(scenario({"solver": solver, "choices": [2, 6, 8]}, seed=seed))
        plan = solution(problem, control)
        assert problem.error(plan.bits) <= problem.error_budget
        found[solver] = problem.cost(plan)
    assert found["brute"] <= found["joint"] + 1e-9 <= found["published"] + 2e-9
    assert found["published"] <= min(problem.cost(start) for start in starts(problem))
    assert found["published"] < found["fixed"]


@pytest.mark.parametrize("bandwidth", ["matching", "random"])
@pytest.mark.parametrize("solver", ["joint", "published", "fixed"])
def test_subchannels_are_whole(solver: str, bandwidth: str) -> None:
    problem, control = problem_of(scenario({"solver": solver, "bandwidth": bandwidth, "subchannels": 9}))
    plan = solution(problem, control)
    counts = plan.bandwidth_hz / problem.total_hz * 9
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-9)
    assert counts.min() >= 1
    assert counts.sum() == pytest.approx(9)
    free = solution(problem, PrecisionController(solver="joint"))
    assert problem.cost(free) <= problem.cost(plan) + 1e-9
    if bandwidth == "random":
        matched = solution(problem, replace(control, bandwidth="matching"))
        assert problem.cost(matched) <= problem.cost(plan)
    elif solver != "fixed":
        assert problem.cost(plan) < problem.cost(problem.equal(np.full(USERS, 6)))


def test_dealing_is_random_and_leaves_nobody_out() -> None:
    """Three users, seven subchannels: one each, and of the other four a third on average; every round anew."""
    (decisions,) = tables(
        scenario(
            {"bandwidth": "random", "subchannels": 7, "bits": 6},
            network__users__count=3,
            compute__servers__slots=3,
            learning__stop__rounds=60,
        ),
        "decisions",
    )
    counts = decisions[decisions["name"] == "share"].pivot_table(index="round", columns="user", values="value") * 7
    assert counts.min().min() == pytest.approx(1)
    np.testing.assert_allclose(counts.sum(axis=1), 7)
    deviation = (4 * 1 / 3 * 2 / 3 / 60) ** 0.5
    assert (abs(counts.mean() - 7 / 3) < 4 * deviation).all()
    assert (abs(counts.var() - 4 * 2 / 9) < 0.5).all()


def test_latency_is_traded_for_energy() -> None:
    """More weight on energy: never faster, never more joules, and the curve is convex."""
    problem, _ = problem_of(scenario({}))
    points = []
    for weight in (0.1, 0.3, 0.5, 0.7, 0.9):
        control = PrecisionController(bits=6, time_weight=1 - weight, energy_weight=weight)
        own, _ = problem_of(scenario({"bits": 6, "time_weight": 1 - weight, "energy_weight": weight}))
        plan = solution(own, control)
        points.append((problem.latency_s(plan), problem.energy_j(plan)))
    slopes = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(points)]
    assert all(after[0] > before[0] and after[1] < before[1] for before, after in pairwise(points))
    assert slopes == sorted(slopes)


def known(ranges: dict[Any, float]) -> ActivationRanges:
    """Ranges of these users, as if they had been observed."""
    observed = ActivationRanges()
    observed.known = ranges
    return observed


def test_who_spreads_wide_gets_finer_bits() -> None:
    """Ranges that were observed decide on bits from the second round on; equal ones do not."""
    parts = [np.arange(0, 32), np.arange(32, 64)]
    seen = world(SFLAM(control=PrecisionController(solver="fixed")), users=2, parts=parts, rounds=2)
    bits = {(number, user): value for number, user, name, value in seen.journal.decisions if name == "bits"}
    assert bits[0, 0] == bits[0, 1] == 6
    finely = SFLAM(control=PrecisionController(solver="fixed", choices=tuple(range(1, 17))))
    chosen = finely.decide(seen, seen.users, 0, known({seen.users[0]: 1.0, seen.users[1]: 16.0}))
    assert chosen[seen.users[1]] > chosen[seen.users[0]]


def test_ranges_are_those_of_the_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the mini-batch with which a user's round begins, at the weights that it has downloaded for it."""
    observed = ActivationRanges()
    monkeypatch.setattr("learning.schemes.sflam.ActivationRanges", lambda: observed)
    scheme = SFLAM(control=PrecisionController(solver="fixed"))
    once, ran = (world(scheme, users=2, rounds=rounds, model=Vit(2, 8, 1, 2)) for rounds in (1, 2))  # of both signs
    begun, trained = ({name: each.model[name] for name in ran.initial(ran.front)} for each in (once, ran))
    for user in ran.users:
        z, later = (ran.front(model, batch(ran, user, 3)[0]) for model in (begun, trained))
        assert observed.known[user] == float(z.max() - z.min()) != float(later.max() - later.min())


@pytest.mark.parametrize("weights", ["by_samples", "uniform"])
def test_an_error_counts_as_its_user_does(weights: Any) -> None:
    """By the user's weight in the average, and by the square of its range."""
    scheme = SFLAM(control=PrecisionController(solver="fixed"), weighting=weights)
    ran = world(scheme, users=2, samples=[8, 24], rounds=1)
    ranges = known({ran.users[0]: 3.0, ran.users[1]: 2.0})
    shares = by_samples(ran) if weights == "by_samples" else [0.5, 0.5]
    expected = [shares[0] * 9.0, shares[1] * 4.0]
    assert list(scheme.problem(ran, ran.users, 0, ranges).error_weight) == pytest.approx(expected)


def test_a_user_that_was_not_observed_yet_has_the_widest_range_known() -> None:
    """One, where no user was: the error of each of three users in units of its weight."""
    ran = world(SFLAM(control=PrecisionController(solver="fixed")), users=3, samples=8, rounds=1)
    for ranges, squares in (({}, [1, 1, 1]), ({0: 3.0, 1: 0.5}, [9, 0.25, 9]), ({1: 2.0}, [4, 4, 4])):
        seen = known({ran.users[number]: value for number, value in ranges.items()})
        weights = SFLAM().problem(ran, ran.users, 0, seen).error_weight
        assert weights == pytest.approx(np.array(squares) / 3)


# 11: what is planned is what happens.


CONTROLS: list[dict[str, Any]] = [
    {"bits": 8}, {}, {"solver": "published"}, {"solver": "fixed"}, {"bandwidth": "matching"}, {"bandwidth": "random"}
]  # fmt: skip


@pytest.mark.parametrize("control", CONTROLS, ids=str)
@pytest.mark.parametrize("some", [False, True])
def test_on_a_static_channel_the_plan_comes_true(control: dict[str, Any], some: bool) -> None:
    """Where some users take part, equal parts of the downlink are theirs, and need to be set."""
    participants = {"name": "random", "count": 2}
    parts = {"network__sharing__downlink__scheduler": "controlled", "learning__participants": participants}
    described = scenario({**control, "downlink": "parts"}, **parts) if some else scenario(control)
    transfers, decisions, rounds = tables(described, "transfers", "decisions", "rounds")
    first = transfers[(transfers["round"] == 0) & (transfers["direction"] == "up")]
    latency_s = first["end_s"].max() - rounds["start_s"][0]
    assert [latency_s] == pytest.approx(decided(decisions, "predicted_latency_s"), rel=1e-9)
    power_w = dict(zip(deciders(decisions), decided(decisions, "power_w"), strict=True))
    np.testing.assert_allclose(first["energy_j"], first["user"].map(power_w) * first["airtime_s"], rtol=1e-9)
    assert [first["energy_j"].sum()] == pytest.approx(decided(decisions, "predicted_radiated_j"), rel=1e-9)
    assert sum(decided(decisions, "share")) <= 1 + 1e-9


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_adapters_above_the_embedding_need_no_gradient_on_the_device(optimiser: str) -> None:
    changed = {"learning__adapter": {"rank": 2}, "learning__optimiser": optimiser, "learning__executor": "batched"}
    transfers, evaluations = tables(scenario({"bits": 8}, **changed), "transfers", "evaluations")
    assert set(transfers.loc[transfers["bits"] > 0, "kind"]) == {"activation"}
    assert evaluations[evaluations["metric"] == "loss"]["value"].nunique() == 2


@pytest.mark.parametrize(
    ("control", "changed", "sentence"),
    [
        ({}, {"network__sharing__uplink__scheduler": "equal"}, "only where the band's scheduling policy is controlled"),
        ({"time_weight": 0, "energy_weight": 0}, {}, "time_weight and energy_weight are both 0"),
        ({"choices": [8, 4]}, {}, "choices are .8, 4.; give at least one number of bits, and let them rise"),
        ({"choices": [2, 4]}, {}, "at most the largest of choices, 4, is allowed"),
        ({"solver": "brute", "bandwidth": "matching"}, {}, "solver brute goes with bandwidth continuous"),
        ({"bandwidth": "matching", "subchannels": 3}, {}, "4 users cannot have one of 3 subchannels each"),
        ({"solver": "brute", "bandwidth": "random"}, {}, "bandwidth continuous; random needs joint, published or"),
        ({"bandwidth": "random", "subchannels": 3}, {}, "4 users cannot have one of 3 subchannels each"),
        ({"downlink": "parts"}, {}, "only where the band's scheduling policy is controlled"),
        ({"solver": "brute", "choices": list(range(1, 17))}, {}, "more than 5000 combinations"),
    ],
)
def test_what_cannot_be_is_one_sentence(control: dict[str, Any], changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        build(scenario(control, **changed))
