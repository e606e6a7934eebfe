"""The executor: `submit` returns a deferred value, `cost` says what it takes, `value` computes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar, overload

import torch
from torch import Size, Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

from learning.executor import identity
from learning.executor.deferred import Deferred, Job, Key, Leaf, Operation, Spec, specification, to_meta
from learning.executor.flops import CountFlops
from learning.executor.peak import PeakMemory

if TYPE_CHECKING:
    from learning.store import Store

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
One = TypeVar("One", bound=Tensor | Mapping[str, Any] | list[Any])
"""What an operation returns that has one result: a tree that is no tuple."""

ALIGNMENT_BYTES = 64
"""Of torch's own allocations on a CPU."""
MAX_LOOKED_AT = 4096
"""Operations on given shapes that a process remembers."""


@dataclass(frozen=True)
class Look:
    """What one operation on given shapes takes and yields; the same for all executors of a process."""

    flops: int
    memory_bytes: int
    """Operands, results and what is held in between, at most at a time."""
    outputs: tuple[Spec, ...]
    convolves: bool
    thin: bool
    """Whether it multiplies a matrix and a vector."""


@dataclass(frozen=True)
class Profile(Look):
    """The same, as one executor names and feeds it."""

    identity: bytes
    """Content key of the operation: code, plain arguments, shapes of the others; empty without a store."""
    inputs: tuple[int, ...]
    """Which leaves of the arguments are tensors, deferred values or lazy leaves: what a value depends on besides."""


class Cost(NamedTuple):
    """What a call is charged."""

    flops: int
    memory_bytes: int


class Counterparts(Protocol):
    """Says by which shapes values are charged, where another model than the one that learns is to be paid for."""

    def twin(self, tree: Any) -> Any:
        """The counterpart of a tree of meta tensors and plain arguments."""
        ...


class OperationPlan(NamedTuple):
    """An operation on given arguments, looked at from shapes alone, that may be submitted once."""

    profile: Profile
    key: Key
    leaves: list[Any]

    @property
    def identity(self) -> bytes:
        """Content key of what the call yields."""
        return identity.of_result(self.profile.identity, map(self.leaves.__getitem__, self.profile.inputs))


class Executor(ABC):
    """Promises results of pure operations. Final kinds differ only in when, and with what else, an operation runs."""

    computes: ClassVar[bool] = True
    """False where values are never computed: then nothing may be read."""

    def __init__(self, store: Store | None = None) -> None:
        self.asked = 0
        self.run = 0
        self.stored = 0
        """Results that came from the store."""
        self.store = store
        self._surroundings = identity.surroundings(type(self).__name__)
        self.charge: Counterparts | None = None
        self._profiles: dict[Key, Profile] = {}
        self._costs: dict[Key, Cost] = {}

    @overload
    def submit(self, operation: Callable[..., tuple[A, B]], *args: Any) -> tuple[Deferred[A], Deferred[B]]: ...

    @overload
    def submit(
        self, operation: Callable[..., tuple[A, B, C]], *args: Any
    ) -> tuple[Deferred[A], Deferred[B], Deferred[C]]: ...

    @overload
    def submit(
        self, operation: Callable[..., tuple[A, B, C, D]], *args: Any
    ) -> tuple[Deferred[A], Deferred[B], Deferred[C], Deferred[D]]: ...

    @overload
    def submit(self, operation: Callable[..., One], *args: Any) -> Deferred[One]: ...

    def submit(self, operation: Operation, *args: Any) -> Any:
        """Defer `operation(*args)`: one Deferred, or a tuple of them where it returns a tuple.

        Args are trees of tensors, deferred values, lazy leaves and hashable plain values.
        """
        return self.submit_plan(self.plan(operation, *args))

    def plan(self, operation: Operation, *args: Any) -> OperationPlan:
        """What `operation(*args)` takes, from shapes alone; nothing is submitted or computed."""
        leaves, form = tree_flatten(args)
        key = (operation, form, tuple([_sign(leaf) for leaf in leaves]))
        profile = self._profiles.get(key)
        if profile is None:
            profile = self._profiles[key] = self._profile(key, args)
        return OperationPlan(profile, key, leaves)

    def cost(self, plan: OperationPlan) -> Cost:
        """What a planned call is charged: what it takes, or what its counterpart would."""
        if self.charge is None:
            return Cost(plan.profile.flops, plan.profile.memory_bytes)
        cost = self._costs.get(plan.key)
        if cost is None:
            operation, form, _ = plan.key
            args = self.charge.twin(form.unflatten([to_meta(leaf) for leaf in plan.leaves]))
            _, count, memory_bytes = _shape_run(operation, args)
            cost = self._costs[plan.key] = Cost(count.flops, memory_bytes)
        return cost

    def charged(self, value: Any) -> Spec:
        """The shapes by which a value is charged: its own, or those of its counterpart."""
        spec = specification(value)
        return spec if self.charge is None else Spec(self.charge.twin(spec.tree))

    def submit_plan(self, plan: OperationPlan) -> Any:
        """Submit an operation that was planned."""
        self.asked += 1
        job = Job(plan.key, plan.leaves, plan.identity if self.store is not None else None)
        self._accept(job)
        return self._handles(job, plan.profile.outputs)

    def _handles(self, job: Job, outputs: tuple[Spec, ...]) -> Any:
        handles: list[Deferred[Any]] = []
        first = 0
        for spec in outputs:
            last = first + len(spec.leaves)
            handles.append(Deferred(job, first, last, spec))
            first = last
        return tuple(handles) if len(handles) > 1 else handles[0]

    @overload
    def value(self, tree: Deferred[T]) -> T: ...

    @overload
    def value(self, tree: Sequence[Deferred[T]]) -> Sequence[T]: ...

    @overload
    def value(self, tree: Any) -> Any: ...

    def value(self, tree: Any) -> Any:
        """Compute whatever is deferred in `tree` and return it with tensors in place."""
        return tree_map(lambda x: self._get(x) if isinstance(x, Deferred) else x, tree)

    def _get(self, deferred: Deferred[Any]) -> Any:
        self._force(deferred.job)
        return tree_unflatten(deferred.tensors(), deferred.spec.form)

    @abstractmethod
    def settle(self) -> None:
        """The end of a round: what is still held is computed and kept in the store, or found there."""

    @abstractmethod
    def _accept(self, job: Job) -> None:
        """Take in a new job."""

    @abstractmethod
    def _force(self, job: Job) -> None:
        """Run what it takes until the job has its result."""

    def _profile(self, key: Key, args: Any) -> Profile:
        operation, given = key[0], tree_flatten(args)[0]
        if any(isinstance(leaf, Generator) for leaf in given):
            raise TypeError(
                f"{operation.__qualname__} is given a process that has not been run: a `yield from` is missing"
            )
        named = identity.of_call(self._surroundings, operation, args) if self.store is not None else b""
        inputs = tuple(place for place, leaf in enumerate(given) if isinstance(leaf, Deferred | Leaf | Tensor))
        return Profile(**vars(_look(*key)), identity=named, inputs=inputs)


