"""Arguments of operations, taken apart without torch's Python code for trees of every kind.

The same few forms are taken apart for each operation of each user, so the form of a tree is a plain value that is cheap
to make, compare and hash; torch's `TreeSpec` of it is made once for each (`Key`).
"""

from __future__ import annotations

from typing import Any

from torch.utils._pytree import tree_flatten, tree_is_leaf

Form = Any
"""A hashable value that is equal for trees of equal form: None of a leaf, else a tuple or torch's own `TreeSpec`."""


def take_apart(tree: Any, leaves: list[Any]) -> Form:
    """Append the leaves of a tree to `leaves`, in torch's order, and return the form of the tree."""
    kind = type(tree)
    if kind is tuple or kind is list:
        return (kind, *[take_apart(each, leaves) for each in tree])
    if kind is dict:
        return (dict, tuple(tree), *[take_apart(each, leaves) for each in tree.values()])
    if kind in _leaf_kinds:
        leaves.append(tree)
        return None
    if tree_is_leaf(tree):
        _leaf_kinds.add(kind)
        leaves.append(tree)
        return None
    own, form = tree_flatten(tree)
    leaves += own
    return form


_leaf_kinds: set[type] = set()
"""Types of objects that torch does not take apart."""
