"""A run of an operation on meta tensors: the shapes of its results, its FLOPs and its peak memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from learning.executor.flops import FlopCount
from learning.executor.operators import applied
from learning.executor.peak import PeakMemory
from learning.executor.uncompiled import UncompiledMode

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class ShapeRun:
    """What an operation takes on operands of given shapes, and what it returns."""

    results: Any
    """A tree of meta tensors, or a tuple of such trees."""
    flops: int
    """Floating-point operations."""
    memory_bytes: int
    """Peak memory: operands, results and intermediate tensors."""
    alone: bool
    """Whether it contains a convolution or a batch normalisation, so that it runs alone."""
    thin: bool
    """Whether it contains a product of matrices that is a mere row or column."""


ClosedForm = Callable[..., ShapeRun | None]
"""What a shape-only run of an operation gives, from the same arguments; None where it must be run."""


def with_closed_form(form: ClosedForm) -> Callable[[F], F]:
    """Decorator of an operation on many equal trees, whose shape-only run would take an operator for each of them."""

    def decorated(operation: F) -> F:
        _closed_forms[operation] = form
        return operation

    return decorated


def closed_form(operation: Callable[..., Any]) -> ClosedForm | None:
    """The closed form of an operation, if it has one."""
    return _closed_forms.get(operation)


_closed_forms: dict[Callable[..., Any], ClosedForm] = {}


def shape_run(operation: Callable[..., Any], operands: Any) -> ShapeRun:
    """Run `operation(*operands)`, where all tensors are meta tensors, or evaluate its closed form."""
    form = closed_form(operation)
    return (form and form(*operands)) or _recorded(operation, operands)


def _recorded(operation: Callable[..., Any], operands: Any) -> ShapeRun:
    with _Recorder() as recorder:
        results = operation(*operands)
    memory_bytes = recorder.memory.bytes(operands, results)
    return ShapeRun(results, recorder.count.flops, memory_bytes, recorder.alone, recorder.thin)


class _Recorder(UncompiledMode):
    """Context in which FLOPs and memory of all operators are recorded."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = FlopCount()
        self.memory = PeakMemory()
        self.alone = False
        self.thin = False

    def __enter__(self) -> _Recorder:
        FlopCount.active.append(self.count)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        FlopCount.active.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out, effect = applied(func, args, kwargs)
        self.count.add(effect.flops)
        self.alone |= effect.alone
        self.thin |= effect.thin
        self.memory.record(args, kwargs, out)
        return out
