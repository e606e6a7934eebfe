"""Rules by which each user's private blocks are chosen, before training begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple, Protocol

import numpy as np
from annotated_types import Ge, Gt, Interval, MinLen

from learning.control.private_blocks.forecast import CostTable
from learning.control.private_blocks.problem import Floats, Split, SplitProblem
from learning.control.private_blocks.solvers import SOLVERS
from learning.world import World


class SplitPlan(NamedTuple):
    """The private blocks of all users."""

    splits: list[Split]
    """Numbers of first and last blocks of each user, by its number."""
    figures: Mapping[str, float] = MappingProxyType({})
    """Figures of the choice by name, for the table `decisions`."""


class SplitRule(Protocol):
    """A rule that chooses the private blocks of all users."""

    def plan(self, world: World) -> SplitPlan:
        """Choose the private blocks of each user.

        Raises:
            ValueError: there is no such choice; the message is one sentence.
        """
        ...


@dataclass(frozen=True)
class FixedSplits(SplitRule):
    """Private blocks as stated."""

    first: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] | None = None
    """First blocks on the device: one number for all users, or one for each (default: the scenario's cut)."""
    last: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)] = (1,)
    """Last blocks on the device, likewise; 1 is the head alone, 0 none, so that labels go to the server."""

    def plan(self, world: World) -> SplitPlan:
        users, blocks = len(world.users), world.chain.blocks
        first, last = _each("first", self.first or (world.cut,), users), _each("last", self.last, users)
        splits = [Split(*each) for each in zip(first, last, strict=True)]
        for split in splits:
            if split.first + max(split.last, 1) > blocks:
                raise ValueError(
                    f"splits.first {split.first} and splits.last {split.last} are more than the {blocks} blocks of the "
                    "model"
                )
        return SplitPlan(splits)


@dataclass(frozen=True)
class MemoryOnly(SplitRule):
    """As many first blocks as fit into the memory of the device, whatever they cost."""

    last: Annotated[int, Ge(1)] = 1
    """Last blocks on each device."""

    def plan(self, world: World) -> SplitPlan:
        table = CostTable.of(world, self.last)
        for user, fits in zip(table.users, table.fits, strict=True):
            if not fits.any():
                raise ValueError(
                    f"user {user.user.number} has {user.memory_bytes:.15g} bytes, too little for any private blocks"
                )
        deepest = [int(np.flatnonzero(fits)[-1]) for fits in table.fits]
        return SplitPlan([table.splits[place] for place in deepest])


@dataclass(frozen=True)
class Probe:
    """How much private blocks are worth to a user, measured by short runs with equal splits."""

    private: tuple[Annotated[int, Ge(1)], ...] = ()
    """Numbers of private blocks, ascending."""
    value: tuple[float, ...] = ()
    """What was measured with each of them, such as the mean accuracy on users' own samples."""

    def __post_init__(self) -> None:
        if len(self.private) != len(self.value) or list(self.private) != sorted(set(self.private)):
            raise ValueError("private and value need as many numbers, and those of private ascend")

    def at(self, private: Sequence[int]) -> Floats:
        """Value of each of these numbers of blocks: monotone cubic interpolation, constant outside of the measurements.

        Without a measurement all are worth the same, 0.
        """
        if len(self.private) < 2:
            return np.full(len(private), self.value[0] if self.value else 0.0)
        from scipy.interpolate import PchipInterpolator  # here, because it takes a fifth of a second of every command

        inside = np.clip(private, self.private[0], self.private[-1])
        return np.asarray(PchipInterpolator(self.private, self.value)(inside), dtype=float)


@dataclass(frozen=True)
class BestSplits(SplitRule):
    """The splits with the largest sum of value less cost of time, within memories and the server's capacity."""

    probe: Probe = Probe()
    """What private blocks are worth; without it only time counts."""
    last: Annotated[int, Ge(1)] = 1
    """Last blocks on each device."""
    time_weight: Annotated[float, Ge(0)] = 0.1
    """Value that a step of the reference time costs (xi_T): of the mean over users at the scenario's cut."""
    max_device_s: Annotated[float, Gt(0)] | None = None
    """Limit of the device's own time in a step (default: none)."""
    server_share: Annotated[float, Interval(gt=0, le=1)] = 0.8
    """Share of the server's speed that all users' work may take."""
    solver: Literal["priced", "exhaustive"] = "priced"
    """Solver: a price of the server's capacity by bisection, or all combinations."""

    def plan(self, world: World) -> SplitPlan:
        table = CostTable.of(world, self.last)
        solution = SOLVERS[self.solver](self.problem(world, table))
        figures = {"split_objective": solution.objective, "duality_gap": solution.bound - solution.objective}
        return SplitPlan([table.splits[place] for place in solution.choice], figures)

    def problem(self, world: World, table: CostTable) -> SplitProblem:
        """The problem: values and loads of each user and split; infeasible ones have the value minus infinity."""
        reference_s = table.time_s[:, min(world.cut, len(table.splits)) - 1].mean()
        value = self.probe.at([sum(split) for split in table.splits]) - self.time_weight * table.time_s / reference_s
        allowed = table.fits & (table.device_s <= (inf if self.max_device_s is None else self.max_device_s))
        capacity = self.server_share * world.server.node.flops_per_s
        return SplitProblem(np.where(allowed, value, -np.inf), table.server_flops / table.time_s, capacity)


SPLIT_RULES: dict[str, type] = {"fixed": FixedSplits, "memory": MemoryOnly, "best": BestSplits}


def _each(name: str, values: tuple[int, ...], users: int) -> tuple[int, ...]:
    if len(values) not in (1, users):
        raise ValueError(f"splits.{name} has {len(values)} numbers; give one for all, or one for each of {users} users")
    return values * users if len(values) == 1 else values
