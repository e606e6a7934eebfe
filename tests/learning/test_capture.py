"""Captured operations: the same numbers from fewer calls, and a refusal of whatever is no fixed sequence of kernels."""

import pytest
import torch
from torch.func import grad, vmap
from torch.nn.functional import max_pool2d
from torch.utils._python_dispatch import TorchDispatchMode

from learning.executor.capture import POOLED_CHANNELS, capture
from learning.executor.kernels import NotCapturable

FOREIGN = torch.ones(3)


class Counted(TorchDispatchMode):
    def __enter__(self):
        self.kernels = 0
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.kernels += 1
        return func(*args, **(kwargs or {}))


def loss(w, x):
    return ((x @ w).relu() ** 2).sum()


def step(w, x):
    return w - 0.1 * grad(loss)(w, x), w


def repeated(w, x):
    """The same product twice, ones that are written into, an infinite constant, and a result that is not needed."""
    torch.stack([w, w])
    ones = torch.empty_like(w).fill_(1.0).sub_(w.relu() * 2)
    return x @ w + x @ w, torch.where(ones > 0, ones, -torch.inf), x.chunk(2)[1]


@pytest.mark.parametrize("function", [step, repeated])
def test_the_kernels_give_what_the_function_gives(function):
    stacked = vmap(function)
    w, x = torch.randn(4, 5, 3), torch.randn(4, 6, 5)
    first, kernels = capture(stacked, [w, x])
    for _ in range(2):
        with Counted() as plain:
            expected = stacked(w, x)
        with Counted() as captured:
            found = kernels(w, x)
        assert all(map(torch.equal, found, expected))
        assert captured.kernels < plain.kernels
        w, x = torch.randn(4, 5, 3), torch.randn(4, 6, 5)
    assert first[0].shape == expected[0].shape


def test_equal_tensors_that_are_written_into_stay_apart():
    """One of two equal results is changed in place, or a tensor that was read before: refused, not confused."""

    def twins(x):
        one, other = x * 2, x * 2
        one.add_(1)
        return one, other

    def read_before(x):
        one = x * 2
        half = one / 2
        return one.add_(1), half, one / 2

    for function in (twins, read_before):
        with pytest.raises(NotCapturable, match="add_"):
            capture(function, [torch.ones(3)])

    def again(x):
        one = (x * 2).add_(1)
        return one, x * 2

    _, kernels = capture(again, [torch.ones(3)])
    assert [result.tolist() for result in kernels(torch.ones(3))] == [[3.0] * 3, [2.0] * 3]


@pytest.mark.parametrize("window", [(2,), (3, 2, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wide_max_pooling_is_exact(window, dtype):
    """Among equal numbers the first is chosen, and a NaN is larger than any number, in torch's own kernel too."""
    x = torch.randn(2, POOLED_CHANNELS, 24, 24, dtype=dtype).relu()
    x.view(-1)[::97], x.view(-1)[5::301] = torch.nan, -0.0

    def pool(x):
        return max_pool2d(x, *window, return_indices=True)

    _, kernels = capture(pool, [x])
    assert sum(kernel.startswith("aten::contiguous(") for kernel in kernels.kernels) == 3
    for found, expected in zip(kernels(x), pool(x), strict=True):
        assert found.stride() == expected.stride()
        assert found.numpy().tobytes() == expected.numpy().tobytes()


@pytest.mark.parametrize(
    ("function", "kernel"),
    [
        (lambda x: [x * float(x.sum())], "_local_scalar_dense"),
        (lambda x: [x[x > 0]], "nonzero|index"),
        (lambda x: [x + torch.rand(3)], "rand"),
        (lambda x: [x.add_(1)], "add_"),
        (lambda x: [x.view(3, 1).add_(1)], "add_"),
        (lambda x: [x + FOREIGN], "neither an operand nor the result"),
    ],
    ids=["number", "selection", "random", "operand", "view", "foreign"],
)
def test_what_is_no_sequence_of_pure_kernels_is_refused(function, kernel):
    with pytest.raises(NotCapturable, match=kernel):
        capture(function, [torch.ones(3)])
