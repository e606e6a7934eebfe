"""Operators of FedAlign-MoE: arithmetic by hand, limits, invariances, and experts that one user has exchanged."""

from __future__ import annotations

from itertools import pairwise
from math import exp, inf, log
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import grad

from fakes import FakeStreams, digits
from learning import steps
from learning.aggregators import weighted_mean
from learning.models import Experts, Segment, Vit
from learning.optimisers import Adam
from learning.schemes.fedalign_moe import alignment, routing
from learning.schemes.fedalign_moe.statistics import divergence, profile

E, D = 4, 6
GATE = "1.feed.1.gate"
STREAMS = FakeStreams(7)


def numbers(*shape: int, name: str = "x") -> Tensor:
    return torch.from_numpy(STREAMS.generator(name, *shape).standard_normal(shape))


def user(seed: int, usage: list[float] | None = None) -> dict[str, Tensor]:
    """Statistics of the routing of a user with random distributions."""
    used = torch.tensor(usage or [1 / E] * E, dtype=torch.float64)
    rows = numbers(E, E, name=f"rows {seed}").softmax(-1) * (used > 0)[:, None]
    mean = numbers(E, name=f"mean {seed}").softmax(-1)
    return {f"{GATE}.usage": used / used.sum(), f"{GATE}.together": rows, f"{GATE}.probability": mean}


def omegas(users: list[dict[str, Tensor]], samples: tuple[int, ...], rule: Any = "conditional") -> Tensor:
    weights = routing.consistency(rule, 0.1, samples, users)
    return torch.stack([each[f"{GATE}.consistency"] for each in weights])


def shares_of(
    users: list[dict[str, Tensor]], roles: list[Tensor], samples: tuple[int, ...], beta: float = 0.5
) -> Tensor:
    """(users, experts), with regions that are all equal."""
    prototypes = [
        {"roles": {f"{GATE}.weight": role}, "regions": {f"{GATE}.weight": torch.ones(E, D)}} for role in roles
    ]
    (shares,), _ = alignment.alignment("roles", beta, False, samples, users, prototypes, [], {})
    return torch.stack([each[f"{GATE}.share"] for each in shares])


def test_a_uniform_weight_is_that_of_fedavg() -> None:
    """All pairs pass, and similarity, overlap and usage are the same: shares by samples, the mean of the models."""
    samples, ones = (3, 5, 8), torch.ones(3, 3, 2)
    gamma = alignment.gated(ones, ones, ~torch.eye(3, dtype=torch.bool)[..., None], torch.full((2,), -inf))
    shares = alignment.global_shares(gamma, torch.tensor(samples)[:, None].expand(3, 2).double() / E)
    torch.testing.assert_close(shares[:, 0], torch.tensor(samples).double() / 16, rtol=1e-12, atol=0)
    trees = [{"1.feed.1.experts.0.fc1.weight": numbers(3, 3, name=f"tree {i}")} for i in range(3)]
    before = {name: value + 1 for name, value in trees[0].items()}
    own = [{f"{GATE}.share": share} for share in shares]
    found = alignment.aggregated(1.0, 0, before, [own], trees)
    torch.testing.assert_close(found, weighted_mean(trees, samples), rtol=1e-6, atol=0)
    half = alignment.aggregated(0.5, 0, before, [own], trees)
    middle = {name: (value + before[name]) / 2 for name, value in found.items()}
    torch.testing.assert_close(half, middle, rtol=1e-12, atol=1e-12)


