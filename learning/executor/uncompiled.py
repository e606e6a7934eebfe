"""Gradients and dispatch modes without torch's compiler.

`torch.func` asks the autograd of torch's compiler, which is not used here, to stand aside, and imports the compiler for
that; so does a dispatch mode. `torch.autograd.grad` compares shapes by a library of symbolic mathematics, and so do
torch's decompositions of losses. Importing both takes as long as importing torch itself, in each process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._functorch import eager_transforms
from torch.utils._python_dispatch import TorchDispatchMode

symbolic_check = torch._check_with
"""Raises an error unless a condition holds, which may be a symbolic one."""


class UncompiledMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its dispatch modes untyped
    """A dispatch mode of whose methods the compiler is not told to leave them alone."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


def without_compiler() -> None:
    """Let `torch.func` compute gradients by `gradients`, and decompositions check by `check`, in this process."""
    eager_transforms._autograd_grad = gradients
    torch._check_with = check


def gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: Sequence[Tensor] | None = None,
    retain_graph: bool = False,
    create_graph: bool = True,
) -> tuple[Tensor, ...]:
    """Gradients of tensors by autograd; zeros where the outputs do not depend on an input.

    Args:
        outputs: what is differentiated.
        inputs: by which it is differentiated.
        grad_outputs: gradient with respect to each output, in its shape (default: ones, for outputs with one element).
        retain_graph: keep what is needed to compute gradients again.
        create_graph: let the gradients be differentiated.
    """
    given = [None] * len(outputs) if grad_outputs is None else grad_outputs
    pairs = [(out, gradient) for out, gradient in zip(outputs, given, strict=True) if out.requires_grad]
    if not pairs:
        return tuple(torch.zeros_like(each) for each in inputs)
    roots = tuple(out for out, _ in pairs)
    seeds = tuple(torch.ones_like(out) if gradient is None else gradient for out, gradient in pairs)
    found = torch.autograd.graph._engine_run_backward(
        roots, seeds, retain_graph, create_graph, tuple(inputs), True, accumulate_grad=False
    )
    return tuple(torch.zeros_like(own) if each is None else each for each, own in zip(found, inputs, strict=True))


def check(error_type: type[Exception], cond: Any, message: Callable[[], str]) -> None:
    """Raise an error unless a condition holds; one that plainly does needs no symbolic mathematics."""
    if cond is not True:
        symbolic_check(error_type, cond, message)
