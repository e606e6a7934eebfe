"""The executor: `submit` returns a deferred value, `cost` says what it takes, `value` computes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar, overload

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from learning.executor import identity
from learning.executor.deferred import Deferred, Job, Key, Leaf, Operation, Spec, specification, to_meta
from learning.executor.forms import take_apart
from learning.executor.profiles import ShapeProfile, shape_profile
from learning.executor.reads import WeightsRead, weights_read
from learning.executor.shape_run import shape_run

if TYPE_CHECKING:
    from learning.store import Store

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
One = TypeVar("One", bound=Tensor | Mapping[str, Any] | list[Any])
"""What an operation returns that has one result: a tree that is no tuple."""

CPU = torch.device("cpu")
ALIGNMENT_BYTES = 64
"""Memory addresses of tensors that torch allocates on a CPU are multiples of this."""


@dataclass(frozen=True)
class OperationProfile(ShapeProfile):
    """A shape profile together with what one executor needs to name results."""

    identity: bytes
    """Content key of the operation: code, plain arguments, shapes of the others; empty without a store."""
    inputs: tuple[int, ...]
    """Positions of the leaves of the arguments that are tensors, deferred values or lazy leaves: a result depends on
    their contents, which `identity` leaves out."""


class OperationCost(NamedTuple):
    """What an operation is charged in simulated time."""

    flops: int
    """Floating-point operations."""
    memory_bytes: int
    """Peak memory."""


class Counterparts(Protocol):
    """Maps shapes of the model that is trained to those of the larger model that is charged."""

    def counterpart(self, tree: Any) -> Any:
        """The counterpart of a tree of meta tensors and plain arguments, in the same form."""
        ...


class OperationPlan(NamedTuple):
    """An operation on given arguments, profiled from their shapes, that may be submitted once."""

    profile: OperationProfile
    """What it takes and returns."""
    key: Key
    """What it shares with operations that it may run together with."""
    leaves: list[Any]
    """Leaves of the tree of its arguments."""

    @property
    def identity(self) -> bytes:
        """Content key of its result."""
        return identity.of_result(self.profile.identity, map(self.leaves.__getitem__, self.profile.inputs))


class Executor(ABC):
    """Accepts pure operations and returns deferred results.

    Subclasses differ only in when an operation runs, and together with which others.
    """

    computes: ClassVar[bool] = True
    """False where values are never computed: then none may be read."""

    def __init__(self, store: Store | None = None, device: torch.device = CPU) -> None:
        """An executor that has computed nothing.

        Args:
            store: where results are kept between runs (default: they are not).
            device: where operations are computed. Values that are read are on the CPU.
        """
        self.device = device
        self.asked = 0
        """Operations submitted so far."""
        self.run = 0
        """Operations computed so far."""
        self.stored = 0
        """Results read from the store so far."""
        self.store = store
        self._shapes = store
        """Where shape profiles are kept between runs."""
        self._surroundings = identity.surroundings(type(self).__name__, device)
        identity.forget()
        self.charge: Counterparts | None = None
        """Maps to the shapes that are charged (default: those of the values themselves)."""
        self._keys: dict[Hashable, Key] = {}
        """By operation, form of the arguments and signs."""
        self._profiles: dict[Key, OperationProfile] = {}
        self._costs: dict[Key, OperationCost] = {}
        self._reads: dict[Key, tuple[WeightsRead, ...]] = {}

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
    def submit(
        self, operation: Callable[..., tuple[A, B, C, D, E]], *args: Any
    ) -> tuple[Deferred[A], Deferred[B], Deferred[C], Deferred[D], Deferred[E]]: ...

    @overload
    def submit(self, operation: Callable[..., One], *args: Any) -> Deferred[One]: ...

    def submit(self, operation: Operation, *args: Any) -> Any:
        """Submit `operation(*args)`; returns its deferred result, a tuple of them where the operation returns a tuple.

        Args:
            operation: a pure function of its arguments (see `Operation`).
            args: trees of tensors, deferred values, lazy leaves and hashable plain values.

        Raises:
            TypeError: an argument is a process that has not been run.
        """
        return self.submit_plan(self.plan(operation, *args))

    def plan(self, operation: Operation, *args: Any) -> OperationPlan:
        """Profile `operation(*args)` from shapes alone, without submitting it; arguments and errors as in `submit`."""
        leaves: list[Any] = []
        form = take_apart(args, leaves)
        signs = tuple([sign(leaf) for leaf in leaves])
        known = operation, form, signs
        key = self._keys.get(known)
        if key is None:
            key = Key(operation, tree_flatten(args)[1], signs)
            self._profiles[key] = self._profile(key, args)
            self._keys[known] = key
        return OperationPlan(self._profiles[key], key, leaves)

    def cost(self, plan: OperationPlan) -> OperationCost:
        """What a planned operation is charged: its own FLOPs and memory, or those of its counterpart."""
        if self.charge is None:
            return OperationCost(plan.profile.flops, plan.profile.memory_bytes)
        cost = self._costs.get(plan.key)
        if cost is None:
            # The profile is not kept: operands may be views, whose memory differs from that of tensors of their own.
            charged = shape_run(plan.key.operation, self._charged_arguments(plan))
            cost = self._costs[plan.key] = OperationCost(charged.flops, charged.memory_bytes)
        return cost

    def weights_bytes(self, plan: OperationPlan) -> dict[Hashable, int]:
        """Bytes of each set of weights that a planned operation works with, by the shapes that are charged.

        Sets have the same name if they are the same tensors or deferred values, as long as these are alive.
        """
        reads = self._reads.get(plan.key)
        if reads is None:
            reads = self._reads[plan.key] = weights_read(plan.key.form, self._charged_arguments(plan))
        return {tuple(_name(plan.leaves[place]) for place in read.places): read.size_bytes for read in reads}

    def _charged_arguments(self, plan: OperationPlan) -> Any:
        args = plan.key.form.unflatten([to_meta(leaf) for leaf in plan.leaves])
        return args if self.charge is None else self.charge.counterpart(args)

    def charged(self, value: Any) -> Spec:
        """Shapes by which a tree of values is charged: its own, or those of its counterpart."""
        spec = specification(value)
        return spec if self.charge is None else Spec(self.charge.counterpart(spec.tree))

    def submit_plan(self, plan: OperationPlan) -> Any:
        """Submit a planned operation; returns what `submit` does."""
        self.asked += 1
        job = Job(plan.key, plan.leaves, plan.identity if self.store is not None else None)
        self._accept(job)
        return self._handles(job, plan.profile.outputs)

    def _handles(self, job: Job, outputs: tuple[Spec, ...]) -> Any:
        handles: list[Any] = []
        first = 0
        for spec in outputs:
            last = first + len(spec.leaves)
            # A result without tensors, such as the state of plain SGD, is known: it is the same before the first step
            # and after, and so users in their first round do what all others do.
            handles.append(Deferred(job, first, last, spec) if spec.leaves else spec.tree)
            first = last
        return tuple(handles) if len(handles) > 1 else handles[0]

    @overload
    def value(self, tree: Deferred[T]) -> T: ...

    @overload
    def value(self, tree: Sequence[Deferred[T]]) -> Sequence[T]: ...

    @overload
    def value(self, tree: Any) -> Any: ...

    def value(self, tree: Any) -> Any:
        """Compute what is deferred in `tree`, and return the tree with tensors in its place.

        Raises:
            NeedsValues: there is a deferred value in it, and the executor computes none.
        """
        return tree_map(lambda x: self._get(x) if isinstance(x, Deferred) else x, tree)

    def _get(self, deferred: Deferred[Any]) -> Any:
        self._force(deferred.job)
        return tree_unflatten([tensor.cpu() for tensor in deferred.tensors()], deferred.spec.form)

    @abstractmethod
    def settle(self) -> None:
        """End a round: compute the deferred values that are still referred to, and keep them in the store, if any."""

    def close(self) -> None:
        """End the processes that the executor has started, if any; it can still be used."""
        return

    @abstractmethod
    def _accept(self, job: Job) -> None:
        """Accept a new job."""

    @abstractmethod
    def _force(self, job: Job) -> None:
        """Run the job, and before it those whose results it needs, unless it has its result."""

    def _profile(self, key: Key, args: Any) -> OperationProfile:
        operation, given = key.operation, tree_flatten(args)[0]
        if any(isinstance(leaf, Generator) for leaf in given):
            raise TypeError(
                f"{operation.__qualname__} is given a process that has not been run: a `yield from` is missing"
            )
        called = self._call_key(operation, args)
        inputs = tuple(place for place, leaf in enumerate(given) if isinstance(leaf, Deferred | Leaf | Tensor))
        named = b"" if self.store is None else identity.digest(self._surroundings, called)
        return OperationProfile(**vars(shape_profile(key, called, self._shapes)), identity=named, inputs=inputs)

    def _call_key(self, operation: Operation, args: Any) -> bytes:
        """Content key of a call, the same for all executors; empty without a store."""
        return b"" if self._shapes is None else identity.of_call(operation, args)


def _name(leaf: Any) -> Hashable:
    """What tells a tensor or deferred value from all others that are alive."""
    return (id(leaf.job), leaf.first) if isinstance(leaf, Deferred) else id(leaf)


def operands(job: Job, device: torch.device) -> list[Any]:
    """The leaves of a job's arguments with tensors on a device in place of deferred values and lazy leaves."""
    out: list[Any] = []
    for leaf in job.leaves:
        if isinstance(leaf, Deferred):
            out.extend(leaf.tensors())
        else:
            out.append(leaf.tensor() if isinstance(leaf, Leaf) else leaf)
    return [placed(each, device) for each in out]


