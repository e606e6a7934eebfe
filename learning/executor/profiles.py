"""Shape profiles: what operations on given shapes take and return, looked up before they are run on meta tensors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import getsource
from typing import TYPE_CHECKING, Any

import torch
from torch import Size, Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, treespec_dumps, treespec_loads

from learning.executor import flops, identity, layouts, operators, peak, shape_run
from learning.executor.deferred import Key, Spec

if TYPE_CHECKING:
    from learning.store import Store

MAX_REMEMBERED = 4096
"""Operations on given shapes whose profiles a process keeps."""
RULES = (flops, layouts, operators, peak, shape_run)
"""Modules whose code decides what a shape-only run gives, beside that of the operation."""


@dataclass(frozen=True)
class ShapeProfile:
    """What one operation on given shapes takes and returns; the same for all executors."""

    flops: int
    """Floating-point operations."""
    memory_bytes: int
    """Peak memory: operands, results and intermediate tensors."""
    outputs: tuple[Spec, ...]
    """Shapes of its results, one for each part of the tuple that it returns."""
    alone: bool
    """Whether it contains a convolution or a batch normalisation, so that it runs alone."""
    thin: bool
    """Whether it multiplies a matrix and a vector."""


def shape_profile(key: Key, call: bytes, store: Store | None) -> ShapeProfile:
    """The profile of an operation: as this process knows it, or the store, or from a shape-only run.

    Args:
        key: the operation with the shapes and plain values of its arguments.
        call: content key of the same; empty without a store.
        store: where profiles are kept between processes; None for nowhere.
    """
    profile = _known.get(key)
    name = b"" if store is None else _name(key, call)
    if profile is None:
        kept = store.get(name) if store is not None and name in store else None
        profile = _run(key) if kept is None else _read(kept)
        if len(_known) >= MAX_REMEMBERED:
            _known.clear()
        _known[key] = profile
    if store is not None and name not in store and (value := _written(profile)) is not None:
        store.put([(name, value)])
    return profile


_known: dict[Key, ShapeProfile] = {}


def _name(key: Key, call: bytes) -> bytes:
    return identity.digest(b"shapes", _rules(), call, identity.of_plain(shape_run.closed_form(key.operation)))


@cache
def _rules() -> bytes:
    return identity.digest(torch.__version__.encode(), *(getsource(module).encode() for module in RULES))


def _run(key: Key) -> ShapeProfile:
    run = shape_run.shape_run(key.operation, key.form.unflatten(map(_shaped, key.signs)))
    outputs = []
    for tree in run.results if isinstance(run.results, tuple) else (run.results,):
        leaves, out_form = tree_flatten(tree)
        outputs.append(_interned(out_form, [(leaf.shape, leaf.dtype) for leaf in leaves]))
    return ShapeProfile(run.flops, run.memory_bytes, tuple(outputs), run.alone, run.thin)


def _shaped(sign: Any) -> Any:
    """The argument of a shape-only run for a leaf with this sign: a meta tensor, or the plain value."""
    if isinstance(sign, Spec):
        return sign.tree
    first, second = sign
    return _empty(first, second) if isinstance(first, Size) else second


def _empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    return torch.empty(tuple(shape), dtype=dtype, device="meta")


_specs: dict[Any, Spec] = {}


def _interned(form: TreeSpec, shapes: Iterable[tuple[Sequence[int], torch.dtype]]) -> Spec:
    """The one Spec of these shapes, so that keys can compare by identity; its tensors are contiguous, like results."""
    known = form, tuple([(tuple(shape), dtype) for shape, dtype in shapes])
    return _specs.get(known) or _specs.setdefault(known, Spec(form.unflatten([_empty(*each) for each in known[1]])))


def _written(profile: ShapeProfile) -> list[Tensor] | None:
    """A profile as a value of the store; None if its trees have nodes that have no name there."""
    try:
        outputs = [(treespec_dumps(spec.form), [_described(leaf) for leaf in spec.leaves]) for spec in profile.outputs]
    except NotImplementedError:
        return None
    return [torch.frombuffer(bytearray(json.dumps(vars(profile) | {"outputs": outputs}).encode()), dtype=torch.uint8)]


def _described(leaf: Tensor) -> tuple[Sequence[int], str]:
    return tuple(leaf.shape), str(leaf.dtype).removeprefix("torch.")


def _read(value: list[Tensor]) -> ShapeProfile:
    fields = json.loads(value[0].numpy().tobytes())
    outputs = [
        _interned(treespec_loads(form), [(shape, getattr(torch, dtype)) for shape, dtype in leaves])
        for form, leaves in fields["outputs"]
    ]
    return ShapeProfile(**fields | {"outputs": tuple(outputs)})