def operands(job: Job) -> list[Any]:
    """The leaves of a job with tensors in place: deferred ones spread out, lazy ones fetched."""
    out: list[Any] = []
    for leaf in job.leaves:
        if isinstance(leaf, Deferred):
            out.extend(leaf.tensors())
        else:
            out.append(leaf.tensor() if isinstance(leaf, Leaf) else leaf)
    return out


def aligned(operand: Any) -> Any:
    """A tensor as torch would have allocated it: kernels may round differently where memory begins elsewhere."""
    stray = isinstance(operand, Tensor) and operand.data_ptr() % ALIGNMENT_BYTES != 0
    return operand.clone() if stray else operand


def call(job: Job, flat: Any) -> list[Tensor]:
    """Run a job's operation on its flat operands; an exception tells which operation it was."""
    flat = iter(flat)
    args = [
        tree_unflatten([next(flat) for _ in leaf.spec.leaves], leaf.spec.form)
        if isinstance(leaf, Deferred)
        else next(flat)
        for leaf in job.leaves
    ]
    try:
        return tree_flatten(job.operation(*tree_unflatten(args, job.form)))[0]
    except Exception as error:
        error.add_note(f"in operation {job.operation.__module__}.{job.operation.__qualname__}")
        raise


@lru_cache(MAX_LOOKED_AT)
def _look(operation: Operation, form: TreeSpec, signs: tuple[Any, ...]) -> Look:
    """Runs of the same scenario, and settings of a sweep, ask for the same operations: each is looked at once."""
    given = form.unflatten(map(_shaped, signs))
    out, count, memory_bytes = _shape_run(operation, given)
    outputs = tuple(_interned(tree) for tree in (out if isinstance(out, tuple) else (out,)))
    return Look(count.flops, memory_bytes, outputs, count.convolves, count.thin)


def _shape_run(operation: Operation, operands: Any) -> tuple[Any, CountFlops, int]:
    with CountFlops() as count, PeakMemory() as memory:
        out = operation(*operands)
    return out, count, memory.bytes(operands, out)


_specs: dict[Any, Spec] = {}


def _interned(tree: Any) -> Spec:
    """Equal shapes share one Spec, so that keys compare by identity."""
    leaves, form = tree_flatten(tree)
    return _specs.setdefault((form, tuple((leaf.shape, leaf.dtype) for leaf in leaves)), Spec(tree))


def _sign(leaf: Any) -> Any:
    """What of an argument decides shapes and grouping: form for tensors, value for plain arguments."""
    if isinstance(leaf, Deferred):
        return leaf.spec  # interned: identity says it all
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.dtype
    if isinstance(leaf, Leaf):
        return leaf.meta.shape, leaf.meta.dtype
    return type(leaf), leaf  # 1, 1.0 and True are equal in Python, not in an operation


def _shaped(sign: Any) -> Any:
    """What stands in a shape-only run for an argument that signs like this."""
    if isinstance(sign, Spec):
        return sign.tree
    first, second = sign
    return torch.empty(first, dtype=second, device="meta") if isinstance(first, Size) else second
