"""Means of models, with and without masks: oracle 6 of fedsl_pq and brute force."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import vmap

from learning.aggregators import averaged, masked_mean, weighted_mean
from learning.executor.shape_run import shape_run

EPSILON = torch.finfo(torch.float64).eps


def trees(count, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "w": torch.randn(3, 4, generator=generator, dtype=torch.float64).to(dtype),
            "b": torch.randn(4, generator=generator, dtype=torch.float64).to(dtype),
        }
        for _ in range(count)
    ]


def masks(count, seed=0):
    return [{name: value > 0 for name, value in tree.items()} for tree in trees(count, seed + 100)]


weight_lists = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6)


@given(weight_lists)
def test_the_weighted_mean_is_numpys(weights):
    models = trees(len(weights))
    mean = weighted_mean(models, tuple(weights))
    for name, value in mean.items():
        expected = np.average([model[name].numpy() for model in models], axis=0, weights=weights)
        np.testing.assert_allclose(value.numpy(), expected, rtol=0, atol=8 * len(weights) * EPSILON)


@given(weight_lists, st.randoms(use_true_random=False))
def test_the_order_of_clients_matters_only_in_rounding(weights, random):
    models, kept, old = trees(len(weights)), masks(len(weights)), trees(1, 7)[0]
    order = list(range(len(weights)))
    random.shuffle(order)
    shuffled = [models[i] for i in order], [kept[i] for i in order], tuple(weights[i] for i in order)
    for ours, theirs in (
        (weighted_mean(models, tuple(weights)), weighted_mean(shuffled[0], shuffled[2])),
        (masked_mean(old, models, kept, tuple(weights)), masked_mean(old, *shuffled)),
    ):
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=8 * len(weights) * EPSILON)


@given(weight_lists)
def test_equal_models_have_themselves_as_mean(weights):
    """That is, the weights sum to one."""
    (model,) = trees(1)
    mean = weighted_mean([model] * len(weights), tuple(weights))
    for name, value in mean.items():
        torch.testing.assert_close(value, model[name], rtol=4 * len(weights) * EPSILON, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masks_that_keep_everything_change_no_bit(dtype):
    models, weights = trees(5, dtype=dtype), (3.0, 141.0, 7.0, 59.0, 11.0)
    everything = [{name: torch.ones_like(value, dtype=torch.bool) for name, value in model.items()} for model in models]
    plain, merged = weighted_mean(models, weights), masked_mean(trees(1, 9, dtype)[0], models, everything, weights)
    assert all(torch.equal(plain[name], merged[name]) and merged[name].dtype == dtype for name in plain)


def test_each_entry_is_averaged_over_those_that_kept_it():
    """Brute force, entry by entry."""
    models, kept, (old,) = trees(4), masks(4), trees(1, 7)
    weights = (1.0, 2.0, 3.0, 4.0)
    merged = masked_mean(old, models, kept, weights)
    seen = set()
    for name, value in merged.items():
        for place in np.ndindex(*value.shape):
            keepers = [k for k in range(4) if kept[k][name][place]]
            seen.add(len(keepers))
            total = sum(weights[k] for k in keepers)
            expected = (
                sum(weights[k] * models[k][name][place] for k in keepers) / total if keepers else old[name][place]
            )
            assert value[place] == pytest.approx(float(expected), rel=1e-14, abs=1e-15)
    assert {0, 1} < seen  # the cases that matter occur


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_one_client_kept_is_its_value_bit_for_bit(dtype):
    models, (old,) = trees(3, dtype=dtype), trees(1, 7, dtype)
    only = [{name: torch.full_like(value, k == 1, dtype=torch.bool) for name, value in old.items()} for k in range(3)]
    merged = masked_mean(old, models, only, (7.0, 0.3, 11.0))
    assert all(torch.equal(merged[name], models[1][name]) for name in merged)


def test_a_client_without_weight_does_not_count():
    models = trees(2)
    assert all(torch.equal(v, models[1][name]) for name, v in weighted_mean(models, (0.0, 5.0)).items())


def test_vectorised_over_groups_equals_a_loop():
    groups = [trees(2, seed) for seed in range(3)]
    stacked = [{name: torch.stack([group[k][name] for group in groups]) for name in groups[0][0]} for k in range(2)]

    def merge(a, b):
        kept = [{name: value > 0 for name, value in tree.items()} for tree in (a, b)]
        return weighted_mean([a, b], (1.0, 2.0)), masked_mean(a, [a, b], kept, (1.0, 2.0))

    together = vmap(merge, randomness="error")(*stacked)
    for number, group in enumerate(groups):
        for ours, expected in zip(together, merge(*group), strict=True):
            assert all(torch.equal(ours[name][number], expected[name]) for name in expected)


@pytest.mark.parametrize("weights", [(), (1.0,), (0.0, 0.0), (1.0, -1.0), (1.0, float("inf")), (float("nan"), 1.0)])
def test_weights_that_make_no_mean_are_refused(weights):
    with pytest.raises(ValueError, match="cannot be averaged"):
        weighted_mean(trees(2), weights)
    with pytest.raises(ValueError, match="cannot be averaged"):
        masked_mean(trees(1)[0], trees(2), masks(2), weights)


@pytest.mark.parametrize("users", [1, 2, 3, 7])
def test_the_closed_form_of_an_average_is_what_is_recorded_of_it(users):
    """A larger tensor after a smaller one, and the reverse; models that are one object, and models that are not."""
    sizes = [(3, 2), (5, 4), (2,), (4, 3)]

    def model():
        return {str(number): torch.empty(size, device="meta") for number, size in enumerate(sizes)}

    same = model()
    for trees in ([model() for _ in range(users)], [same] * users):
        operands = trees, (1.0,) * users
        closed, run = shape_run(averaged, operands), shape_run(lambda *args: averaged(*args), operands)
        assert replace(closed, results=None) == replace(run, results=None)
        assert layout(closed.results) == layout(run.results)


def test_models_of_different_forms_have_no_closed_form():
    """A whole number times a share is a fraction, which takes other memory; unequal shapes are refused as in a run."""
    whole, half = ({"w": torch.empty(3, dtype=dtype, device="meta")} for dtype in (torch.int16, torch.float16))
    assert shape_run(averaged, ([whole] * 2, (1.0, 1.0))).results["w"].dtype == torch.float32
    assert shape_run(averaged, ([half] * 2, (1.0, 1.0))).results["w"].dtype == torch.float16
    with pytest.raises(RuntimeError):
        shape_run(averaged, ([whole, {"w": torch.empty(4, device="meta")}], (1.0, 1.0)))


def layout(tree):
    return {name: (value.shape, value.stride(), value.dtype, value.device.type) for name, value in tree.items()}
