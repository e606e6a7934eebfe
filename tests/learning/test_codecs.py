"""Codecs: the size is that of real bytes, and the round trip is what comes out of them. Oracle 2 of fedsl_pq."""

import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch.func import vmap

from learning.codecs import CODECS, Cast, Identity, Uniform

DRAWS = 4000


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator), torch.rand(*shape, generator=generator)


def law(codec, u_of):
    """Mean and variance of the round trip over many draws, the true values, and the exact variance, in float64."""
    x = random(50)[0].double()
    generator = torch.Generator().manual_seed(1)
    seen = torch.stack([codec.roundtrip(x, u_of(x, generator)) for _ in range(DRAWS)])
    scale = (x.max() - x.min()) / (2**codec.bits_per_element - 1)
    fraction = torch.frac((x - x.min()) / scale)
    return seen.mean(0), seen.var(0), x, scale**2 * fraction * (1 - fraction)


def uniform_draw(x, generator):
    return torch.rand(x.shape, generator=generator, dtype=x.dtype)


def unbiased(mean, x, variance):
    return bool(((mean - x).abs() <= 5 * (variance / DRAWS).sqrt() + 1e-12).all())


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_quantiser_is_unbiased_with_the_exact_variance(bits):
    mean, variance, x, expected = law(Uniform(bits), uniform_draw)
    assert unbiased(mean, x, expected)
    # Oracle 2 asks for [0.98, 1.02]. In units of s^2 a coordinate has variance v = f (1 - f), and its estimate over n
    # draws has variance v (1 - 4 v) / n; so this ratio of sums has a standard deviation of about 0.0025 here.
    assert variance.sum() / expected.sum() == pytest.approx(1, abs=0.02)


def test_mutation_floor_rounding_would_be_found():
    """u = 1 never rounds up, which turns the quantiser into floor rounding: the test of the mean must notice."""
    mean, _, x, expected = law(Uniform(4), lambda x, generator: torch.ones_like(x))
    assert not unbiased(mean, x, expected)


values = arrays(np.float64, array_shapes(max_dims=3, max_side=6), elements=st.floats(-1e6, 1e6, width=32))


