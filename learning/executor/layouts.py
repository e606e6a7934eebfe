"""Layouts of the results of common operators, for which torch's own kernels for meta tensors need not be asked.

These are Python, and the first one that runs imports torch's compiler and a library of symbolic mathematics, which
takes longer than the rest of a short run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

ATEN = torch.ops.aten


class Layout(NamedTuple):
    """Shape, strides and dtype of a tensor."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    @staticmethod
    def of(tensor: Tensor) -> Layout:
        """The layout of a tensor."""
        return Layout(tuple(tensor.shape), tensor.stride(), tensor.dtype)


def result_layouts(operator: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The layouts of an operator's results in a tuple (None for a result that is not asked for), or just the layout.

    None if there is no rule for this operator and these arguments, as where the arguments are wrong: torch says how.
    """
    operands = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    device = kwargs.get("device")
    if not (torch.device(device).type == "meta" if device else any(each.is_meta for each in operands)):
        return None  # the results have values, which are computed
    if torch.Tag.pointwise in operator.tags:
        return _pointwise(operator, args, kwargs)
    if operator in _REDUCTIONS:
        return _reduced(operator, *args, **kwargs)
    if operator in _ANY or (operator in _DENSE and all(each.is_contiguous() for each in operands)):
        return (_ANY.get(operator) or _DENSE[operator])(*args, **kwargs)
    return None


def _contiguous(shape: Iterable[int], dtype: torch.dtype) -> Layout:
    shape = tuple(shape)
    return Layout(shape, _strides(shape, range(len(shape) - 1, -1, -1)), dtype)


def _strides(shape: Sequence[int], order: Iterable[int]) -> tuple[int, ...]:
    """Strides of a dense tensor whose dimensions lie in memory in this order, the innermost first."""
    strides, size = [0] * len(shape), 1
    for dim in order:
        strides[dim] = size
        size *= max(shape[dim], 1)
    return tuple(strides)


def _order(shape: Sequence[int], strides: Sequence[int]) -> list[int]:
    return sorted(range(len(shape)), key=lambda dim: (strides[dim], -dim))


def _pointwise(operator: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Layout | None:
    """An element-wise operator: it runs on stand-ins of one or two elements a dimension, which broadcast alike."""
    operands = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
    out = operator(*map(_stand_in, args), **{name: _stand_in(each) for name, each in kwargs.items()})
    try:
        shape = np.broadcast_shapes(*(each.shape for each in operands))
    except ValueError:
        return None
    return Layout(shape, _strides(shape, _order(out.shape, out.stride())), out.dtype)


def _stand_in(operand: Any) -> Any:
    """A tensor on the CPU that is small, and in whose memory the dimensions lie in the same order."""
    if not isinstance(operand, Tensor):
        return operand
    shape = [min(size, 2) for size in operand.shape]
    strides = _strides(shape, _order(operand.shape, operand.stride()))
    kept = [
        own if stride or size == 1 else 0 for own, stride, size in zip(strides, operand.stride(), shape, strict=True)
    ]
    return torch.ones(prod(shape), dtype=operand.dtype).as_strided(shape, kept)


def _reduced(operator: Any, x: Tensor, *how: Any, **kwargs: Any) -> Layout:
    """A reduction over some dimensions (None or an empty list: over all), which are kept with size 1 or left out."""
    one = operator(torch.ones((1,) * x.ndim, dtype=x.dtype), *how, **kwargs)
    dims, keepdim = (*how, None, False)[:2]
    gone = {dim % max(x.ndim, 1) for dim in ([dims] if isinstance(dims, int) else dims or range(x.ndim))}
    kept = [1 if dim in gone else size for dim, size in enumerate(x.shape) if keepdim or dim not in gone]
    return _contiguous(kept, one.dtype)


def _product(a: Tensor, b: Tensor) -> Layout | None:
    fits = a.shape[-1] == b.shape[-2] and a.shape[:-2] == b.shape[:-2]
    return _contiguous((*a.shape[:-1], b.shape[-1]), a.dtype) if fits else None


def _sum_and_product(bias: Tensor, a: Tensor, b: Tensor) -> Layout | None:
    out = _product(a, b)
    return out if out and bias.dtype == a.dtype and bias.shape in ((1,), out.shape[-1:], out.shape) else None


def _cat(parts: Sequence[Tensor], dim: int = 0) -> Layout | None:
    sizes = list(parts[0].shape)
    others = {(each.dtype, *each.shape[:dim], *each.shape[dim:][1:]) for each in parts}
    dense = len(sizes) < 4 or all(each.is_contiguous() for each in parts)  # images: channels may be the innermost
    if len(others) > 1 or len({each.ndim for each in parts}) > 1 or not dense:
        return None
    sizes[dim] = sum(each.shape[dim] for each in parts)
    return _contiguous(sizes, parts[0].dtype)


def _stack(parts: Sequence[Tensor], dim: int = 0) -> Layout | None:
    first = parts[0]
    if any((each.shape, each.dtype) != (first.shape, first.dtype) for each in parts):
        return None
    sizes = list(first.shape)
    sizes.insert(dim % (len(sizes) + 1), len(parts))
    return _contiguous(sizes, first.dtype)


def _like(x: Tensor, *others: Any, **options: Any) -> Layout:
    return _contiguous(x.shape, x.dtype)


def _softmax(x: Tensor, dim: int, half_to_float: bool) -> Layout | None:
    return None if half_to_float else _like(x)


def _nll_loss(
    x: Tensor, y: Tensor, weight: Tensor | None, reduction: int, ignored: int
) -> tuple[Layout, Layout] | None:
    whole = _contiguous((), x.dtype)
    return (whole if reduction else _contiguous(y.shape, x.dtype), whole) if x.shape[:1] == y.shape else None


def _layer_norm(x: Tensor, normalised: Sequence[int], *others: Any) -> tuple[Layout, Layout, Layout] | None:
    outer = x.shape[: x.ndim - len(normalised)]
    moments = _contiguous((*outer, *(1 for _ in normalised)), x.dtype)
    return (_like(x), moments, moments) if x.shape == (*outer, *normalised) else None


def _layer_norm_backward(
    gradient: Tensor,
    x: Tensor,
    normalised: Sequence[int],
    mean: Tensor,
    deviation: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    asked: Sequence[bool],
) -> tuple[Layout | None, ...]:
    return tuple(
        _like(each) if each is not None and wanted else None
        for each, wanted in zip((x, weight, bias), asked, strict=True)
    )


def _padded(x: Tensor, pad: Sequence[int], value: float = 0) -> Layout:
    sizes = list(x.shape)
    for place, more in enumerate(pad):  # two for each dimension, from the last one on
        sizes[-1 - place // 2] += more
    return _contiguous(sizes, x.dtype)


def _filled(x: Tensor, dtype: torch.dtype | None = None, memory_format: Any = None, **options: Any) -> Layout | None:
    kept = memory_format in (None, torch.preserve_format, torch.contiguous_format)
    return _contiguous(x.shape, dtype or x.dtype) if kept else None


def _rows(gradient: Tensor, sizes: Sequence[int], *where: Any) -> Layout:
    return _contiguous(sizes, gradient.dtype)


def _repeated(x: Tensor, repeats: Sequence[int]) -> Layout:
    sizes = [1] * (len(repeats) - x.ndim) + list(x.shape)
    return _contiguous([size * count for size, count in zip(sizes, repeats, strict=True)], x.dtype)


def _numbers(end: Any, dtype: torch.dtype | None = None, **options: Any) -> Layout | None:
    return _contiguous([end], dtype or torch.int64) if isinstance(end, int) and end >= 0 else None


_REDUCTIONS = {
    *(ATEN.sum.default, ATEN.sum.dim_IntList, ATEN.mean.default, ATEN.mean.dim),
    *(ATEN.amax.default, ATEN.amin.default, ATEN.any.dim, ATEN.all.dim, ATEN.argmax.default),
}
_ANY: dict[Any, Callable[..., Any]] = {
    ATEN.mm.default: _product,
    ATEN.addmm.default: _sum_and_product,
    ATEN.bmm.default: _product,
    ATEN.cat.default: _cat,
    ATEN.stack.default: _stack,
    ATEN.gather.default: lambda x, dim, index, **how: _contiguous(index.shape, x.dtype),
    ATEN.repeat.default: _repeated,
    ATEN.arange.default: _numbers,
    ATEN.slice_backward.default: _rows,
    ATEN.select_backward.default: _rows,
}
"""Operators whose results are contiguous, whatever the layouts of the operands."""
_DENSE: dict[Any, Callable[..., Any]] = {
    ATEN._softmax.default: _softmax,
    ATEN._log_softmax.default: _softmax,
    ATEN._softmax_backward_data.default: _like,
    ATEN._log_softmax_backward_data.default: _like,
    ATEN.nll_loss_forward.default: _nll_loss,
    ATEN.nll_loss_backward.default: lambda gradient, x, *others: _like(x),
    ATEN.native_layer_norm.default: _layer_norm,
    ATEN.native_layer_norm_backward.default: _layer_norm_backward,
    ATEN.sort.stable: lambda x, **how: (_like(x), _contiguous(x.shape, torch.int64)),
    ATEN.constant_pad_nd.default: _padded,
    ATEN.zeros_like.default: _filled,
    ATEN.ones_like.default: _filled,
    ATEN.empty_like.default: _filled,
}
"""Operators whose results are contiguous if all operands are."""
