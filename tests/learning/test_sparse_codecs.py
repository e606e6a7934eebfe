"""Sparse messages and chains: sizes of bytes really packed, values as the kept elements alone would have them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from named_streams import NamedStreams

from learning.codecs import Bundle, Cast, Chain, FixedWidth, Identity, KeptActivations, KeptWeights, Uniform
from learning.draws import Draw
from learning.executor import EXECUTORS
from learning.reducers import Dropout, Pruning
from learning.reducers.pruning import masked
from learning.wire import transcode

SHAPE = (8, 6, 5)
DROPOUT = Dropout(0.4)


def draw(dropout=DROPOUT, shape=SHAPE, name="mask"):
    return Draw(NamedStreams(5), name, (0,), dropout.draw_shape(shape), torch.float64)


def activations(dtype=torch.float64):
    return torch.randn(*SHAPE, dtype=dtype, generator=torch.Generator().manual_seed(1))


def packed_bits(x, keep, positions):
    """Size of the kept values in memory, and of the mask in whole bits."""
    sent = x[keep.expand(x.shape)].numpy().nbytes * 8
    return sent + {"known": 0, "seed": 64, "bitmap": x.numel()}[positions]


@pytest.mark.parametrize("granularity", ["element", "channel"])
@pytest.mark.parametrize("positions", ["known", "seed", "bitmap"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_size_is_that_of_what_is_packed(granularity, positions, dtype):
    dropout, x = Dropout(0.4, granularity), activations(dtype)
    leaf = draw(dropout)
    codec = KeptActivations(dropout, leaf, positions)
    assert codec.bits(x.to("meta")) == packed_bits(x, dropout.mask(leaf.tensor()), positions)


def test_of_a_larger_tensor_the_same_share_is_kept():
    leaf = draw()
    kept = int(DROPOUT.mask(leaf.tensor()).sum())
    assert KeptActivations(DROPOUT, leaf).kept(torch.empty(8, 6, 15, device="meta")) == 3 * kept


@pytest.mark.parametrize("granularity", ["weight", "channel"])
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_pruned_weights_and_their_bitmap(granularity, rate):
    pruning, generator = Pruning(granularity=granularity), torch.Generator().manual_seed(2)
    weights = {"0.a.weight": torch.randn(6, 10, generator=generator), "0.a.bias": torch.randn(6, generator=generator)}
    mask = pruning.mask(weights, pruning.scores(weights), rate)
    kept = torch.cat([value[mask[name]] for name, value in masked(weights, mask).items()])
    bitmap = np.packbits(torch.cat([each.flatten() for each in mask.values()]).numpy()) if rate else b""
    bits = 8 * kept.numpy().nbytes + (66 if len(bitmap) else 0)
    assert len(bitmap) in (0, 66 // 8 + 1)
    meta = {name: value.to("meta") for name, value in weights.items()}
    assert KeptWeights(pruning, rate).bits(meta) == bits
    assert Chain(KeptWeights(pruning, rate), Uniform(4)).bits(meta) == bits - (32 - 4) * len(kept) + 64


@pytest.mark.parametrize(
    "then", [Uniform(3), Uniform(3, "nearest"), Cast(), Chain(KeptWeights(Pruning(), 0.5), Uniform(2))], ids=str
)
def test_a_chain_sends_the_kept_elements_as_if_there_were_no_others(then):
    """Zeros elsewhere; the range is that of the kept elements, though others are far larger."""
    leaf, u = draw(), draw(name="rounding").tensor()
    keep = DROPOUT.mask(leaf.tensor())
    x = torch.where(keep, activations(), 1e3)
    got = Chain(KeptActivations(DROPOUT, leaf.tensor()), then).roundtrip(x, u)
    assert torch.equal(got[keep], then.roundtrip(x[keep], u[keep]))
    assert not got[~keep].any()
    assert not torch.equal(got[keep], x[keep])


def test_the_second_codec_of_a_chain_sees_what_the_first_leaves():
    leaf, meta = draw(), activations().to("meta")
    first = KeptActivations(DROPOUT, leaf, "bitmap")
    kept = first.kept(meta)
    assert Chain(first, Identity()).bits(meta) == first.bits(meta) == 64 * kept + 240
    assert Chain(first, Uniform(5)).bits(meta) == 5 * kept + 64 + 240
    assert Chain(replace(first, positions="known"), Cast()).bits(meta) == 16 * kept


def test_a_chain_is_exact_or_stochastic_as_its_second_codec_is():
    first = KeptActivations(DROPOUT, draw())
    assert [(Chain(first, then).exact, Chain(first, then).stochastic) for then in (Identity(), Uniform(), Cast())] == [
        (True, False),
        (False, True),
        (False, False),
    ]


def test_where_nothing_is_kept_zeros_arrive():
    got = Chain(KeptActivations(DROPOUT, torch.zeros(SHAPE)), Uniform(3, "nearest")).roundtrip(activations(), None)
    assert torch.equal(got, torch.zeros(SHAPE, dtype=torch.float64))


@pytest.mark.parametrize("executor", ["eager", "batched"])
def test_messages_that_differ_in_their_masks_alone_are_one_group(executor):
    """The draw is an operand of the operation: equal shapes are planned once and run together."""
    runs, x = EXECUTORS[executor](), activations()
    leaves = [draw(name=f"mask {number}") for number in range(3)]
    rounding = draw(name="rounding")
    codecs = [Chain(KeptActivations(DROPOUT, leaf), Uniform(3)) for leaf in leaves]
    plans = [runs.plan(transcode, codec, x, [rounding]) for codec in codecs]
    assert len({id(plan.profile) for plan in plans}) == 1
    seen = runs.value([runs.submit_plan(plan) for plan in plans])
    for leaf, got in zip(leaves, seen, strict=True):
        alone = Chain(KeptActivations(DROPOUT, leaf.tensor()), Uniform(3))
        torch.testing.assert_close(got, alone.roundtrip(x, rounding.tensor()))


def test_numbers_of_a_fixed_width():
    labels = torch.empty(8, 3, dtype=torch.int64, device="meta")
    assert FixedWidth(4).bits(labels) == 96
    assert FixedWidth(8).bits((3, {"1.query": 2, "1.value": 0})) == 24
    assert FixedWidth(0).bits(labels) == 0
    assert FixedWidth(32).bits({"1.query": torch.empty((), device="meta")}) == 32


def test_a_bundle_is_as_large_as_its_parts():
    z, y = torch.empty(8, 6, device="meta"), torch.empty(8, dtype=torch.int64, device="meta")
    assert Bundle((Uniform(8), FixedWidth(4))).bits((z, y)) == 8 * 48 + 64 + 32
    with pytest.raises(ValueError, match="shorter"):
        Bundle((Identity(), Identity())).bits((z,))
