"""An agenda: things that are due at instants, each at one, which may be put off, brought forward or dropped."""

from __future__ import annotations

import heapq
from itertools import count
from math import inf
from typing import Generic, TypeVar

T = TypeVar("T")

SPARE = 64
"""Outdated entries that an agenda may hold beside one for each thing that is due."""


class Agenda(Generic[T]):
    """A heap with lazy deletion: one valid entry for each thing, outdated ones until they surface or are too many.

    Things that are due at the same instant come in the order in which they were put down for it.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, T]] = []  # a heap
        self._valid: dict[T, tuple[float, int, T]] = {}
        self._order = count()

    def __len__(self) -> int:
        """Entries held, outdated ones included."""
        return len(self._entries)

    @property
    def next_s(self) -> float:
        """When the first thing is due; inf if nothing ever is."""
        self._trim()
        return self._entries[0][0] if self._entries else inf

    def put(self, thing: T, due_s: float) -> None:
        """A thing is due at this instant and at no other; at inf it never is."""
        known = self._valid.get(thing)
        if known is not None and known[0] == due_s:
            return
        self.drop(thing)
        if due_s < inf:
            entry = self._valid[thing] = due_s, next(self._order), thing
            heapq.heappush(self._entries, entry)

    def drop(self, thing: T) -> None:
        """A thing is not due any more; one that was not due may be dropped as well."""
        self._valid.pop(thing, None)

    def pop(self) -> T:
        """Take the first thing off the agenda. Raises IndexError if there is none."""
        self._trim()
        thing = heapq.heappop(self._entries)[2]
        del self._valid[thing]
        return thing

    def _trim(self) -> None:
        """Let go of outdated entries: those in front, and all of them where there are many."""
        if len(self._entries) > len(self._valid) + SPARE:
            self._entries = list(self._valid.values())
            heapq.heapify(self._entries)
        while self._entries and self._valid.get(self._entries[0][2]) is not self._entries[0]:
            heapq.heappop(self._entries)