def test_equal_users_have_equal_weights() -> None:
    users, samples, roles = [user(1)] * 3, (4, 4, 4), [numbers(E, D)] * 3
    torch.testing.assert_close(
        omegas(users, samples), torch.full((3, E), 1 / 3, dtype=torch.float64), rtol=1e-12, atol=0
    )
    torch.testing.assert_close(
        shares_of(users, roles, samples), torch.full((3, E), 1 / 3, dtype=torch.float64), rtol=1e-9, atol=0
    )
    weights = routing.consistency("conditional", 0.1, samples, users)
    found = routing.reference(0.0, {}, weights, users)[f"{GATE}.reference"]
    torch.testing.assert_close(found, users[0][f"{GATE}.probability"], rtol=1e-12, atol=0)
    assert float(divergence(users[0][f"{GATE}.probability"], found)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("beta", "passes"), [(0.5, [0.9, 0.9]), (0.0, [0.9, 0.9]), (2.0, [0.9, 0.9, 0.1]), (inf, [0.9, 0.9, 0.1])]
)
def test_arithmetic_of_the_threshold(beta: float, passes: list[float]) -> None:
    similar = torch.eye(3).double()[..., None].clone()
    for (i, j), value in {(0, 1): 0.9, (0, 2): 0.9, (1, 2): 0.1}.items():
        similar[i, j] = similar[j, i] = value
    pairs = ~torch.eye(3, dtype=torch.bool)[..., None]
    limits = alignment.thresholds(similar, pairs, beta)
    assert float(limits) == pytest.approx(-inf if beta == inf else 0.633333 - beta * 0.377124, abs=2e-6)
    gamma = alignment.gated(similar, torch.ones_like(similar), pairs, limits)
    assert (
        sorted(gamma[0, 1].tolist() + gamma[0, 2].tolist() + gamma[1, 2].tolist(), reverse=True)[: len(passes)]
        == passes
    )
    assert int((gamma > 0).sum()) == 3 + 2 * len(passes)


@pytest.mark.parametrize("beta", [0.0, 0.5, 3.0])
def test_equal_similarities_all_pass_whatever_their_rounding(beta: float) -> None:
    noise = 1e-15 * numbers(5, 5, 1)
    similar = 0.7 + (noise + noise.transpose(0, 1))
    pairs = ~torch.eye(5, dtype=torch.bool)[..., None]
    gamma = alignment.gated(similar, torch.ones_like(similar), pairs, alignment.thresholds(similar, pairs, beta))
    assert (gamma > 0).all()


def test_opposed_experts_count_for_nothing() -> None:
    """Negative similarities and overlaps are zero, also of two negative numbers, and where every pair passes."""
    similar = torch.tensor([[1.0, -0.5], [-0.5, 1.0]]).double()[..., None]
    overlaps = torch.tensor([[1.0, -0.4], [-0.4, 1.0]]).double()[..., None]
    pairs, limits = ~torch.eye(2, dtype=torch.bool)[..., None], torch.full((1,), -inf)
    for one, other in ((similar, overlaps), (similar.abs(), overlaps), (similar, overlaps.abs())):
        assert torch.equal(alignment.gated(one, other, pairs, limits)[..., 0], torch.eye(2).double())
    both = alignment.gated(similar.abs(), overlaps.abs(), pairs, limits)
    assert both[0, 1] == both[1, 0] == pytest.approx(0.2)
    users, role = [user(0), user(1)], numbers(E, D)
    assert (shares_of(users, [role, -role], (1, 1), inf) == 0).all()


def test_marginal_consistency() -> None:
    """Two users: 1 - |p - q| / (p + q) is the same for both, so that their weights are equal; of three it is not."""
    one, other = user(0), user(1)
    torch.testing.assert_close(omegas([one, other], (1, 5), "marginal"), torch.full((2, E), 0.5).double())
    p, q = one[f"{GATE}.probability"], other[f"{GATE}.probability"]
    scores = [1 - (p - (3 * p + q) / 4).abs() / (p + (3 * p + q) / 4)] * 2 + [1 - (q - p).abs() / (q + p)]
    found = omegas([one, one, other], (3, 3, 1), "marginal")
    torch.testing.assert_close(found, torch.stack(scores) / torch.stack(scores).sum(0), rtol=1e-9, atol=0)


usages = st.lists(
    st.lists(st.sampled_from([0.0, 0.0, 0.2, 1.0]), min_size=E, max_size=E).filter(any), min_size=1, max_size=5
)


