"""The weights that an operation reads from memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_leaves


class WeightsRead(NamedTuple):
    """A dictionary of tensors by name among the arguments of an operation: weights, gradients or an optimiser's state.

    Samples and activations are no such dictionaries. All dictionaries of one deferred value count as one.
    """

    places: tuple[int, ...]
    """Positions of its tensors, or of the deferred value that has it, among the leaves of the arguments."""
    size_bytes: int
    """Size of its tensors, by the shapes that are charged."""


def weights_read(form: TreeSpec, shapes: Any) -> tuple[WeightsRead, ...]:
    """Find the weights among the arguments of an operation, on their own or in lists and tuples.

    Args:
        form: the structure of the arguments, in which a deferred value is one leaf.
        shapes: the arguments, with meta tensors in place of all tensors, as they are charged.
    """
    return tuple(_found(form.unflatten(range(form.num_leaves)), shapes))


def _found(places: Any, shapes: Any) -> Iterator[WeightsRead]:
    if isinstance(shapes, list | tuple) and not isinstance(places, int):
        for place, part in zip(places, shapes, strict=True):
            yield from _found(place, part)
    elif size_bytes := sum(_sizes_bytes(shapes)):
        yield WeightsRead(tuple(tree_leaves(places)), size_bytes)


def _sizes_bytes(shapes: Any) -> Iterator[int]:
    """Sizes of the dictionaries in an argument."""
    if isinstance(shapes, dict):
        yield sum(leaf.numel() * leaf.itemsize for leaf in tree_leaves(shapes) if isinstance(leaf, Tensor))
    elif isinstance(shapes, list | tuple):
        for part in shapes:
            yield from _sizes_bytes(part)
