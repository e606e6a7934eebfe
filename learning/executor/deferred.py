"""Deferred values: trees of tensors whose shapes are known at once, and whose numbers when they are read."""

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
"""A pure function of trees of tensors and plain values: no state, no random numbers of its own, no branch on numbers in
tensors. It returns a tree of tensors, or a tuple of such trees."""


class Key:
    """What jobs that may run together have in common: operation, form of the arguments, plain arguments and shapes.

    Keys are equal if all of these are; an executor has one object of each, which is compared by identity.
    """

    __slots__ = ("_hash", "form", "operation", "signs")

    def __init__(self, operation: Operation, form: TreeSpec, signs: tuple[Any, ...]) -> None:
        self.operation, self.form, self.signs = operation, form, signs
        self._hash = hash((operation, form, signs))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Key):
            return self is other
        return (self.operation, self.form, self.signs) == (other.operation, other.form, other.signs)


class Leaf(ABC):
    """An input that is fetched only when an operation runs: rows of a data set, a random draw.

    Leaves are hashable, and equal if they name the same content.
    """

    @property
    @abstractmethod
    def meta(self) -> Tensor:
        """A tensor of its shape and dtype on the meta device, without values."""

    @property
    @abstractmethod
    def identity(self) -> bytes:
        """Content key. No key is the beginning of another one, so that keys can be concatenated."""

    @abstractmethod
    def tensor(self) -> Tensor:
        """The values."""

    @staticmethod
    def stacked(leaves: Sequence[Any]) -> Tensor:
        """The values of several leaves of this class and of equal shape as one tensor (leaves, *shape)."""
        return torch.stack([leaf.tensor() for leaf in leaves])


class Spec:
    """Shapes and dtypes of a tree of tensors: enough for the size of a message and for the cost of a step.

    Attributes:
        tree: the tree with meta tensors as leaves.
        leaves: these meta tensors.
        form: the structure of the tree.
    """

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
    """One submitted call of an operation.

    It refers to its children weakly: a call whose result is not referred to never runs.
    """

    __slots__ = (
        "__weakref__",
        "children",
        "identity",
        "key",
        "leaves",
        "result",
        "stored",
        "waiting",
    )

    def __init__(self, key: Key, leaves: list[Any], identity: bytes | None) -> None:
        self.key = key
        self.leaves = leaves
        self.identity = identity
        """Content key of the result; None without a store."""
        self.children: list[ReferenceType[Job]] = []
        self.result: Sequence[Tensor] | None = None
        self.waiting = 0

    def unfinished_parents(self) -> list[Job]:
        """Jobs whose results this one still needs, each once, in the order of its operands."""
        parents = [leaf.job for leaf in self.leaves if isinstance(leaf, Deferred) and leaf.job.result is None]
        return list(dict.fromkeys(parents))


class Deferred(Generic[T_co]):
    """The result of a submitted operation, a tree of tensors of type T that may not be computed yet.

    It can be sent, and given to other operations, without being computed; `executor.value(x)` computes and returns it.
    Reading it in any other way (as a number, a truth value, a sequence) raises TypeError and is an error to a type
    checker, so that values are never computed by accident.

    Attributes:
        spec: its shapes and dtypes.
        job: the call whose result it is; of the flat list of the result's tensors it is those from `first` to `last`
            (exclusive).
    """

    __slots__ = ("__weakref__", "first", "identity", "job", "last", "spec")

    def __init__(self, job: Job, first: int, last: int, spec: Spec) -> None:
        self.job, self.first, self.last, self.spec = job, first, last, spec
        self.identity = b"" if job.identity is None else job.identity + first.to_bytes(2, "little")
        """Content key of the job's result with the number of this part of it; empty without a store."""

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("a deferred value is not computed yet: executor.value(x) computes it")

    if not TYPE_CHECKING:  # to a type checker a deferred value has none of these methods
        __bool__ = __float__ = __int__ = __iter__ = __len__ = __getitem__ = _refuse

    def tensors(self) -> list[Tensor]:
        """The tensors of a value that has been computed."""
        assert self.job.result is not None
        return list(self.job.result[self.first : self.last])


Value: TypeAlias = T | Deferred[T]
"""A tree of type T, or a deferred one: what parties send each other and compute with."""


def specification(value: Any) -> Spec:
    """Shapes of a deferred value, or of a tree of tensors, deferred values and lazy leaves."""
    return value.spec if isinstance(value, Deferred) else Spec(to_meta_tree(value))


def to_meta(leaf: Any) -> Any:
    """The argument of a shape-only run for a leaf: a meta tensor or a tree of them; a plain value stays as it is."""
    if isinstance(leaf, Deferred):
        return leaf.spec.tree
    if isinstance(leaf, Tensor):
        return leaf if leaf.is_meta else torch.empty(leaf.shape, dtype=leaf.dtype, device="meta")
    return leaf.meta if isinstance(leaf, Leaf) else leaf


def to_meta_tree(tree: Any) -> Any:
    """A tree with meta tensors in place of tensors, deferred values and lazy leaves."""
    leaves, form = tree_flatten(tree)
    return form.unflatten([to_meta(leaf) for leaf in leaves])