@settings(max_examples=40, deadline=None)
@given(usages, st.sampled_from(["conditional", "marginal", "uniform"]), st.sampled_from([0.0, 0.5, inf]))
def test_weights_sum_to_one_over_the_users_of_an_expert(usage: list[list[float]], rule: Any, beta: float) -> None:
    """Nothing for an expert without users, all for the only user; some pair passes of several users, if similar."""
    users = [user(number, own) for number, own in enumerate(usage)]
    samples = tuple(range(1, len(users) + 1))
    used = torch.tensor(usage) > 0
    roles = [numbers(E, D).abs() + 0.1 * numbers(E, D, name=f"role {i}") for i in range(len(users))]
    for weights in (omegas(users, samples, rule), shares_of(users, roles, samples, beta)):
        assert (weights >= 0).all()
        assert (weights[~used] == 0).all()
        torch.testing.assert_close(weights.sum(0), used.any(0).double(), rtol=1e-9, atol=0)
        assert (weights[used & (used.sum(0) == 1)] == 1).all()


def test_consistency_falls_with_the_divergence_from_the_others() -> None:
    """Two users that agree and one that does not: by hand for one expert, where leave-one-out means are simple."""
    one, other = [0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1]
    users = [user(0) for _ in range(3)]
    for each, row in zip(users, (one, one, other), strict=True):
        each[f"{GATE}.together"] = torch.tensor([row] * E).double()
    middle = [(a + b) / 2 for a, b in zip(one, other, strict=True)]

    def js(p: list[float], q: list[float]) -> float:
        m = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        return sum(x * log(x / z) / 2 + y * log(y / z) / 2 for x, y, z in zip(p, q, m, strict=True))

    scores = [exp(-js(row, rest) / 0.1) for row, rest in ((one, middle), (one, middle), (other, one))]
    wanted = torch.tensor([score / sum(scores) for score in scores]).double()
    torch.testing.assert_close(omegas(users, (2, 2, 2))[:, 0], wanted, rtol=1e-6, atol=0)
    assert wanted[2] < 0.12
    far = [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]
    assert float(routing.jensen_shannon(*(torch.tensor(each).double() for each in far))) == pytest.approx(log(2))


def test_the_reference_is_a_moving_average_of_weighted_means() -> None:
    users = [user(1), user(2)]
    weights: list[dict[str, Tensor]] = [
        {f"{GATE}.consistency": torch.tensor(each).double()} for each in ([1.0, 0.5, 0.0, 0.0], [0.0, 0.5, 1.0, 0.0])
    ]
    p, q = (each[f"{GATE}.probability"] for each in users)
    mass = torch.stack([p[0], (p[1] + q[1]) / 2, q[2], torch.zeros(()).double()])
    found = routing.reference(0.0, {}, weights, users)[f"{GATE}.reference"]
    torch.testing.assert_close(found, mass / mass.sum(), rtol=1e-12, atol=0)
    previous = {f"{GATE}.reference": torch.tensor([0.0, 0.0, 0.0, 1.0]).double()}
    later = routing.reference(0.25, previous, weights, users)[f"{GATE}.reference"]
    torch.testing.assert_close(later, 0.25 * previous[f"{GATE}.reference"] + 0.75 * found, rtol=1e-12, atol=0)


def test_direction_of_the_divergence() -> None:
    """No gradient at the reference, none for experts that are not used; an expert unknown to the cohort costs."""
    logits = numbers(E)
    reference = logits.softmax(-1)
    slope = grad(lambda z: divergence(z.softmax(-1), reference))(logits)
    torch.testing.assert_close(slope, torch.zeros(E).double(), rtol=0, atol=1e-12)
    away = grad(lambda z: divergence(z.softmax(-1), reference))(logits + torch.tensor([1.0, 0, 0, 0]))
    assert away[0] > 0.01 > 0 > away[1:].max()
    narrow = torch.tensor([0.5, 0.5, 0.0, 0.0]).double()
    assert float(divergence(narrow, torch.full((4,), 0.25).double())) == pytest.approx(log(2))
    expensive = float(divergence(torch.full((4,), 0.25).double(), narrow))
    assert 0.5 * log(0.25 / 1e-8) - 1 < expensive < inf
    assert torch.isfinite(grad(lambda p: divergence(p, narrow))(narrow)).all()


