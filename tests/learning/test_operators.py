"""What is remembered of an operator is what torch's own kernel for meta tensors returns."""

import pytest
import torch

from learning.executor import operators
from learning.executor.operators import applied, place

ATEN = torch.ops.aten


def empty(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


def layout(out):
    if isinstance(out, list | tuple):
        return [layout(each) for each in out]
    return out if out is None else (out.shape, out.stride(), out.dtype, out.device.type, out.untyped_storage().nbytes())


CALLS = {
    "transposed": (ATEN.mul.Tensor, (empty(3, 4).t(), 2.0)),
    "broadcast": (ATEN.add.Tensor, (empty(3, 1), empty(4))),
    "promoted": (ATEN.add.Tensor, (empty(3), empty(3, dtype=torch.float64))),
    "whole": (ATEN.mul.Tensor, (empty(3, dtype=torch.int64), 2)),
    "fraction": (ATEN.mul.Tensor, (empty(3, dtype=torch.int64), 2.0)),
    "truth": (ATEN.mul.Tensor, (empty(3, dtype=torch.int64), True)),
    "list": (ATEN.cat.default, ([empty(2, 3), empty(4, 3)],)),
    "several": (ATEN.native_layer_norm.default, (empty(2, 5), [5], None, None, 1e-5)),
    "masked": (
        ATEN.native_layer_norm_backward.default,
        (empty(2, 5), empty(2, 5), [5], empty(2, 1), empty(2, 1), None, None, [True, False, False]),
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_repeated_operator_returns_what_torch_does(call):
    operator, args = call
    applied(operator, args, {})
    out, effect = applied(operator, args, {})
    assert effect.outputs is not None  # so that torch was not asked again
    assert layout(out) == layout(operator(*args))


@pytest.mark.parametrize("operator", [ATEN.view.default, ATEN._unsafe_view.default], ids=str)
def test_results_that_share_memory_with_an_operand_still_do(operator):
    x = empty(6)
    for _ in range(2):
        assert place(applied(operator, (x, [2, 3]), {})[0]) == place(x)


def test_results_that_are_no_meta_tensors_are_computed_each_time():
    for _ in range(2):
        assert applied(ATEN.arange.default, (3,), {"device": "cpu"})[0].tolist() == [0, 1, 2]


def test_a_process_remembers_a_bounded_number_of_calls(monkeypatch):
    monkeypatch.setattr(operators, "MAX_REMEMBERED", 2)
    monkeypatch.setattr(operators, "_effects", {})
    for size in range(1, 8):
        out, _ = applied(ATEN.relu.default, (empty(size),), {})
        assert out.shape == (size,)
        assert len(operators._effects) <= 2
