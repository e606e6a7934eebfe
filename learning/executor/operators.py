"""What torch's operators return for meta tensors, remembered by the shapes of their operands.

Operations consist of the same few operators on the same shapes (the steps of all users, the layers of a model, the
experts of a layer), and torch's own kernels for meta tensors, which are written in Python, take up to milliseconds.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from learning.executor.layouts import Layout, result_layouts

PRODUCTS = {torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm, torch.ops.aten.baddbmm}
CONVOLUTIONS = {torch.ops.aten.convolution, torch.ops.aten._convolution, torch.ops.aten.convolution_backward}
BATCH_NORMS = {
    torch.ops.aten.native_batch_norm,
    torch.ops.aten._native_batch_norm_legit,
    torch.ops.aten._native_batch_norm_legit_functional,
    torch.ops.aten.native_batch_norm_backward,
}
UNSTACKED = CONVOLUTIONS | BATCH_NORMS
"""Operators whose kernels, and so the last bits of their results, depend on what is stacked with them."""

MAX_REMEMBERED = 1 << 16
"""Calls of operators on given shapes whose effects a process keeps."""
META = torch.device("meta")


class Effect(NamedTuple):
    """What an operator does, given the layouts of its operands."""

    outputs: Any
    """Its results, with a layout for each tensor. None if they cannot be made from layouts: they share memory with
    others, or are no tensors."""
    flops: int
    """Floating-point operations of a matrix product, a convolution or attention; 0 for other operators."""
    alone: bool
    """Whether its kernels depend on what is stacked with it: a convolution, or a batch normalisation."""
    thin: bool
    """Whether it is a product of matrices that is a mere row or column."""


VIEWED = Effect(None, 0, False, False)
"""The effect of an operator that returns views of its operands or changes them."""


def applied(operator: Any, args: Any, kwargs: Any) -> tuple[Any, Effect]:
    """The result of an operator on meta tensors, and its effect.

    Args:
        operator: an overload of an operator of `torch.ops`.
        args: its arguments by position.
        kwargs: its arguments by name.
    """
    if not _makes_new_tensors(operator):
        return operator(*args, **kwargs), VIEWED
    key = operator, _sign(args), _sign(tuple(kwargs.items()))
    effect = _effects.get(key)
    if effect is not None:
        return (operator(*args, **kwargs) if effect.outputs is None else _new(effect.outputs)), effect
    layouts = result_layouts(operator, args, kwargs)
    out = operator(*args, **kwargs) if layouts is None else _new(layouts)
    if len(_effects) >= MAX_REMEMBERED:
        _effects.clear()
    effect = _effects[key] = _effect(operator, args, kwargs, out)
    return out, effect


def tensors(value: Any) -> list[Tensor]:
    """The tensors in lists, tuples and dictionaries that have memory.

    A wrapper left over by `torch.func`, in a module that was built within it, has none.
    """
    found: list[Tensor] = []
    ahead = [value]
    for each in ahead:
        if isinstance(each, Tensor):
            if torch._C._has_storage(each):
                found.append(each)
        elif isinstance(each, list | tuple):
            ahead.extend(each)
        elif isinstance(each, dict):
            ahead.extend(each.values())
    return found


def place(tensor: Tensor) -> int:
    """What tells the memory of a tensor from all other that is in use; a view has that of its base."""
    return int(tensor.untyped_storage()._cdata)


_effects: dict[Any, Effect] = {}


@cache
def _makes_new_tensors(operator: Any) -> bool:
    """Whether an operator changes none of its operands and returns no views of them, as its schema says."""
    schema = operator._schema
    return not schema.is_mutable and all(each.alias_info is None for each in schema.returns)


def _sign(value: Any) -> Any:
    """What an effect depends on: the layout of a tensor, the type and value of anything else."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.is_meta
    if isinstance(value, list | tuple):
        return tuple([_sign(each) for each in value])
    return value.__class__, value  # 1, 1.0 and True are equal in Python, not to an operator


def _effect(operator: Any, args: Any, kwargs: Any, out: Any) -> Effect:
    packet = operator._overloadpacket
    formula = flop_registry.get(packet)
    return Effect(
        outputs=_layouts(out) if _are_new(tensors(out), tensors([args, kwargs])) else None,
        flops=formula(*args, **kwargs, out_val=out) if formula else 0,
        alone=packet in UNSTACKED,
        thin=packet in PRODUCTS and 1 in out.shape[-2:],
    )


def _are_new(results: list[Tensor], operands: list[Tensor]) -> bool:
    """Whether there are results, and each is a meta tensor with memory of its own, of no more than its size.

    A scalar that an operator reads from a real tensor depends on more than layouts.
    """
    places = {place(tensor) for tensor in results}
    return (
        bool(results)
        and all(each.is_meta and each.untyped_storage().nbytes() == each.numel() * each.itemsize for each in results)
        and len(places) == len(results)
        and places.isdisjoint(place(tensor) for tensor in operands)
    )


def _layouts(out: Any) -> Any:
    if isinstance(out, Tensor):
        return Layout.of(out)
    return type(out)([_layouts(each) for each in out]) if isinstance(out, list | tuple) else out


def _new(outputs: Any) -> Any:
    if isinstance(outputs, Layout):
        return torch.empty_strided(outputs.shape, outputs.strides, dtype=outputs.dtype, device=META)
    return type(outputs)([_new(each) for each in outputs]) if isinstance(outputs, list | tuple) else outputs
