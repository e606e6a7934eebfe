"""The executor: `submit` promises a value, `cost` says what it takes, `value` computes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import ref

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from learning.executor.deferred import Deferred, Job, Leaf, Operation, Spec, to_meta
from learning.executor.flops import CountFlops


@dataclass(frozen=True)
class Profile:
    """What one operation on given shapes takes and yields."""

    flops: int
    memory_bytes: int
    """Operands and results together."""
    outputs: tuple[Spec, ...]
    convolves: bool


class Executor(ABC):
    """Promises results of pure operations. Final kinds differ only in when, and with what else, an operation runs."""

    computes: ClassVar[bool] = True
    """False where values are never computed: then nothing may be read."""

    def __init__(self) -> None:
        self.asked = 0
        self.run = 0
        self._profiles: dict[tuple[Any, ...], Profile] = {}
        self._specs: dict[Any, Spec] = {}

    def submit(self, operation: Operation, *args: Any) -> Any:
        """Promise `operation(*args)`: one Deferred, or a tuple of them where it returns a tuple.

        Args are trees of tensors, deferred values, lazy leaves and hashable plain values.
        """
        self.asked += 1
        leaves, form = tree_flatten(args)
        key = (operation, form, tuple([_sign(leaf) for leaf in leaves]))
        outputs = self._profile(key, operation, args).outputs
        job = Job(operation, leaves, form, key)
        self._accept(job)
        handles, first = [], 0
        for spec in outputs:
            last = first + len(spec.leaves)
            handles.append(Deferred(job, first, last, spec))
            first = last
        return tuple(handles) if len(handles) > 1 else handles[0]

    def cost(self, operation: Operation, *args: Any) -> Profile:
        """What `operation(*args)` takes, from shapes alone; nothing is computed."""
        leaves, form = tree_flatten(args)
        return self._profile((operation, form, tuple([_sign(leaf) for leaf in leaves])), operation, args)

    def value(self, tree: Any) -> Any:
        """Compute whatever is deferred in `tree` and return it with tensors in place."""
        return tree_map(lambda x: self._get(x) if isinstance(x, Deferred) else x, tree)

    def _get(self, promise: Deferred) -> Any:
        self._force(promise.job)
        return tree_unflatten(promise.tensors(), promise.spec.form)

    @abstractmethod
    def _accept(self, job: Job) -> None:
        """Take in a new job."""

    @abstractmethod
    def _force(self, job: Job) -> None:
        """Run what it takes until the job has its result."""

    def _profile(self, key: tuple[Any, ...], operation: Operation, args: Any) -> Profile:
        profile = self._profiles.get(key)
        if profile is None:
            operands = tree_map(to_meta, args)
            with CountFlops() as count:
                out = operation(*operands)
            outputs = tuple(self._intern(tree) for tree in (out if isinstance(out, tuple) else (out,)))
            held = sum(spec.bytes for spec in outputs) + _bytes(operands)
            profile = self._profiles[key] = Profile(count.flops, held, outputs, count.convolves)
        return profile

    def _intern(self, tree: Any) -> Spec:
        """Equal shapes share one Spec, so that keys compare by identity."""
        leaves, form = tree_flatten(tree)
        return self._specs.setdefault((form, tuple((leaf.shape, leaf.dtype) for leaf in leaves)), Spec(tree))


def operands(job: Job) -> list[Any]:
    """The leaves of a job with tensors in place: deferred ones spread out, lazy ones fetched."""
    out: list[Any] = []
    for leaf in job.leaves:
        if isinstance(leaf, Deferred):
            out.extend(leaf.tensors())
        else:
            out.append(leaf.tensor() if isinstance(leaf, Leaf) else leaf)
    return out


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


def adopt(job: Job) -> bool:
    """Enter a new job with its unfinished parents; true if it can run at once."""
    parents = job.unfinished_parents()
    job.waiting = len(parents)
    for parent in parents:
        parent.children.append(ref(job))
    return not parents


def finish(job: Job, result: list[Tensor]) -> list[Job]:
    """Store a result, let go of the operands, and return the living children that became ready."""
    job.result, job.leaves = result, []
    ready = []
    for child in (child for reference in job.children if (child := reference()) is not None):
        child.waiting -= 1
        if not child.waiting:
            ready.append(child)
    job.children = []
    return ready


def _sign(leaf: Any) -> Any:
    """What of an argument decides shapes and grouping: form for tensors, value for plain arguments."""
    if isinstance(leaf, Deferred):
        return leaf.spec  # interned: identity says it all
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.dtype
    if isinstance(leaf, Leaf):
        return leaf.meta.shape, leaf.meta.dtype
    return type(leaf), leaf  # 1, 1.0 and True are equal in Python, not in an operation


def _bytes(tree: Any) -> int:
    return sum(leaf.numel() * leaf.itemsize for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor))
