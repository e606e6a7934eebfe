"""States of optimisers, which stay on the users' devices from one local round to the next."""

from __future__ import annotations

from typing import Generic, TypeVar

from torch.utils._pytree import tree_leaves

from learning.parties import User

S = TypeVar("S")


class States(Generic[S]):
    """The state of each user: the same at first, then the latest that was set.

    Only those are kept that have any content, so that users without it take no memory, however many they are.
    """

    def __init__(self, initial: S) -> None:
        """All users begin with the state `initial`, a tree of tensors or deferred values."""
        self._initial = initial
        self._latest: dict[int, S] = {}

    def __getitem__(self, user: User) -> S:
        return self._latest.get(user.number, self._initial)

    def __setitem__(self, user: User, state: S) -> None:
        if tree_leaves(state):
            self._latest[user.number] = state
