"""FLOPs and memory of code that runs on real tensors, compared with products counted by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from learning.executor.counting import counted
from learning.executor.flops import charge_elementwise, uncharged

BATCH, STEPS, WIDTH, HIDDEN = 5, 7, 8, 12


def forward_and_backward(model: nn.Module, *shape: int) -> Callable[[], None]:
    """Forward and backward pass of a model on inputs that need no gradient."""
    x = torch.randn(BATCH, *shape)

    def run() -> None:
        out = model(x)
        (out[0] if isinstance(out, tuple) else out).sum().backward()

    return run


def test_linear_layers_take_three_products_each_but_the_first_two() -> None:
    model = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 3))
    flops = 2 * BATCH * (2 * WIDTH * HIDDEN + 3 * HIDDEN * 3)
    assert counted(forward_and_backward(model, WIDTH)).flops == flops


@pytest.mark.parametrize("layers", [1, 2])
def test_a_recurrent_layer_takes_the_products_of_each_step(layers: int) -> None:
    """Backward twice as much as forward: for the weights, and for inputs and states."""
    model = nn.LSTM(WIDTH, HIDDEN, layers, batch_first=True)
    inputs = [WIDTH] + [HIDDEN] * (layers - 1)
    forward = sum(2 * BATCH * STEPS * 4 * HIDDEN * (size + HIDDEN) for size in inputs)
    assert counted(forward_and_backward(model, STEPS, WIDTH)).flops == 3 * forward


def test_attention_takes_its_two_products() -> None:
    q = torch.randn(BATCH, 2, STEPS, WIDTH, requires_grad=True)
    done = counted(F.scaled_dot_product_attention, q, q, q)
    assert done.flops == 2 * (2 * BATCH * 2 * STEPS * STEPS * WIDTH)
    assert counted(lambda: done.result.sum().backward()).flops >= 2 * done.flops


def test_a_layer_of_a_transformer_takes_as_much_where_torch_would_fuse_it() -> None:
    """In evaluation torch has one operator for all of it; what is outside is as before."""
    layer, x = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True), torch.randn(BATCH, STEPS, WIDTH)
    training = counted(layer, x).flops
    with torch.no_grad():
        assert counted(layer.eval(), x).flops == training
    tokens = BATCH * STEPS
    assert training == 2 * tokens * WIDTH * (4 * WIDTH + 2 * 16) + 4 * BATCH * STEPS * STEPS * WIDTH
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_result_is_that_of_the_function_and_work_of_its_own_is_added() -> None:
    def work(x: torch.Tensor) -> torch.Tensor:
        charge_elementwise(3, [x])
        with uncharged():
            x.T @ x
        return x + 1

    done = counted(work, torch.ones(4, 5))
    assert done.result.tolist() == [[2.0] * 5] * 4
    assert done.flops == 3 * 20
    assert done.memory_bytes == 2 * 20 * 4  # operand and result


def test_memory_is_what_is_held_at_the_worst_moment() -> None:
    """A chain of additions holds the operand, one input and one output; what is kept adds up."""
    kib = torch.zeros(256)

    def chain() -> torch.Tensor:
        x = kib
        for _ in range(9):
            x = x + 1
        return x

    assert counted(chain).memory_bytes == 3 * 1024
    assert counted(lambda: [kib + n for n in range(9)]).memory_bytes == 10 * 1024
    assert counted(lambda: [kib[:9] for _ in range(9)]).memory_bytes == 1024  # views take none


def test_memory_includes_what_the_backward_pass_needs() -> None:
    x = torch.zeros(256, requires_grad=True)

    def passes() -> None:
        y = x
        for _ in range(5):
            y = y.sin()
        y.sum().backward()

    assert counted(passes).memory_bytes >= 6 * 1024


def test_an_error_in_the_code_passes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        counted(lambda: 1 // 0)
    assert counted(lambda: torch.ones(2, 2) @ torch.ones(2, 2)).flops == 16  # nothing is left over