def test_an_expert_without_users_keeps_its_bits_and_that_of_one_user_is_its_copy() -> None:
    users = [user(0, [0, 1, 1, 1]), user(1, [0, 0, 1, 1]), user(2, [0, 0, 1, 1])]
    shares = shares_of(users, [numbers(E, D)] * 3, (1, 2, 3))
    names = [f"1.feed.1.experts.{e}.fc1.weight" for e in range(E)]
    before = {name: numbers(3, name=name) for name in names}
    trees = [{name: numbers(3, name=f"{name} {i}") for name in names} for i in range(3)]
    found = alignment.aggregated(1.0, 0, before, [[{f"{GATE}.share": each} for each in shares]], trees)
    assert torch.equal(found[names[0]], before[names[0]])
    assert torch.equal(found[names[1]], trees[0][names[1]])
    assert all(torch.isfinite(value).all() for value in found.values())
    missing = [{name: tree[name] for name in names[2:]} for tree in trees[1:]]
    own = [{f"{GATE}.share": each} for each in shares]
    without = alignment.aggregated(1.0, 0, before, [own], [trees[0] | {}, *missing])
    assert all(torch.equal(without[name], found[name]) for name in names)


def test_the_order_of_users_does_not_matter() -> None:
    users = [user(i, own) for i, own in enumerate([[1, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1]])]
    roles = [numbers(E, D).abs() + numbers(E, D, name=f"r {i}") / 2 for i in range(4)]
    samples, order = (3, 1, 4, 2), [2, 0, 3, 1]
    gates = [{f"{GATE}.weight": numbers(E, D, name=f"gate {i}")} for i in range(4)]
    shuffled: list[Any] = [[each[i] for i in order] for each in (users, roles, samples, gates)]
    torch.testing.assert_close(
        omegas(users, samples)[order], omegas(shuffled[0], tuple(shuffled[2])), rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(
        shares_of(users, roles, samples)[order],
        shares_of(shuffled[0], shuffled[1], tuple(shuffled[2])),
        rtol=1e-9,
        atol=0,
    )
    results = []
    for some, n, weights in ((users, samples, gates), (shuffled[0], tuple(shuffled[2]), shuffled[3])):
        consistent = routing.consistency("conditional", 0.1, n, some)
        mixed = routing.mixed_gates(n, consistent, weights)
        results.append((mixed, routing.reference(0.0, {}, consistent, some), routing.gate_divergence(some)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-12)


def test_a_share_falls_as_a_role_turns_away() -> None:
    """One expert's role of user 0 is rotated by 0 to 90 degrees; those of the other users stay."""
    users, samples = [user(i) for i in range(4)], (5, 5, 5, 5)
    common, across = torch.eye(D).double()[0], torch.eye(D).double()[1]
    found = []
    for angle in np.linspace(0, np.pi / 2, 10):
        turned = np.cos(angle) * common + np.sin(angle) * across
        roles = [common.expand(E, D).clone() for _ in range(4)]
        roles[0][2] = turned
        shares = shares_of(users, roles, samples, beta=inf)
        found.append(float(shares[0, 2]))
        torch.testing.assert_close(shares[:, 1], torch.full((4,), 0.25).double(), rtol=1e-9, atol=0)
    assert found[0] == pytest.approx(0.25)
    assert found[-1] == pytest.approx(0, abs=1e-9)
    assert all(later < earlier for earlier, later in pairwise(found))


def routed(gate: Tensor, tokens: Tensor) -> Tensor:
    return (tokens @ gate.T).softmax(-1)


@pytest.mark.parametrize("centring", [True, False])
def test_a_vector_added_to_all_rows_of_a_gate_changes_nothing(centring: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are mixed in unequal proportions, so that without centring the vector would become noise."""
    if not centring:
        monkeypatch.setattr(routing, "centred", lambda weight: weight)
    users, tokens = [user(i) for i in range(3)], numbers(20, D)
    gates = [{f"{GATE}.weight": numbers(E, D, name=f"gate {i}")} for i in range(3)]
    moved = [*gates[:2], {f"{GATE}.weight": gates[2][f"{GATE}.weight"] + 3 * numbers(D, name="shift")}]
    consistent = routing.consistency("conditional", 0.1, (1, 1, 1), users)
    before, after = (routing.mixed_gates((1, 1, 1), consistent, each)[f"{GATE}.weight"] for each in (gates, moved))
    own = (routed(each[2][f"{GATE}.weight"], tokens) for each in (gates, moved))
    torch.testing.assert_close(*own, rtol=1e-9, atol=1e-12)
    assert torch.allclose(routed(before, tokens), routed(after, tokens), rtol=1e-6) == centring
    means = (weighted_mean(each, (1, 1, 1))[f"{GATE}.weight"] for each in (gates, moved))
    torch.testing.assert_close(*(routed(mean, tokens) for mean in means), rtol=1e-9, atol=1e-12)


def test_rows_of_experts_without_users_are_weighted_by_samples() -> None:
    users = [user(0, [0, 1, 1, 1]), user(1, [0, 1, 1, 1])]
    gates = [{f"{GATE}.weight": numbers(E, D, name=f"gate {i}")} for i in range(2)]
    mixed = routing.mixed_gates((1, 3), routing.consistency("uniform", 0.1, (1, 3), users), gates)[f"{GATE}.weight"]
    one, other = (routing.centred(each[f"{GATE}.weight"]) for each in gates)
    torch.testing.assert_close(mixed[0], (one[0] + 3 * other[0]) / 4, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mixed[1], (one[1] + other[1]) / 2, rtol=1e-12, atol=1e-12)


COPIES = 3
MODEL = Segment(Vit(4, 16, 2, 2, expansion=4, experts=Experts(2, 1)), (1, 8, 8), 10, 0, 4)


def exchanged(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same function: in each layer the two experts are exchanged, and their rows of the gate."""
    out = {}
    for name, value in weights.items():
        other = name.replace(".experts.0.", ".experts.1.") if ".experts.0." in name else name.replace(".1.fc", ".0.fc")
        out[name] = weights[other] if ".experts." in name else value.flip(0) if ".gate." in name else value
    return out


def test_a_user_with_exchanged_experts_is_left_out_of_them() -> None:
    """Three copies of a trained model and a fourth with exchanged experts: their mean is worse, the aligned is not."""
    data = digits(torch.float64, 300)
    x, y = data.train.x[:1000], data.train.y[:1000]
    weights = MODEL.initial(STREAMS, torch.float64)
    optimiser = Adam(0.01)
    state = optimiser.init(weights)
    for _ in range(8):
        for start in range(0, 1000, 50):
            rows = slice(start, start + 50)
            weights, state, _ = steps.train(MODEL, optimiser, weights, state, [x[None, rows]], [y[None, rows]])

    def accuracy(model: dict[str, Tensor]) -> float:
        return float((MODEL(model, data.test.x).argmax(-1) == data.test.y).double().mean())

    models, samples = [weights] * COPIES + [exchanged(weights)], (250,) * 4
    found = [profile(MODEL, ("regions", "roles"), each, [x[None, i::4]]) for i, each in enumerate(models)]
    users, prototypes = ([each[k] for each in found] for k in (0, 1))
    (shares,), summary = alignment.alignment("roles", 0.5, False, samples, users, prototypes, [], {})
    assert all((value[:2] < 0.02).all() for value in shares[COPIES].values())
    assert float(summary["rejected_pairs"]) == 0.5  # three of six pairs
    experts = [{name: value for name, value in each.items() if ".experts." in name} for each in models]
    gates = [{name: value for name, value in each.items() if ".gate." in name} for each in models]
    consistent = routing.consistency("conditional", 0.1, samples, users)
    aligned = weights | alignment.aggregated(1.0, 0, experts[0], [shares], experts)
    aligned |= routing.mixed_gates(samples, consistent, gates)
    alone = accuracy(weights)
    assert accuracy(models[COPIES]) == alone > 0.9
    assert accuracy(aligned) >= alone - 0.01
    assert accuracy(weighted_mean(models, samples)) < alone - 0.03
