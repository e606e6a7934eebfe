"""Pruning masks: oracle 3 of fedsl_pq."""

from decimal import Decimal
from math import floor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from named_streams import NamedStreams
from torch.func import vmap

from learning.aggregators import masked_mean
from learning.models import Segment, VggMini, Vit
from learning.reducers import CubicRamp, Pruning
from learning.reducers.pruning import masked, prunable

CLIENT = Segment(VggMini(), (1, 28, 28), 10, 0, 2)
WEIGHTS = 144 + 2304 + 4608 + 9216


def params(seed=0, segment=CLIENT):
    return segment.initial(NamedStreams(seed), torch.float64)


def pruned(tree, rate, pruning=None, grads=None):
    pruning = pruning or Pruning()
    return pruning.mask(tree, pruning.scores(tree, grads), rate)


def dropped(masks):
    return sum(int((~mask).sum()) for mask in masks.values())


@given(st.decimals(0, Decimal("0.999"), places=3))
def test_exactly_the_share_of_all_prunable_weights_is_zero(rate):
    """The expected number is computed in decimal arithmetic, where 0.29 * 100 is 29."""
    tree = {"0.weight": torch.randn(10, 10, generator=torch.Generator().manual_seed(0)), "0.bias": torch.zeros(10)}
    assert dropped(pruned(tree, float(rate))) == floor(rate * 100) == Pruning().removed(tree, float(rate))


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 0.7, 0.95])
def test_the_least_of_all_layers_together_go(rate):
    tree = params()
    masks = pruned(tree, rate)
    weights = {name: value for name, value in tree.items() if prunable(name, value)}
    assert sum(value.numel() for value in weights.values()) == WEIGHTS
    assert dropped(masks) == floor(rate * WEIGHTS)
    kept = torch.cat([value[masks[name]].abs() for name, value in weights.items()])
    gone = torch.cat([value[~masks[name]].abs() for name, value in weights.items()])
    assert kept.min() >= max(gone, default=0)
    before = sum((value**2).sum() for value in weights.values())
    after = masked(tree, masks)
    lost = sum(((value - after[name]) ** 2).sum() for name, value in weights.items())
    assert lost <= rate * before


def test_biases_norms_and_positions_are_never_pruned():
    tree = params(segment=Segment(Vit(), (1, 8, 8), 10, 0, 6))
    names = {name for name, value in tree.items() if prunable(name, value)}
    assert names == {
        "0.project.weight",
        *(
            f"{i}.{part}.weight"
            for i in range(1, 5)
            for part in ("attend.1.inward", "attend.1.outward", "feed.1", "feed.3")
        ),
        "5.classify.weight",
    }
    assert all(mask.all() for name, mask in pruned(tree, 0.9).items() if name not in names)


def test_of_equal_scores_the_first_goes_first():
    tree = {"0.weight": torch.ones(2, 4), "1.weight": torch.ones(4, 2)}
    masks = pruned(tree, 0.625)
    assert masks["0.weight"].flatten().tolist() == [False] * 8
    assert masks["1.weight"].flatten().tolist() == [False] * 2 + [True] * 6


def test_taylor_ranks_by_the_product_with_the_gradient():
    tree = {"0.weight": torch.tensor([[1.0, 2.0, -3.0, 4.0]])}
    grads = {"0.weight": torch.tensor([[-9.0, 0.1, 1.0, 0.0]])}
    assert pruned(tree, 0.5, Pruning("taylor"), grads)["0.weight"].tolist() == [[True, False, True, False]]
    with pytest.raises(ValueError, match="needs the last gradients"):
        Pruning("taylor").scores(tree)


def test_channels_go_as_a_whole_and_in_every_layer_alike():
    tree = params()
    pruning = Pruning(granularity="channel")
    masks = pruned(tree, 0.3, pruning)
    for name, value in tree.items():
        if prunable(name, value):
            rows = masks[name].flatten(1)
            assert torch.equal(rows.any(1), rows.all(1))
            assert (~rows.all(1)).sum() == floor(0.3 * len(value))
            sums = value.abs().flatten(1).sum(1)
            assert sums[rows.all(1)].min() >= sums[~rows.all(1)].max()
    assert dropped(masks) == pruning.removed(tree, 0.3) == 4 * 9 + 4 * 144 + 9 * 144 + 9 * 288


def test_a_pruned_weight_regrows_through_masked_aggregation():
    """Two clients with different masks: what one kept is its value; what both pruned comes back from the old model.

    A stub whose mask never changes fails: the second boundary must keep entries that the first one pruned.
    """
    old, first, second = params(0), params(1), params(2)
    masks = [pruned(first, 0.5), pruned(second, 0.5)]
    merged = masked_mean(old, [masked(first, masks[0]), masked(second, masks[1])], masks, (1.0, 3.0))
    for name, value in merged.items():
        only_first, neither = masks[0][name] & ~masks[1][name], ~(masks[0][name] | masks[1][name])
        assert torch.equal(value[only_first], first[name][only_first])
        assert torch.equal(value[neither], old[name][neither])
    again = pruned(merged, 0.5)
    assert any((again[name] & ~masks[0][name]).any() for name in merged)


@pytest.mark.parametrize("granularity", ["weight", "channel"])
@pytest.mark.parametrize("importance", ["magnitude", "taylor"])
def test_vectorised_over_users_equals_a_loop(importance, granularity):
    pruning = Pruning(importance, granularity)
    users, grads = [params(seed) for seed in range(3)], [params(seed) for seed in range(3, 6)]
    stacked, gradients = ({k: torch.stack([tree[k] for tree in trees]) for k in trees[0]} for trees in (users, grads))
    together = vmap(lambda p, g: masked(p, pruned(p, 0.4, pruning, g)), randomness="error")(stacked, gradients)
    for number, user in enumerate(users):
        alone = masked(user, pruned(user, 0.4, pruning, grads[number]))
        assert all(torch.equal(together[name][number], alone[name]) for name in alone)


def test_masks_of_shapes_alone():
    tree = {name: value.to("meta") for name, value in params().items()}
    assert all(mask.is_meta and mask.shape == tree[name].shape for name, mask in pruned(tree, 0.5).items())
    assert Pruning().removed(tree, 0.5) == WEIGHTS // 2


def test_a_model_without_prunable_weights_is_kept_whole():
    assert pruned({"0.bias": torch.zeros(3)}, 0.5)["0.bias"].all()


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_rates_outside_the_unit_interval_are_refused(rate):
    with pytest.raises(ValueError, match="lies in"):
        pruned(params(), rate)


def test_the_ramp_is_cubic():
    ramp = CubicRamp(initial=0.1, final=0.9, rounds=10)
    assert ramp.rate(0) == pytest.approx(0.1)
    assert ramp.rate(5) == pytest.approx(0.9 - 0.8 / 8)
    assert ramp.rate(10) == ramp.rate(50) == 0.9
    rates = [ramp.rate(t) for t in range(11)]
    assert rates == sorted(rates)
    assert CubicRamp(final=0.4).rate(0) == 0.4
