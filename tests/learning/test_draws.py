"""Draws are functions of their names, and uniform."""

import pytest
import torch
from named_streams import NamedStreams
from scipy import stats

from learning.draws import Draw

STREAMS = NamedStreams(5)


def test_equal_names_give_equal_tensors_in_any_order():
    names = [("dropout", (user, step)) for user in range(3) for step in range(3)]
    forward = {name: Draw(STREAMS, *name, shape=(4, 5)).tensor() for name in names}
    backward = {name: Draw(NamedStreams(5), *name, shape=(4, 5)).tensor() for name in reversed(names)}
    assert all(torch.equal(forward[name], backward[name]) for name in names)
    assert len({tuple(tensor.flatten().tolist()) for tensor in forward.values()}) == len(names)


def test_equality_and_hash_follow_the_content():
    draw = Draw(STREAMS, "codec", (1, "up"), (3,))
    assert draw == Draw(NamedStreams(5), "codec", (1, "up"), (3,))
    assert hash(draw) == hash(Draw(NamedStreams(5), "codec", (1, "up"), (3,)))
    others = [
        Draw(NamedStreams(6), "codec", (1, "up"), (3,)),
        Draw(STREAMS, "dropout", (1, "up"), (3,)),
        Draw(STREAMS, "codec", (2, "up"), (3,)),
        Draw(STREAMS, "codec", (1, "up"), (4,)),
        Draw(STREAMS, "codec", (1, "up"), (3,), torch.float64),
    ]
    assert all(draw != other for other in others)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_meta_announces_the_tensor(dtype):
    draw = Draw(STREAMS, "codec", (0,), (2, 3), dtype)
    assert (draw.meta.shape, draw.meta.dtype) == (draw.tensor().shape, draw.tensor().dtype)
    assert draw.meta.is_meta


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_are_uniform_below_one(dtype):
    numbers = torch.cat([Draw(STREAMS, "law", (i,), (1000,), dtype).tensor() for i in range(20)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert stats.kstest(numbers.numpy(), "uniform").pvalue > 1e-3


def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match="float32 or float64"):
        Draw(STREAMS, "law", (), (2,), torch.bfloat16)
