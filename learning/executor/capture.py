"""Graph capture: an operation runs once while its kernels are recorded, and later as these kernels alone.

Left out is the work around the kernels: transforms (`torch.func`), modules, trees, the graph of autograd. On small
tensors that is most of the time of an operation. The kernels and their order are the same, or give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from math import isfinite
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor
from torch._ops import OpOverload

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


class NotCapturable(Exception):
    """An operation is not a fixed sequence of pure kernels; the message names the first that is not one."""


def capture(function: Callable[..., Sequence[Tensor]], operands: Sequence[Tensor]) -> tuple[Sequence[Tensor], Kernels]:
    """Run a pure function of tensors; returns its results, and the kernels that it consists of as a function.

    Args:
        function: from tensors to tensors; what it does may depend on their shapes and strides, not on their values.
        operands: its arguments.

    Raises:
        NotCapturable: there is a kernel that depends on values, uses other tensors than these, or writes into a tensor
            that is used before.
    """
    with _Recorder(operands) as recorder:
        results = function(*operands)
    return results, recorder.compiled([recorder.name(result) for result in results])


class _Captured:
    """The kernels of an operation as a function, which can be pickled: torch's operators are named in it."""

    def __init__(self, source: str, operators: Mapping[str, str], constants: Mapping[str, Any]) -> None:
        """`source` is the text of the function `kernels`; others are its global variables, of operators the names."""
        self._parts = source, operators, constants
        named = {name: reduce(getattr, path.split("."), torch.ops)._op for name, path in operators.items()}
        space = {**constants, **named}
        exec(compile(source, "<captured operation>", "exec"), space)
        self._kernels: Kernels = space["kernels"]

    def __call__(self, *operands: Tensor) -> tuple[Tensor, ...]:
        return self._kernels(*operands)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Captured, self._parts


class _Call(NamedTuple):
    """One line of the function that is generated: `result = text`."""

    result: str
    text: str
    uses: frozenset[str]
    """Variables in `text`."""


class _Recorder(UncompiledMode):
    """Records the kernels that run inside it as lines of Python, equal ones once."""

    def __init__(self, operands: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names: dict[int, tuple[ref[Tensor], str]] = {}
        self._calls: dict[str, _Call] = {}
        """By the variable that has the result."""
        self._known: dict[str, str] = {}
        """Text of a call -> the variable that has the result."""
        self._fresh: set[str] = set()
        """Variables that have memory of their own and were not read so far: a kernel may write into them."""
        self._constants: dict[int, tuple[str, Any]] = {}
        self._operands = [f"x{place}" for place in range(len(operands))]
        for tensor, name in zip(operands, self._operands, strict=True):
            self._set(tensor, name)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        writes = [argument.name for argument in func._schema.arguments if argument.is_write]
        if writes and not (len(writes) == 1 and out is args[0] and self.name(out) in self._fresh):
            raise NotCapturable(str(func))
        if not IMPURE.isdisjoint(func.tags):
            raise NotCapturable(str(func))
        uses: set[str] = set()
        written = [self._written(each, uses) for each in args]
        if func in VIEWS and out.shape == args[0].shape and out.stride() == args[0].stride():
            self._set(out, written[0])
            return out
        written += [f"{name}={self._written(each, uses)}" for name, each in (kwargs or {}).items()]
        call = self._call(f"{self._constant(_kernel(func, args))}({', '.join(written)})", uses, fresh=not func.is_view)
        if writes:
            self._known.pop(self._calls[written[0]].text, None)  # its result is no longer what that call returns
        if isinstance(out, Tensor):
            self._set(out, call.result)
            return out
        for place, each in enumerate(out):
            if isinstance(each, Tensor):
                self._set(each, f"{call.result}[{place}]")
            elif each is not None:  # None is a gradient that was not asked for
                raise NotCapturable(str(func))
        return out

    def name(self, tensor: Tensor) -> str:
        """The expression that stands for a tensor."""
        known = self._names.get(id(tensor))
        if known is None or known[0]() is not tensor:  # an id may be that of an earlier tensor, which is no more
            raise NotCapturable("a tensor that is neither an operand nor the result of a kernel")
        return known[1]

    def compiled(self, results: Iterable[str]) -> Kernels:
        """The recorded calls that the results need, as a function; a variable is deleted after its last use."""
        results = list(results)
        live, lines = {_variable(name) for name in results}, [f"return ({''.join(name + ', ' for name in results)})"]
        for call in reversed(self._calls.values()):
            if call.result in live:
                last = [name for name in sorted(call.uses - live) if name.startswith("v")]
                lines += [f"del {', '.join(last)}"] if last else []
                lines.append(f"{call.result} = {call.text}")
                live |= call.uses
        body = "\n    ".join([f"def kernels({', '.join(self._operands)}):", *reversed(lines)])
        constants = dict(self._constants.values())
        operators = {name: str(value) for name, value in constants.items() if isinstance(value, OpOverload)}
        return _Captured(body, operators, {name: constants[name] for name in constants.keys() - operators})

    def _call(self, text: str, uses: set[str], fresh: bool) -> _Call:
        known = self._known.get(text)
        if known is not None:
            self._fresh.discard(known)  # two tensors share it from now on
            return self._calls[known]
        call = _Call(f"v{len(self._calls)}", text, frozenset(uses))
        self._calls[call.result], self._known[text] = call, call.result
        if fresh:
            self._fresh.add(call.result)
        return call

    def _set(self, tensor: Tensor, name: str) -> None:
        self._names[id(tensor)] = ref(tensor), name

    def _written(self, value: Any, uses: set[str]) -> str:
        """An argument as Python writes it; its variables are added to `uses`."""
        if isinstance(value, Tensor):
            name = self.name(value)
            uses.add(_variable(name))
            self._fresh.discard(_variable(name))
            return name
        if isinstance(value, list | tuple):
            return f"[{', '.join([self._written(each, uses) for each in value])}]"
        if value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
            return repr(value)
        return self._constant(value)

    def _constant(self, value: Any) -> str:
        return self._constants.setdefault(id(value), (f"c{len(self._constants)}", value))[0]


def _kernel(func: Any, args: Any) -> Any:
    """The operator, or a function that does what it does for such arguments, with the same bits."""
    if func is aten.max_pool2d_with_indices.default:
        x = args[0]
        if x.ndim == 4 and x.is_contiguous() and x.shape[1] >= POOLED_CHANNELS and x.numel() >= POOLED_NUMBERS:
            return _pooled
    return func


def _pooled(x: Tensor, *window: Any) -> tuple[Tensor, Tensor]:
    """Max pooling and its indices by torch's kernel for channels that lie side by side, which uses vector instructions.

    A maximum is one of the numbers, so that none is rounded, and both kernels take the first of equal ones.
    """
    largest, indices = aten.max_pool2d_with_indices.default(x.contiguous(memory_format=torch.channels_last), *window)
    return largest.contiguous(), indices.contiguous()


def _variable(name: str) -> str:
    """The variable in an expression that stands for a tensor: `v7` in `v7[0]`."""
    return name.partition("[")[0]