def placed(operand: Any, device: torch.device) -> Any:
    """A tensor on a device; what is there already, and a plain value, stays as it is."""
    return operand.to(device) if isinstance(operand, Tensor) and operand.device != device else operand


def aligned(operand: Any) -> Any:
    """The tensor, or a copy if it is not aligned as torch allocates tensors, for kernels may round differently then."""
    stray = isinstance(operand, Tensor) and operand.data_ptr() % ALIGNMENT_BYTES != 0
    return operand.clone() if stray else operand


def call(job: Job, flat: Any) -> list[Tensor]:
    """Run a job's operation on its flat operands; exceptions get a note that names the operation."""
    flat = iter(flat)
    args = [
        tree_unflatten([next(flat) for _ in leaf.spec.leaves], leaf.spec.form)
        if isinstance(leaf, Deferred)
        else next(flat)
        for leaf in job.leaves
    ]
    try:
        return tree_flatten(job.key.operation(*tree_unflatten(args, job.key.form)))[0]
    except Exception as error:
        error.add_note(f"in operation {job.key.operation.__module__}.{job.key.operation.__qualname__}")
        raise


def sign(leaf: Any) -> Any:
    """What decides about the result's shapes and about grouping: shape and dtype of a tensor, a plain value itself."""
    kind = type(leaf)
    if kind is Deferred:
        return leaf.spec  # interned: identity says it all
    base = _bases.get(kind) or _base(kind)
    if base is Tensor:
        return leaf.shape, leaf.dtype
    if base is Leaf:
        return leaf.meta.shape, leaf.meta.dtype
    return kind, leaf  # 1, 1.0 and True are equal in Python, not in an operation


def _base(kind: type) -> type:
    """Tensor or Leaf if a type is derived from it, else object; remembered, as looking up abstract bases is slow."""
    return _bases.setdefault(kind, next((base for base in (Tensor, Leaf) if issubclass(kind, base)), object))


_bases: dict[type, type] = {}
"""By type of an argument, what `_base` has found."""
