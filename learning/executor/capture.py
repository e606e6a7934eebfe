"""Graph capture: an operation runs once while its kernels are recorded, and later as these kernels alone.

Left out is the work around the kernels: transforms (`torch.func`), modules, trees, the graph of autograd. On small
tensors that is most of the time of an operation. The kernels and their order are the same, or give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch._ops import OpOverload

from learning.executor.kernels import Argument, Captured, Line, List, NotCapturable, constant, constants
from learning.executor.uncompiled import UncompiledMode

Kernels = Callable[..., tuple[Tensor, ...]]
"""A captured operation: flat results from flat operands, which must have the shapes and strides of the capture."""

aten = torch.ops.aten
VIEWS = {
    aten.alias.default,
    aten.detach.default,
    aten.expand.default,
    aten.view.default,
    aten._reshape_alias.default,
    aten._unsafe_view.default,
}
"""Kernels that return the numbers of their operand in the same order: nothing, if shape and strides stay as well."""
IMPURE = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape, torch.Tag.nondeterministic_seeded}
"""Kernels that read numbers out of tensors, whose shapes depend on such numbers, or which draw random numbers."""
POOLED_CHANNELS, POOLED_NUMBERS = 16, 2**14
"""Channels, and numbers in all, from which on max pooling is worth a change of layout."""


def capture(function: Callable[..., Sequence[Tensor]], operands: Sequence[Tensor]) -> tuple[Sequence[Tensor], Kernels]:
    """Run a pure function of tensors; returns its results, and the kernels that it consists of as a function.

    Args:
        function: from tensors to tensors; what it does may depend on their shapes and strides, not on their values.
        operands: its arguments.

    Raises:
        NotCapturable: there is a kernel that depends on values, uses other tensors than these, writes into a tensor
            that is used before, or has arguments for which there is no text.
    """
    with _Recorder(operands) as recorder:
        results = function(*operands)
    kernels = recorder.captured([recorder.name(result) for result in results])
    if not all(map(_same, kernels(*operands), results)):
        raise NotCapturable("kernels that give other bits than the operation")
    return results, kernels


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same layout and, unless they have shapes alone, the same bits."""
    if one.shape != other.shape or one.stride() != other.stride():
        return False
    bits, others = (
        each.clone(memory_format=torch.contiguous_format).view(-1).view(torch.uint8) for each in (one, other)
    )
    return one.is_meta or torch.equal(bits, others)


class _Recorder(UncompiledMode):
    """Records the kernels that run inside it, equal ones once."""

    def __init__(self, operands: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names: dict[int, tuple[ref[Tensor], str]] = {}
        self._lines: list[Line] = []
        self._known: dict[tuple[OpOverload, tuple[Argument, ...]], Line] = {}
        """By kernel and arguments."""
        self._made: dict[str, Line] = {}
        """By the variables that have its results."""
        self._fresh: set[str] = set()
        """Variables that have memory of their own and were not read so far: a kernel may write into them."""
        self._operands = [f"x{place}" for place in range(len(operands))]
        for tensor, name in zip(operands, self._operands, strict=True):
            self._set(tensor, name)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is aten.max_pool2d_with_indices.default and _wide(args[0]):
            with self:
                return _pooled(*args, **kwargs)
        out = func(*args, **kwargs)
        writes = [argument.name for argument in func._schema.arguments if argument.is_write]
        if writes and not (len(writes) == 1 and out is args[0] and self.name(out) in self._fresh):
            raise NotCapturable(str(func))
        if not IMPURE.isdisjoint(func.tags):
            raise NotCapturable(str(func))
        if func in VIEWS and out.shape == args[0].shape and out.stride() == args[0].stride():
            self._set(out, self._read(args[0]))
            return out
        if func is aten._to_copy.default and not isinstance(args[0], Tensor):
            func = aten.scalar_tensor.default  # it makes a tensor of a number, for which TorchScript has no copy
        given = tuple([self._argument(argument, value) for argument, value in _arguments(func, args, kwargs)])
        outputs = [out] if isinstance(out, Tensor) else out
        line = self._line(func, given, [each.numel() if isinstance(each, Tensor) else 0 for each in outputs])
        if writes:
            before = self._made[self.name(out)]
            self._known.pop((before.kernel, before.arguments), None)  # its result is no longer what that call returns
        for each, name in zip(outputs, line.results, strict=True):
            if isinstance(each, Tensor):
                self._set(each, name)
            elif each is not None:  # None is a gradient that was not asked for
                raise NotCapturable(str(func))
        return out

    def name(self, tensor: Tensor) -> str:
        """The variable that stands for a tensor."""
        known = self._names.get(id(tensor))
        if known is None or known[0]() is not tensor:  # an id may be that of an earlier tensor, which is no more
            raise NotCapturable("a tensor that is neither an operand nor the result of a kernel")
        return known[1]

    def captured(self, results: Sequence[str]) -> Kernels:
        """The recorded kernels that the results need, as a function."""
        return Captured.of(self._operands, self._lines, results)

    def _line(self, kernel: OpOverload, arguments: tuple[Argument, ...], sizes: Sequence[int]) -> Line:
        known = self._known.get((kernel, arguments))
        if known is not None:
            self._fresh.difference_update(known.results)  # two tensors share each from now on
            return known
        names = tuple([f"v{len(self._made) + place}" for place in range(len(sizes))])
        line = self._known[kernel, arguments] = Line(kernel, arguments, names, sum(sizes))
        self._lines.append(line)
        self._made.update(dict.fromkeys(names, line))
        if not kernel.is_view:
            self._fresh.update(names)
        return line

    def _set(self, tensor: Tensor, name: str) -> None:
        self._names[id(tensor)] = ref(tensor), name

    def _read(self, tensor: Tensor) -> str:
        name = self.name(tensor)
        self._fresh.discard(name)
        return name

    def _argument(self, argument: Any, value: Any) -> Argument:
        if isinstance(value, Tensor):
            return self._read(value)
        if not isinstance(value, list | tuple):
            return constant(value)
        kind = argument.type.getElementType() if argument.type.kind() == "OptionalType" else argument.type
        of = kind.getElementType()
        if not any(isinstance(each, Tensor) for each in value):
            return constants(value, str(of))
        items = [self._read(each) if isinstance(each, Tensor) else constant(each) for each in value]
        return List("Tensor?[]" if of.kind() == "OptionalType" else "Tensor[]", tuple(items))


def _arguments(kernel: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterable[tuple[Any, Any]]:
    """All arguments of a kernel, as declared and as given or by default."""
    for place, each in enumerate(kernel._schema.arguments):
        yield each, args[place] if place < len(args) else kwargs.get(each.name, each.default_value)


def _wide(x: Tensor) -> bool:
    """Whether max pooling of a tensor is worth a change of layout."""
    return x.ndim == 4 and x.is_contiguous() and x.shape[1] >= POOLED_CHANNELS and x.numel() >= POOLED_NUMBERS


def _pooled(x: Tensor, *window: Any) -> tuple[Tensor, Tensor]:
    """Max pooling and its indices by torch's kernel for channels that lie side by side, which uses vector instructions.

    A maximum is one of the numbers, so that none is rounded, and both kernels take the first of equal ones.
    """
    largest, indices = aten.max_pool2d_with_indices.default(x.contiguous(memory_format=torch.channels_last), *window)
    return largest.contiguous(), indices.contiguous()
