"""Deferred values: tensors whose shapes are known now and whose numbers may come later, or never."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeAlias, TypeVar
from weakref import ReferenceType

import torch
from torch import Tensor
from torch.utils._pytree import (
    TreeSpec,
    tree_flatten,
)  # torch's own; private, but what torch.func itself maps trees with

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Tree: TypeAlias = "Tensor | Mapping[str, Tree] | Sequence[Tree]"
"""Tensors in dictionaries, lists and tuples, nested at will: weights, gradients, states of optimisers."""

Operation = Callable[..., Any]
"""A pure function of trees of tensors and plain values: no state, no random numbers of its own, no branch on values."""

Key = tuple[Operation, TreeSpec, tuple[Any, ...]]
"""What jobs that may run together share: the operation, the form of its arguments, plain arguments and shapes."""


class Leaf(ABC):
    """An input that is fetched only when an operation runs: rows of a data set, a random draw.

    Hashable, and equal to whatever names the same content.
    """

    @property
    @abstractmethod
    def meta(self) -> Tensor:
        """Shape and dtype, on the meta device."""

    @property
    @abstractmethod
    def identity(self) -> bytes:
        """What names the content. No name is the beginning of another one, so that names can be strung together."""

    @abstractmethod
    def tensor(self) -> Tensor:
        """The content."""


class Spec:
    """The shape-only twin of a tree of tensors: what a message weighs and what a step costs."""

    __slots__ = ("form", "leaves", "tree")

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self.leaves: list[Tensor]
        self.form: TreeSpec
        self.leaves, self.form = tree_flatten(tree)

    @property
    def numel(self) -> int:
        """Number of scalars in the tree."""
        return sum(leaf.numel() for leaf in self.leaves)

    @property
    def bytes(self) -> int:
        """Bytes that the tree occupies in memory."""
        return sum(leaf.numel() * leaf.itemsize for leaf in self.leaves)


class Job:
    """One submitted operation. Children are weak: work whose result nobody holds is never done."""

    __slots__ = (
        "__weakref__",
        "children",
        "form",
        "identity",
        "key",
        "leaves",
        "operation",
        "result",
        "stored",
        "waiting",
    )

    def __init__(self, key: Key, leaves: list[Any], identity: bytes | None) -> None:
        self.operation, self.form, _ = self.key = key
        self.leaves = leaves
        self.identity = identity
        """Content key of the result; None where there is no store to look it up in."""
        self.children: list[ReferenceType[Job]] = []
        self.result: list[Tensor] | None = None
        self.waiting = 0

    def unfinished_parents(self) -> list[Job]:
        """The jobs whose results this one still needs, each once, in the order of its operands."""
        parents = [leaf.job for leaf in self.leaves if isinstance(leaf, Deferred) and leaf.job.result is None]
        return list(dict.fromkeys(parents))


class Deferred(Generic[T_co]):
    """A tree of tensors that may not be computed yet. Pass it on freely; `executor.value(x)` computes it.

    `Deferred[T]` is a T by then. Reading it in any other way (as a number, a truth, a sequence) raises TypeError, and
    is an error to a type checker, so that forcing a value is never an accident and always easy to find in a scheme.
    """

    __slots__ = ("__weakref__", "first", "identity", "job", "last", "spec")

    def __init__(self, job: Job, first: int, last: int, spec: Spec) -> None:
        self.job, self.first, self.last, self.spec = job, first, last, spec
        self.identity = b"" if job.identity is None else job.identity + first.to_bytes(2, "little")
        """Content key of the job's result, and which part of it this is; empty without a store."""

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("a deferred value is not computed yet: executor.value(x) computes it")

    if not TYPE_CHECKING:  # a type checker is to see that there are none
        __bool__ = __float__ = __int__ = __iter__ = __len__ = __getitem__ = _refuse

    def tensors(self) -> list[Tensor]:
        """The tensors of a value that has been computed."""
        assert self.job.result is not None
        return self.job.result[self.first : self.last]


Value: TypeAlias = T | Deferred[T]
"""What is at hand, or deferred: what parties send each other and compute with."""


def specification(value: Any) -> Spec:
    """Shapes of a deferred value, or of a tree of tensors."""
    return value.spec if isinstance(value, Deferred) else Spec(to_meta_tree(value))


def to_meta(leaf: Any) -> Any:
    """What stands for a leaf in a shape-only run."""
    if isinstance(leaf, Deferred):
        return leaf.spec.tree
    if isinstance(leaf, Tensor):
        return torch.empty_like(leaf, device="meta")
    return leaf.meta if isinstance(leaf, Leaf) else leaf


def to_meta_tree(tree: Any) -> Any:
    """A tree with every tensor, deferred value and lazy leaf replaced by its shape."""
    leaves, form = tree_flatten(tree)
    return form.unflatten([to_meta(leaf) for leaf in leaves])
