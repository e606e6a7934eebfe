"""What is remembered of an operator is what torch's own kernel for meta tensors returns."""

from itertools import permutations, product

import pytest
import torch

from learning.executor import operators
from learning.executor.layouts import result_layouts
from learning.executor.operators import applied, place

ATEN = torch.ops.aten


def empty(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


def layout(out):
    """What decides where an operator's result lies in memory; the stride of a dimension of size 1 does not."""
    if isinstance(out, list | tuple):
        return [layout(each) for each in out]
    if out is None:
        return None
    strides = [stride for stride, size in zip(out.stride(), out.shape, strict=True) if size != 1]
    return out.shape, strides, out.dtype, out.device.type, out.untyped_storage().nbytes()


def strided(order, *, of=(2, 3, 4), cut=False):
    """A tensor whose dimensions lie in memory in this order; `cut` off in one of them, so that it is not dense."""
    x = empty(*(of[dim] + cut for dim in order)).permute([order.index(dim) for dim in range(len(of))])
    return x[tuple(slice(size) for size in of)]


LAYOUTS = [strided(order, cut=cut) for order in permutations(range(3)) for cut in (False, True)]
CALLS = {
    "transposed": (ATEN.mul.Tensor, (empty(3, 4).t(), 2.0)),
    "broadcast": (ATEN.add.Tensor, (empty(3, 1), empty(4))),
    "promoted": (ATEN.add.Tensor, (empty(3), empty(3, dtype=torch.float64))),
    "whole": (ATEN.mul.Tensor, (empty(3, dtype=torch.int64), 2)),
    "fraction": (ATEN.mul.Tensor, (empty(3, dtype=torch.int64), 2.0)),
    "truth": (ATEN.mul.Tensor, (empty(3, dtype=torch.int64), True)),
    "list": (ATEN.cat.default, ([empty(2, 3), empty(4, 3)],)),
    "images": (ATEN.cat.default, ([empty(2, 4, 5, 3).permute(0, 3, 1, 2)] * 2, 1)),
    "several": (ATEN.native_layer_norm.default, (empty(2, 5), [5], None, None, 1e-5)),
    "softmax": (ATEN._softmax.default, (empty(2, 5), -1, False)),
    "softmax backward": (ATEN._log_softmax_backward_data.default, (empty(2, 5), empty(2, 5), 1, torch.float32)),
    "loss": (ATEN.nll_loss_forward.default, (empty(2, 5), empty(2, dtype=torch.int64), None, 1, -100)),
    "losses": (ATEN.nll_loss_forward.default, (empty(2, 5), empty(2, dtype=torch.int64), None, 0, -100)),
    "bias": (ATEN.addmm.default, (empty(6), empty(3, 4), empty(6, 4).t())),
    "batches": (ATEN.bmm.default, (empty(2, 3, 4).transpose(0, 1).contiguous().transpose(0, 1), empty(2, 4, 6))),
    "padded": (ATEN.constant_pad_nd.default, (empty(2, 3), [1, 2, 3, 0], 0)),
    "sorted": (ATEN.sort.stable, (empty(2, 3),)),
    "numbers": (ATEN.arange.default, (7,)),
    "masked": (
        ATEN.native_layer_norm_backward.default,
        (empty(2, 5), empty(2, 5), [5], empty(2, 1), empty(2, 1), None, None, [True, False, False]),
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_operator_returns_what_torch_does(call):
    operator, args = call
    options = {ATEN.sort.stable: {"stable": True}, ATEN.arange.default: {"device": "meta"}}.get(operator, {})
    first, _ = applied(operator, args, options)
    again, effect = applied(operator, args, options)
    assert effect.outputs is not None  # so that torch was not asked
    assert layout(first) == layout(again) == layout(operator(*args, **options))


def test_element_wise_results_lie_in_memory_as_torch_lays_them():
    sizes = [(2, 3, 4), (1, 3, 4), (2, 1, 4), (2, 3, 1), (1, 1, 4), (2, 1, 1)]
    others = [strided(order, of=of) for order in permutations(range(3)) for of in sizes]
    others += [empty(4), empty(3, 1), empty(), empty(2, 3, 1).expand(2, 3, 4), empty(4, dtype=torch.int64)]
    for x, y in product(LAYOUTS, others):
        for args in ((x, y), (y, x)):
            assert layout(applied(ATEN.mul.Tensor, args, {})[0]) == layout(ATEN.mul.Tensor(*args))


@pytest.mark.parametrize(
    ("operator", "args"),
    [
        *(
            (ATEN.sum.dim_IntList, (dims, keepdim))
            for dims in ([0], [1], [-1], [0, 2], [], None)
            for keepdim in (False, True)
        ),
        *((operator, ()) for operator in (ATEN.sum.default, ATEN.mean.default, ATEN.amax.default)),
        *((operator, (1,)) for operator in (ATEN.any.dim, ATEN.all.dim, ATEN.argmax.default)),
        (ATEN.mean.dim, ([1],)),
        (ATEN.repeat.default, ([5, 1, 2, 1],)),
        (ATEN.slice_backward.default, ([2, 3, 9], 2, 0, 4, 1)),
        (ATEN.select_backward.default, ([2, 3, 9, 4], 2, 0)),
        (ATEN.gather.default, (2, empty(2, 3, 7, dtype=torch.int64))),
    ],
    ids=str,
)
def test_results_that_are_contiguous_whatever_the_operands_are(operator, args):
    for x in LAYOUTS:
        assert result_layouts(operator, (x, *args), {}) is not None
        assert layout(applied(operator, (x, *args), {})[0]) == layout(operator(x, *args))


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("operator", [ATEN.cat.default, ATEN.stack.default], ids=str)
def test_joined_tensors(operator, dim):
    for x, y in product(LAYOUTS, LAYOUTS):
        assert layout(applied(operator, ([x, y], dim), {})[0]) == layout(operator([x, y], dim))


WRONG = {
    "sizes": (ATEN.add.Tensor, (empty(3), empty(4))),
    "product": (ATEN.mm.default, (empty(3, 4), empty(5, 6))),
    "bias": (ATEN.addmm.default, (empty(5), empty(3, 4), empty(4, 6))),
    "batches": (ATEN.bmm.default, (empty(2, 3, 4), empty(3, 4, 6))),
    "cat": (ATEN.cat.default, ([empty(2, 3), empty(2, 4)],)),
    "stack": (ATEN.stack.default, ([empty(2, 3), empty(2, 4)],)),
    "reduced": (ATEN.sum.dim_IntList, (empty(2, 3), [2])),
    "labels": (ATEN.nll_loss_forward.default, (empty(2, 3), empty(4, dtype=torch.int64), None, 1, -100)),
    "norm": (ATEN.native_layer_norm.default, (empty(2, 5), [4], None, None, 1e-5)),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_an_operator_that_torch_refuses_is_refused(call):
    operator, args = call
    with pytest.raises((RuntimeError, IndexError)):
        applied(operator, args, {})


@pytest.mark.parametrize("operator", [ATEN.view.default, ATEN._unsafe_view.default], ids=str)
def test_results_that_share_memory_with_an_operand_still_do(operator):
    x = empty(6)
    for _ in range(2):
        assert place(applied(operator, (x, [2, 3]), {})[0]) == place(x)


def test_results_that_are_no_meta_tensors_are_computed_each_time():
    for _ in range(2):
        assert applied(ATEN.arange.default, (3,), {"device": "cpu"})[0].tolist() == [0, 1, 2]
        assert applied(ATEN.add.Tensor, (torch.tensor(1), 2), {})[0].item() == 3
        assert applied(ATEN.zeros_like.default, (empty(2),), {"device": "cpu"})[0].tolist() == [0, 0]


def test_a_process_remembers_a_bounded_number_of_calls(monkeypatch):
    monkeypatch.setattr(operators, "MAX_REMEMBERED", 2)
    monkeypatch.setattr(operators, "_effects", {})
    for size in range(1, 8):
        out, _ = applied(ATEN.relu.default, (empty(size),), {})
        assert out.shape == (size,)
        assert len(operators._effects) <= 2


def test_a_scalar_that_is_read_from_a_real_tensor_is_not_remembered() -> None:
    read = torch.ops.aten._local_scalar_dense.default
    assert [applied(read, (torch.tensor(value),), {})[0] for value in (1.0, 4.5)] == [1.0, 4.5]
