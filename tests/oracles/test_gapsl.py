"""GAPSL against closed forms, against parallel split learning, and against finite differences."""

from math import inf, pi
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import distance, same_bits
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fakes import world
from learning.executor import Eager
from learning.schemes import GAPSL, PSL
from learning.schemes.gapsl.alignment import Alignment, aligned, steered
from learning.schemes.gapsl.operators import penalised_gradients

FRESH = torch.tensor([inf, -inf], dtype=torch.float64)
HALF = torch.tensor(0.5, dtype=torch.float64)
PAPER = Alignment()
EVERYONE = Alignment(sensitivity=-1e9, max_angle_rad=pi)


def tree(vector: Any) -> dict[str, torch.Tensor]:
    """A gradient of two tensors."""
    vector = torch.as_tensor(vector, dtype=torch.float64)
    return {"a.weight": vector[:2].reshape(2, 1), "b.bias": vector[2:]}


def find(vectors, rule=PAPER, extremes=FRESH, progress=HALF, seed=0):
    u = torch.rand((2, len(vectors)), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return aligned(rule, [tree(vector) for vector in vectors], extremes, progress, u)


def drawn(users: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((users, 5))


def cosine(a, b):
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def vector(gradient):
    return torch.cat([leaf.flatten() for leaf in gradient.values()]).numpy()


# 1: users that agree.


@pytest.mark.parametrize("penalty", ["detached", "double", "steer"])
def test_users_with_the_same_data_train_as_in_parallel_split_learning(penalty):
    same = {"parts": [np.full(24, 5)] * 3}
    ran, plain = world(GAPSL(penalty=penalty, strength=0.1), **same), world(PSL(), **same)
    assert max(distance(a, b) for a, b in zip(ran.every_model, plain.every_model, strict=True)) < 1e-6
    assert ran.journal.series("kept_share") == [1.0] * 3


# 2: nine against one.


@pytest.mark.parametrize(("sensitivity", "threshold"), [(0.0, pi / 10), (0.5, 0.0), (1.0, 0.0)])
def test_nine_users_outvote_one(sensitivity, threshold):
    g = drawn(1)[0]
    found, leader, _ = find([g] * 9 + [-g], Alignment(sensitivity=sensitivity), progress=torch.tensor(1.0).double())
    assert found["angle"].tolist() == pytest.approx([pi / 9] * 9 + [pi], abs=1e-6)
    assert float(found["spread"]) == pytest.approx(0.8378, abs=1e-4)
    assert vector(leader) == pytest.approx(g, rel=1e-12)
    assert found["cosine"].tolist() == pytest.approx([1.0] * 9 + [-1.0])
    assert float(found["threshold"]) == pytest.approx(threshold, abs=1e-6)
    assert found["kept"].tolist() == [1.0] * 9 + [0.0]


# 3: the share of leaders.


@pytest.mark.parametrize(
    ("progress", "spread", "leaders"), [(0.5, 0.1, 5), (0.5, 0.3, 2), (1.0, 0.1, 8), (0.5, 0.2, 4), (0.0, 0.1, 2)]
)
def test_the_leader_grows_as_training_settles(progress, spread, leaders):
    """Ten users, 20 to 80 %, spreads from 0.1 to 0.3 so far."""
    numbers = (torch.tensor(each, dtype=torch.float64) for each in (spread, [0.1, 0.3], progress))
    assert int(Alignment().leaders(*numbers, 10)) == leaders


def test_the_first_round_has_the_smallest_leader():
    assert float(find(drawn(10))[0]["share"]) == 0.2


@given(st.integers(2, 12), st.floats(0, 1), st.integers(0, 10**6))
def test_the_number_of_leaders_has_its_bounds(users, progress, seed):
    extremes = torch.tensor([0.05, 0.6], dtype=torch.float64)
    found, _, _ = find(drawn(users, seed), extremes=extremes, progress=torch.tensor(progress, dtype=torch.float64))
    count = round(float(found["share"]) * users)
    assert np.ceil(0.2 * users - 1e-9) <= count <= np.ceil(0.8 * users - 1e-9)


# 4, 8: scales and orders.


def test_scales_of_gradients_change_no_choice():
    vectors = drawn(6)
    found, _, _ = find(vectors)
    scaled, _, _ = find([100 * vectors[0], *vectors[1:]])
    assert scaled["angle"].tolist() == pytest.approx(found["angle"].tolist(), rel=1e-12)
    assert scaled["kept"].tolist() == found["kept"].tolist()


@given(st.permutations(range(6)), st.integers(0, 10**6))
def test_the_order_of_users_changes_no_choice(order, seed):
    vectors = drawn(6, seed)
    (found, leader, _), (other, again, _) = find(vectors), find(vectors[order])
    assert other["kept"].tolist() == found["kept"][list(order)].tolist()
    assert vector(again) == pytest.approx(vector(leader), rel=1e-9, abs=1e-12)


# 5: the penalty.


def test_a_detached_penalty_changes_no_weights():
    weak, strong = (world(GAPSL(strength=strength), rounds=20) for strength in (0.0, 1000.0))
    assert all(same_bits(a, b) for a, b in zip(weak.every_model, strong.every_model, strict=True))
    assert weak.journal.series("aligned_loss") != strong.journal.series("aligned_loss")


@pytest.mark.parametrize("penalty", ["double", "steer"])
def test_other_penalties_change_the_weights(penalty):
    weak, strong = (world(GAPSL(penalty=penalty, strength=strength)) for strength in (0.0, 10.0))
    assert any(distance(a, b) > 1e-6 for a, b in zip(weak.every_model, strong.every_model, strict=True))


def test_the_gradient_of_the_penalty_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(0)
    z, lead, wide, step = torch.randn((6, 3), generator=generator).double(), {}, 7.0, 1e-5
    weights = {
        "w": torch.randn((3, 4), generator=generator).double(),
        "v": torch.randn((4, 5), generator=generator).double(),
    }
    lead = {name: torch.randn(value.shape, generator=generator).double() for name, value in weights.items()}
    y = torch.tensor([0, 1, 2, 3, 4, 0])

    def segment(parameters, z):
        return torch.tanh(z @ parameters["w"]) @ parameters["v"]

    def penalised(weights, z):
        weights = {name: value.clone().requires_grad_() for name, value in weights.items()}
        loss = nn.functional.cross_entropy(segment(weights, z), y)
        own = torch.autograd.grad(loss, list(weights.values()))
        a, b = (torch.cat([leaf.flatten() for leaf in leaves]) for leaves in (own, lead.values()))
        return float(loss.detach() + wide * (1 - a @ b / a.norm() / b.norm()))

    def difference(name, place):
        moved = []
        for sign in (1, -1):
            changed = {"z": z.clone(), **{name: value.clone() for name, value in weights.items()}}
            changed[name][place] += sign * step
            moved.append(penalised({name: changed[name] for name in weights}, changed["z"]))
        return (moved[0] - moved[1]) / (2 * step)

    gradients, dz = penalised_gradients(segment, wide, weights, z, y, lead)
    for name, place in [("w", (0, 0)), ("w", (2, 3)), ("v", (1, 4)), ("z", (0, 1)), ("z", (5, 2))]:
        assert float({**gradients, "z": dz}[name][place]) == pytest.approx(difference(name, place), rel=1e-4)


# 6: turning towards the leader.


@given(st.integers(0, 10**6), st.floats(1e-3, 0.3))
def test_a_turned_gradient_is_nearer_to_the_leader(seed, strength):
    vectors = drawn(5, seed)
    found, leader, _ = find(vectors)
    turned = steered(strength, [tree(each) for each in vectors], leader, found["cosine"])
    for before, after in zip(vectors, turned, strict=True):
        assert cosine(vector(after), vector(leader)) >= cosine(before, vector(leader)) - 1e-12
    assert cosine(vector(turned[0]), vector(leader)) > cosine(vectors[0], vector(leader)) or found["cosine"][0] > 0.999


# 7, 9: the threshold.


@pytest.mark.parametrize("rule", [EVERYONE, Alignment(kept="all")], ids=["no threshold", "all"])
@pytest.mark.parametrize("weighting", ["uniform", "by_samples"])
def test_without_a_threshold_it_is_parallel_split_learning(rule, weighting):
    setting = {"samples": [8, 24, 40]}
    ran, plain = world(GAPSL(rule, weighting=weighting), **setting), world(PSL(weighting=weighting), **setting)
    assert all(same_bits(a, b) for a, b in zip(ran.every_model, plain.every_model, strict=True))


def test_a_high_sensitivity_keeps_the_user_nearest_to_the_leader():
    found, _, _ = find(drawn(6), Alignment(sensitivity=1e9))
    assert found["kept"].sum() == 1
    assert found["kept"].argmax() == found["cosine"].argmax()


@given(st.integers(0, 10**6), st.floats(-100, 100))
def test_users_against_the_leader_are_never_kept(seed, sensitivity):
    found, _, _ = find(drawn(6, seed), Alignment(sensitivity=sensitivity))
    assert float(found["threshold"]) <= pi / 2
    assert all(cos > -1e-5 for cos, kept in zip(found["cosine"], found["kept"], strict=True) if kept)


# 10, 11: messages and the barrier.


@pytest.mark.parametrize("penalty", ["detached", "double", "steer"])
def test_it_sends_the_bits_of_parallel_split_learning(penalty):
    ran, plain = world(GAPSL(penalty=penalty)), world(PSL())
    for kind in ("model", "activation", "gradient"):
        assert sorted(ran.journal.sent(kind=kind)) == sorted(plain.journal.sent(kind=kind))
    assert {message.kind for message in ran.journal.messages} == {"model", "activation", "gradient"}


def test_users_that_are_not_kept_may_get_no_gradient():
    sent = world(GAPSL(skip_empty_downlink=True))
    shares = [round(3 * share) for share in sent.journal.series("kept_share")]
    assert [len(sent.journal.sent(kind="gradient", round=number)) for number in range(3)] == shares
    assert sum(shares) < 9
    always = world(GAPSL())
    assert all(same_bits(a, b) for a, b in zip(sent.every_model, always.every_model, strict=True))


def test_the_server_aligns_when_it_has_all_gradients():
    """A slow user delays the gradients of all others."""
    for speeds, earliest_s in (([1e6] * 3, 0.0), ([1e6, 1e6, 1e4], 0.1)):
        journal = world(GAPSL(), rounds=1, flops_per_s=speeds).journal
        (work,) = [work for work in journal.works if work.kind == "alignment"]
        assert work.start_s >= max(m.end_s for m in journal.messages if m.kind == "activation") > earliest_s
        assert min(m.start_s for m in journal.messages if m.kind == "gradient") >= work.end_s


def test_the_alignment_is_charged_for_pairs_norms_and_the_largest_leader():
    """S (S - 1) + 4 S + n FLOPs for each weight of the server's part."""
    users, gradients = 5, [tree(vector) for vector in drawn(5)]
    u = torch.zeros((2, users), dtype=torch.float64)
    plan = Eager().plan(aligned, PAPER, gradients, FRESH, HALF, u)
    assert plan.profile.flops == (users * (users - 1) + 4 * users + 4) * 5


# 12, 13: what rounds remember, and ablations.


def test_extremes_widen():
    extremes, spreads = FRESH, []
    for seed in range(8):
        found, _, after = find(drawn(5, seed), extremes=extremes)
        spreads.append(float(found["spread"]))
        assert after.tolist() == [min(spreads), max(spreads)]
        extremes = after


def test_the_leader_of_all_users_is_their_mean():
    vectors = drawn(6)
    _, leader, _ = find(vectors, Alignment(leader="all"))
    assert vector(leader) == pytest.approx(vectors.mean(0), rel=1e-12)


def test_random_choices_are_as_many():
    extremes, late = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    for seed in range(5):
        vectors = drawn(9, seed)
        found, best, _ = find(vectors, extremes=extremes, progress=late)
        other, leader, _ = find(vectors, Alignment("random"), extremes, late, seed)
        assert other["share"] == found["share"]
        assert vector(leader) != pytest.approx(vector(best))
        dealt, _, _ = find(vectors, Alignment(kept="random"), extremes, late, seed)
        assert dealt["kept"].sum() == found["kept"].sum()


def test_updates_by_the_leader_alone():
    """A mean over the users in the leader is a step along the leader gradient."""
    ran = world(GAPSL(Alignment(kept="leader", min_share=1.0, max_share=1.0)), rounds=1)
    plain = world(PSL(), rounds=1)
    assert max(distance(a, b) for a, b in zip(ran.every_model, plain.every_model, strict=True)) < 1e-12


@pytest.mark.parametrize("reduction", ["sum", "mean_all", "mean_selected"])
def test_reductions(reduction):
    """With all of three users kept, the sum moves the server's part three times as far as the mean."""
    scheme = GAPSL(Alignment(kept="all"), server_reduction=reduction)
    ran, plain = world(scheme, rounds=1), world(PSL(), rounds=1)
    initial = ran.initial(ran.back)
    step = {name: plain.every_model[0][name] - value for name, value in initial.items()}
    factor = 3 if reduction == "sum" else 1
    expected = {name: value + factor * step[name] for name, value in initial.items()}
    assert distance({name: ran.every_model[0][name] for name in initial}, expected) < 1e-12


def test_users_that_are_not_kept_stand_still_or_go_on():
    """Of two users that disagree one is kept; the other keeps its weights, or steps along its own gradient."""
    rule = Alignment(sensitivity=1e9)
    plain = world(PSL(), rounds=1)
    for unselected, moved in (("skip", 1), ("own", 3)):
        ran = world(GAPSL(rule, unselected=unselected), rounds=1)
        start = ran.initial(ran.front)
        fronts = [{name: model[name] for name in start} for model in ran.every_model]
        assert sum(not same_bits(front, start) for front in fronts) == moved
        own = [{name: model[name] for name in start} for model in plain.every_model]
        assert sum(same_bits(a, b) for a, b in zip(fronts, own, strict=True)) == moved
