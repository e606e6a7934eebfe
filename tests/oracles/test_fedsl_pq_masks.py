"""FedSL-PQ: masks that change and weights that come back; device parts that meet at boundaries."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from by_hand import by_samples, distance, flat, mean, same_bits
from watching import NOTHING, watch

from fakes import world
from learning.optimisers import Sgd
from learning.reducers import CubicRamp, Pruning
from learning.reducers.pruning import prunable
from learning.schemes import SFL, FedSLPQ

HALF = CubicRamp(final=0.5)
PRUNE_ONLY = {**NOTHING, "pruning_rate": HALF}


# 3: masks.


def prunable_names(tree):
    return [name for name, value in tree.items() if prunable(name, value)]


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.9])
def test_the_least_weights_of_the_aggregate_are_pruned(rate, monkeypatch):
    scheme = FedSLPQ(interval=2, **{**NOTHING, "pruning_rate": CubicRamp(final=rate)})
    watched = watch(monkeypatch, scheme, rounds=4)
    assert len(watched.calls["pruned"]) == 2 * 3
    for call in watched.calls["pruned"]:
        weights, mask = call["result"]
        names = prunable_names(weights)
        before, kept = flat(call["weights"], names), flat(mask, names)
        assert int((~kept).sum()) == int(np.floor(rate * 64 * 12))
        assert before[kept].abs().min() >= before[~kept].abs().max()
        assert torch.equal(flat(weights, names), before * kept)
        assert (before**2 * ~kept).sum() <= rate * (before**2).sum()


@pytest.mark.parametrize("optimiser", [Sgd(0.1, 0.9, 1e-2), Sgd(0.1)], ids=str)
def test_masked_weights_do_not_move_between_boundaries(optimiser, monkeypatch):
    watched = watch(monkeypatch, FedSLPQ(interval=3), rounds=6, optimiser=optimiser)
    rounds = watched.updates()
    for number, some in enumerate(rounds):
        for user, update in enumerate(some):
            removed = ~flat(update["mask"])
            assert removed.any()
            assert not flat(update["weights"])[removed].any()
            assert not flat(update["result"][0])[removed].any()
            assert (flat(update["result"][0]) != flat(update["weights"]))[~removed].float().mean() > 0.5
            if number < 3 and optimiser.momentum:  # nor is there momentum to move them when they come back
                assert not flat(update["result"][1])[removed].any()
            if number % 3:
                assert same_bits(update["mask"], rounds[number - 1][user]["mask"])
    assert not same_bits(rounds[0][0]["mask"], rounds[3][0]["mask"])  # dynamic: a new interval, a new mask


@pytest.mark.parametrize("aggregation", ["masked", "plain"])
@pytest.mark.parametrize("importance", ["magnitude", "taylor"])
def test_aggregation(aggregation, importance, monkeypatch):
    """Each entry is averaged over those that kept it and stays what it was if nobody did; or zeros count."""
    scheme = FedSLPQ(interval=2, pruning=Pruning(importance), aggregation=aggregation, pruning_rate=HALF)
    watched = watch(monkeypatch, scheme, rounds=4, samples=[8, 24, 16])
    shares = by_samples(watched.ran)
    last, before = watched.updates()[-1], watched.calls["pruned"][-1]["weights"]
    model, kept_by_some, kept_by_one = watched.ran.model, 0, 0
    for name, old in before.items():
        weights, masks = [u["result"][0][name] for u in last], [u["mask"][name] for u in last]
        kept = sum(share * mask.double() for share, mask in zip(shares, masks, strict=True))
        averaged = sum(share * value for share, value in zip(shares, weights, strict=True))
        if aggregation == "masked":
            averaged = torch.where(kept > 0, averaged / kept.clamp(min=1e-9), old)
        torch.testing.assert_close(model[name], averaged, rtol=1e-12, atol=1e-14)
        many = sum(mask.int() for mask in masks)
        kept_by_some += int(((many > 0) & (many < 3)).sum())
        kept_by_one += int((many == 1).sum())
        if aggregation == "masked":
            only = [value[(many == 1) & mask] for value, mask in zip(weights, masks, strict=True)]
            mine = [model[name][(many == 1) & mask] for mask in masks]
            assert all(torch.equal(a, b) for a, b in zip(only, mine, strict=True))
    assert (kept_by_some > 10) == (kept_by_one > 10) == (importance == "taylor")  # by magnitude masks are alike


@pytest.mark.parametrize("importance", ["magnitude", "taylor"])
def test_pruned_weights_come_back(importance, monkeypatch):
    watched = watch(monkeypatch, FedSLPQ(interval=2, pruning=Pruning(importance)), rounds=10, optimiser=Sgd(0.3, 0.9))
    boundaries = [watched.updates()[number] for number in range(0, 10, 2)]
    regrown = 0
    for earlier, later in pairwise(boundaries):
        for a, b in zip(earlier, later, strict=True):
            back = ~flat(a["mask"]) & flat(b["mask"])
            regrown += int(back.sum())
            assert (flat(b["weights"])[back] != 0).all()  # with a value, not as zeros
    assert regrown > 0


def test_taylor_importance_looks_at_the_last_gradient_neither_masked_nor_quantised(monkeypatch):
    scheme = FedSLPQ(interval=2, pruning=Pruning("taylor"), gradient_bits=3)
    watched = watch(monkeypatch, scheme, rounds=4)
    first, second = watched.calls["pruned"][:3], watched.calls["pruned"][3:]
    assert [call["pruning"].importance for call in first] == ["magnitude"] * 3  # no gradient has been seen
    for update, call in zip(watched.updates()[1], second, strict=True):
        gradients = update["result"][2]
        assert same_bits(call["gradients"], gradients)
        names = prunable_names(gradients)
        assert (flat(gradients, names)[~flat(update["mask"], names)] != 0).float().mean() > 0.5
        importance, kept = (flat(call["weights"], names) * flat(gradients, names)).abs(), flat(call["result"][1], names)
        assert importance[kept].min() >= importance[~kept].max()
    masks = [flat(call["result"][1]) for call in second]
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[1], masks[2])


def test_what_taylor_importance_brings_back_is_important(monkeypatch):
    """A pruned weight that is kept again has a score of its own, by autograd: it does not win a tie among zeros."""
    scheme = FedSLPQ(interval=2, pruning=Pruning("taylor"), pruning_rate=HALF, gradient_bits=3)
    watched = watch(monkeypatch, scheme, rounds=8, optimiser=Sgd(0.3, 0.9))
    scores = []
    for interval in (1, 2, 3):
        decided = watched.calls["pruned"][3 * interval : 3 * interval + 3]
        for before, call in zip(watched.updates()[2 * interval - 1], decided, strict=True):
            leaves = {name: value.clone().requires_grad_() for name, value in before["weights"].items()}
            z = before["segment"](leaves, before["x"]) * (before["u"] >= 0.3) / 0.7
            (z * before["dz"]).sum().backward()
            names = prunable_names(before["weights"])
            importance = flat({n: (call["weights"][n] * leaves[n].grad).abs() for n in names}, names)
            kept = flat(call["result"][1], names)
            assert importance[kept].min() >= importance[~kept].max()
            scores.append(importance[kept & ~flat(before["mask"], names)])
    assert len(torch.cat(scores)) > 10
    assert (torch.cat(scores) > 0).float().mean() > 0.5  # dark pixels and silent units have no gradient


def test_who_decides_masks_does_not_matter_to_them():
    device, server = (world(FedSLPQ(interval=2, masks_at=where)) for where in ("device", "server"))
    assert same_bits(device.model, server.model)


# 6: device parts meet at boundaries.


def test_device_parts_are_one_after_a_boundary_and_part_before_it(monkeypatch):
    watched = watch(monkeypatch, FedSLPQ(interval=3), rounds=6)
    for number, some in enumerate(watched.forwards()):
        together = [same_bits(a["weights"], b["weights"]) for a, b in pairwise(some)]
        assert together == [number % 3 == 0] * 2


def test_between_boundaries_the_aggregate_is_evaluated():
    """As if it were aggregated now: the rounds before a boundary belong to a run that stops there."""
    whole = world(FedSLPQ(interval=3), rounds=6).journal.series("loss")
    for rounds in (1, 2, 4, 5):
        assert world(FedSLPQ(interval=3), rounds=rounds).journal.series("loss") == whole[:rounds]


def test_the_order_of_users_does_not_matter():
    """Mini-batches are whole data sets here, so that names of users do not choose samples."""
    parts = [np.arange(start, start + 8) for start in (0, 8, 16)]
    setting = {"rounds": 4, "batch_size": 8}
    forth, back = (world(FedSLPQ(interval=2, **PRUNE_ONLY), parts=p, **setting).model for p in (parts, parts[::-1]))
    assert distance(forth, back) < 1e-10
    other = world(FedSLPQ(interval=2, **PRUNE_ONLY), parts=[*parts[:2], parts[0]], **setting).model
    assert distance(forth, other) > 1e-4


def test_shares_follow_the_samples():
    """An entry that all kept is the mean weighted by samples: with nearly all of them at one user, that user's."""
    ran = world(FedSLPQ(interval=1, **NOTHING), samples=[8, 8, 800], rounds=1)
    parts = world(SFL(interval=None), samples=[8, 8, 800], rounds=1).every_model
    fronts = [{name: model[name] for name in ran.front.parameters()} for model in parts]
    front = {name: ran.model[name] for name in ran.front.parameters()}
    assert distance(front, mean(fronts, [8 / 816, 8 / 816, 800 / 816])) < 1e-12
