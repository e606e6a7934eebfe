"""Captured kernels in torch's own interpreter: arguments as they were given, and no Python between two kernels."""

import pickle
from weakref import ref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad, vmap

from benchmarks.timing import python_calls
from learning.executor import capture as capturing
from learning.executor import kernels as interpreted
from learning.executor.capture import capture
from learning.executor.kernels import NotCapturable, constant

X = torch.arange(12.0).reshape(3, 4)
WANTED = [True, True, False]
convolution_backward = torch.ops.aten.convolution_backward


@given(st.floats(allow_nan=False))
def test_numbers_keep_their_bits(number):
    _, kernels = capture(lambda x: [torch.full_like(x, number, dtype=torch.float64), x.double() * number], [X])
    full, product = kernels(X)
    assert full.numpy().tobytes() == torch.full((3, 4), number, dtype=torch.float64).numpy().tobytes()
    assert product.numpy().tobytes() == (X.double() * number).numpy().tobytes()


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_stay_whole(number):
    _, kernels = capture(lambda x: [torch.full_like(x, number, dtype=torch.int64)], [X])
    assert kernels(X)[0].tolist() == [[number] * 4] * 3


@pytest.mark.parametrize(
    "function",
    [
        lambda x: [x.sum((0, 1), keepdim=True), x.sum(()), x.mean(dtype=torch.float64)],
        lambda x: [x.to(torch.bfloat16), x.contiguous(memory_format=torch.preserve_format), x > 3],
        lambda x: [
            x[None, :, :, None].contiguous(memory_format=torch.channels_last),
            x.t().contiguous(),
            x.t().clone(),
        ],
        lambda x: [torch.nn.functional.gelu(x, approximate="tanh"), torch.div(x, 2, rounding_mode="floor")],
        lambda x: [torch.cat([x, x * 2]), torch.stack([x, x.relu()], 1)],
        lambda x: [torch.ops.aten.index_put(x, [None, torch.arange(2)], x[:, 2:]), x.gather(0, x.long() % 3)],
        lambda x: list(torch.split(x, [1, 2])),
        lambda x: list(torch.max(x, 0)),
        lambda x: [torch.conv2d(x[None, None], torch.ones_like(x[:2, :2])[None, None], padding=1)],
        lambda x: convolution_backward(
            x[None, :1, :3], x[None], x[None, :, :2], [], [1], [0], [1], False, [0], 1, WANTED
        )[:2],
        lambda x: [torch.ones(3, device="cpu", dtype=torch.int32) + x.long().sum()],
        lambda x: [x + torch.scalar_tensor(2.5), x.pow(2), 1 / (x + 1), vmap(grad(lambda row: (row**2).sum() / 3))(x)],
    ],
)
def test_arguments_of_all_kinds(function):
    """The interpreter runs them on other values too, and after they were sent to another process."""
    _, kernels = capture(function, [X])
    for run in (kernels, pickle.loads(pickle.dumps(kernels))):
        for found, expected in zip(run(X.flip(1)), function(X.flip(1)), strict=True):
            assert found.dtype == expected.dtype
            assert found.stride() == expected.stride()
            assert torch.equal(found, expected)


@pytest.mark.parametrize("value", [float("nan"), 1j, torch.Generator(), "two words", torch.sparse_coo])
def test_arguments_without_text_are_refused(value):
    with pytest.raises(NotCapturable, match="argument"):
        constant(value)


def chain(length):
    def function(x):
        for number in range(length):
            x = (x + number).cos()
        return [x]

    return function


def test_there_is_no_python_between_two_kernels():
    few, many = (capture(chain(length), [X])[1] for length in (2, 100))
    assert python_calls(lambda: few(X)) == python_calls(lambda: many(X)) < 10


def test_many_kernels_are_run_in_pieces(monkeypatch):
    """Each piece takes what the one before made, and lets go of it; the operand is needed by the last one again."""
    monkeypatch.setattr(interpreted, "PIECE", 10)
    _, kernels = capture(lambda x: [chain(25)(x)[0] * x], [X])
    assert torch.equal(kernels(X)[0], chain(25)(X)[0] * X)
    _, pieces, results = kernels.__reduce__()[1]
    assert len(kernels.kernels) == 51
    assert [len(piece.outputs) for piece in pieces] == [1] * 6
    assert [piece.inputs[0] for piece in pieces[1:]] == [piece.outputs[0] for piece in pieces[:-1]]
    assert [piece.last for piece in pieces] == [
        frozenset(piece.inputs) - ({"x0"} if piece is pieces[0] else set()) for piece in pieces
    ]
    assert results == list(pieces[-1].outputs)


def test_pieces_of_large_kernels_have_few_of_them(monkeypatch):
    """Somebody who interrupts a run waits for a piece: its kernels make some numbers, however many they are."""
    monkeypatch.setattr(interpreted, "PIECE_NUMBERS", 3 * X.numel())
    _, kernels = capture(chain(5), [X])
    assert [len(piece.text.split("aten::")) - 1 for piece in kernels.__reduce__()[1][1]] == [3, 3, 3, 1]


def test_memory_of_a_piece_is_freed_during_the_next_but_one(monkeypatch):
    monkeypatch.setattr(interpreted, "PIECE", 10)
    _, kernels = capture(chain(25), [X])
    made, alive = [], []

    def watched(run):
        def function(*given):
            alive.append([each() is not None for each in made])
            results = run(*given)
            made.append(ref(results[0]))
            return results

        return function

    kernels._functions = list(map(watched, kernels._functions))
    kernels(X)
    assert alive == [[], [True], [False, True], [False, False, True], [False, False, False, True]]


def test_what_is_not_needed_is_left_out():
    _, kernels = capture(lambda x: [(x.exp().sin(), x.cos())[1]], [X])
    assert [kernel.partition("(")[0] for kernel in kernels.kernels] == ["aten::cos"]


def test_a_setting_of_the_interpreter_is_put_back():
    """Its optimiser joins kernels, and rounds otherwise: it is off for the captured ones, and for no others."""
    _, kernels = capture(chain(2), [X])
    during = []
    kernels._functions = [
        lambda x, run=run: during.append(torch._C._get_graph_executor_optimize()) or run(x)
        for run in kernels._functions
    ]
    for before in (True, False):
        torch._C._set_graph_executor_optimize(before)
        try:
            kernels(X)
            with pytest.raises(RuntimeError):
                kernels("no tensor")
            assert torch._C._get_graph_executor_optimize() is before
        finally:
            torch._C._set_graph_executor_optimize(True)
    assert during == [False] * 4


@pytest.mark.parametrize(
    ("x", "other"),
    [
        (torch.zeros(3), -torch.zeros(3)),
        (torch.tensor([torch.nan]), torch.ones(1)),
        (torch.zeros(2, 2), torch.zeros(2, 2).t()),
    ],
)
def test_kernels_that_give_other_bits_are_refused(x, other, monkeypatch):
    """What the interpreter makes of an operation is compared with it, to the sign of a zero and the order in memory."""
    capture(lambda x: [x * 1], [torch.tensor([torch.nan])])  # which is refused for no NaN
    monkeypatch.setattr(capturing.Captured, "__call__", lambda self, x: (other,))
    with pytest.raises(NotCapturable, match="other bits"):
        capture(lambda x: [x * 1], [x])


def test_text_that_means_another_kernel_is_refused(monkeypatch):
    monkeypatch.setattr(interpreted.Captured, "kernels", property(lambda self: ["aten::mul.Scalar(...)"]))
    with pytest.raises(NotCapturable, match="relu"):
        capture(lambda x: [x.relu()], [X])