@given(values, st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_quantised_values_are_few_and_near(content, bits, seed):
    x, u = torch.from_numpy(content), torch.rand(content.shape, generator=torch.Generator().manual_seed(seed))
    seen = Uniform(bits).roundtrip(x, u)
    scale = (x.max() - x.min()) / (2**bits - 1)
    rounding = 1e-12 * x.abs().max()
    assert len(seen.unique()) <= 2**bits
    assert ((seen - x).abs() <= scale * (1 + 1e-9) + rounding).all()
    assert seen.min() >= x.min() - rounding
    assert seen.max() <= x.max() + rounding


def test_no_code_lies_above_the_largest_even_where_division_rounds_up():
    codec = Uniform(3)
    spans = torch.arange(1, 200, dtype=torch.float32) * 0.1
    assert any(span / (span / codec.largest) > codec.largest for span in spans)  # the case occurs
    for span in spans:
        assert codec.codes(torch.stack([torch.zeros(()), span]), torch.zeros(2)).tolist() == [0, codec.largest]


@pytest.mark.parametrize("value", [0.0, -3.25, 1e-30, 7e20])
def test_a_constant_tensor_passes_unchanged(value):
    x = torch.full((3, 4), value)
    assert torch.equal(Uniform(2).roundtrip(x, random(3, 4)[1]), x)


def test_the_error_vanishes_with_many_bits():
    x, u = random(1000)
    errors = [(Uniform(bits).roundtrip(x, u) - x).abs().max().item() for bits in range(1, 17)]
    span = (x.max() - x.min()).item()
    assert all(error <= span / (2**bits - 1) * (1 + 1e-3) for bits, error in enumerate(errors, 1))
    assert errors[-1] < 1e-3 * errors[3]


def pack(codec, x, u):
    """The message as a string of bits: two 32-bit floats, then the codes."""
    low, high = x.min(), x.max()
    side = struct.pack("<ff", low, (high - low) / codec.largest)
    codes = codec.codes(x, u).flatten().tolist()
    return "".join(f"{byte:08b}" for byte in side) + "".join(
        f"{int(code):0{codec.bits_per_element}b}" for code in codes
    )


def unpack(codec, message, shape):
    side = bytes(int(message[i : i + 8], 2) for i in range(0, 64, 8))
    low, scale = (torch.tensor(value) for value in struct.unpack("<ff", side))
    width = codec.bits_per_element
    codes = [int(message[i : i + width], 2) for i in range(64, len(message), width)]
    return low + scale * torch.tensor(codes, dtype=torch.float32).reshape(shape)


@pytest.mark.parametrize("bits", [1, 3, 8, 11, 16])
@pytest.mark.parametrize("shape", [(1,), (5, 7), (2, 3, 4)])
def test_a_real_packer_needs_exactly_the_bits_and_restores_what_the_receiver_sees(bits, shape):
    codec, (x, u) = Uniform(bits), random(*shape, seed=bits)
    message = pack(codec, x, u)
    assert len(message) == codec.bits(x.to("meta"))
    assert torch.equal(unpack(codec, message, shape), codec.roundtrip(x, u))


@pytest.mark.parametrize("codec", [Identity(), Cast("bfloat16"), Cast("float16")])
def test_unquantised_messages_weigh_what_torch_stores(codec):
    x = random(5, 7)[0]
    sent = x.to(getattr(torch, codec.format)) if isinstance(codec, Cast) else x
    assert codec.bits(x.to("meta")) == 8 * sent.numpy(force=True).nbytes if sent.dtype != torch.bfloat16 else 16 * 35
    assert torch.equal(codec.roundtrip(x, None), sent.float())


def test_cast_equals_independent_roundings():
    """float16 as numpy rounds; bfloat16 as the upper half of the 32 bits, rounded to nearest, ties to even."""
    x = random(1000)[0]
    halves = x.numpy().astype(np.float16).astype(np.float32)
    assert np.array_equal(Cast("float16").roundtrip(x, None).numpy(), halves)
    words = x.numpy().view(np.uint32).astype(np.uint64)
    upper = (words + 0x7FFF + ((words >> 16) & 1)) >> 16 << 16
    assert np.array_equal(Cast("bfloat16").roundtrip(x, None).numpy(), upper.astype(np.uint32).view(np.float32))


def test_identity_is_exact_and_says_so():
    x = random(4)[0]
    assert Identity().roundtrip(x, None) is x
    assert {name: (part().exact, part().stochastic) for name, part in CODECS.items()} == {
        "identity": (True, False),
        "uniform": (False, True),
        "cast": (False, False),
        "analogue": (False, True),
    }


def test_the_size_of_a_tree_is_the_sum_of_its_tensors():
    tree = {"a": torch.empty(3, 5, device="meta"), "b": (torch.empty(7, dtype=torch.float64, device="meta"),)}
    assert Identity().bits(tree) == 15 * 32 + 7 * 64
    assert Uniform(6).bits(tree) == 22 * 6 + 2 * 64
    assert Cast().bits(tree) == 22 * 16


@pytest.mark.parametrize("codec", [Identity(), Uniform(3), Cast()])
def test_vectorised_over_users_equals_a_loop(codec):
    """Each user's tensor has its own scale, one of them none at all."""
    x, u = random(3, 6)
    x[1] = 2.5
    together = vmap(codec.roundtrip, randomness="error")(x, u)
    assert all(torch.equal(together[i], codec.roundtrip(x[i], u[i])) for i in range(3))


def test_the_quantiser_asks_for_its_draws():
    x, u = random(4)
    for draws in (None, u[:3]):
        with pytest.raises(ValueError, match="one uniform number for each element"):
            Uniform().roundtrip(x, draws)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_a_range_that_is_not_finite_leaves_nothing_of_what_shares_it(bad, rounding):
    """The whole tensor, or the vector in which it is; the other vectors are what they are without it."""
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    broken, u = x.index_put((torch.tensor(1), torch.tensor(2)), torch.tensor(bad)), torch.full((3, 4), 0.5)
    assert Uniform(4, rounding).roundtrip(broken, u).isnan().all()
    by_token = Uniform(4, rounding, "token")
    seen, sound = by_token.roundtrip(broken, u), by_token.roundtrip(x, u)
    assert seen[1].isnan().all()
    assert torch.equal(seen[[0, 2]], sound[[0, 2]])
