"""Stacks: tensors of several like jobs as one tensor with a leading axis, and the rows of such tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import torch
from torch import Tensor

from learning.executor.base import aligned, placed
from learning.executor.deferred import Deferred, Job, Leaf


class Stack:
    """The results of a group of jobs: for each flat result a contiguous tensor (jobs, *shape)."""

    __slots__ = ("jobs", "number", "tensors")

    def __init__(self, number: int, jobs: int, tensors: Sequence[Tensor]) -> None:
        self.number = number
        """Number of the stack among those of its executor, ascending in time."""
        self.jobs = jobs
        """Length of the leading axis."""
        self.tensors = tensors


class Row(Sequence[Tensor]):
    """The results of one job of a group; a tensor is taken out of its stack only when it is read."""

    __slots__ = ("place", "stack")

    def __init__(self, stack: Stack, place: int) -> None:
        self.stack, self.place = stack, place

    def __len__(self) -> int:
        return len(self.stack.tensors)

    @overload
    def __getitem__(self, which: int) -> Tensor: ...

    @overload
    def __getitem__(self, which: slice) -> list[Tensor]: ...

    def __getitem__(self, which: int | slice) -> Tensor | list[Tensor]:
        if isinstance(which, slice):
            return [tensor[self.place] for tensor in self.stack.tensors[which]]
        return self.stack.tensors[which][self.place]


def in_order_of_rows(jobs: list[Job]) -> list[Job]:
    """Jobs in the order of the rows that they work on, so that groups of them find whole stacks."""
    return sorted(jobs, key=_rows) if len(jobs) > 1 else jobs


def _rows(job: Job) -> list[tuple[int, int]]:
    results = [leaf.job.result for leaf in job.leaves if isinstance(leaf, Deferred)]
    return [(row.stack.number, row.place) for row in results if isinstance(row, Row)]


def stacked(leaves: Sequence[Any], device: torch.device) -> list[Tensor] | None:
    """The operands of several jobs in one place of their arguments, as stacks on a device; None of plain values.

    What all jobs share, such as a frozen backbone, is not copied, nor are results that were computed as one stack.
    """
    first = leaves[0]
    if isinstance(first, Deferred):
        return _stacked_results(leaves, device)
    if not isinstance(first, Leaf | Tensor):
        return None
    if all(leaf is first for leaf in leaves):
        return [_shared(placed(_tensor(first), device), len(leaves))]
    if isinstance(first, Leaf) and all(type(leaf) is type(first) for leaf in leaves):
        return [placed(type(first).stacked(leaves), device)]
    return [torch.stack([placed(_tensor(leaf), device) for leaf in leaves])]


def _tensor(leaf: Leaf | Tensor) -> Tensor:
    return leaf.tensor() if isinstance(leaf, Leaf) else leaf


def _stacked_results(leaves: Sequence[Deferred[Any]], device: torch.device) -> list[Tensor]:
    first = leaves[0]
    if all(leaf.job is first.job and leaf.first == first.first for leaf in leaves):
        return [_shared(placed(tensor, device), len(leaves)) for tensor in first.tensors()]
    rows = [leaf.job.result for leaf in leaves if leaf.first == first.first]
    stack = rows[0].stack if isinstance(rows[0], Row) else None
    places = [row.place for row in rows if isinstance(row, Row) and row.stack is stack]
    if stack is None or len(places) < len(leaves):
        columns = zip(*(leaf.tensors() for leaf in leaves), strict=True)
        return [torch.stack([placed(tensor, device) for tensor in column]) for column in columns]
    tensors = stack.tensors[first.first : first.last]
    if places == list(range(stack.jobs)):
        return list(tensors)
    chosen = torch.tensor(places, device=device)
    return [tensor.index_select(0, chosen) for tensor in tensors]


def _shared(tensor: Tensor, jobs: int) -> Tensor:
    placed: Tensor = aligned(tensor)
    return placed.expand(jobs, *tensor.shape)
