"""Rules by which each user's private blocks are chosen, before training begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

from annotated_types import Ge, MinLen

from learning.control.private_blocks.problem import Split
from learning.world import World


class SplitRule(Protocol):
    """A rule that chooses the private blocks of all users."""

    def splits(self, world: World) -> list[Split]:
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

    def splits(self, world: World) -> list[Split]:
        users, blocks = len(world.users), world.chain.blocks
        first, last = _each("first", self.first or (world.cut,), users), _each("last", self.last, users)
        splits = [Split(*each) for each in zip(first, last, strict=True)]
        for split in splits:
            if split.first + max(split.last, 1) > blocks:
                raise ValueError(
                    f"splits.first {split.first} and splits.last {split.last} are more than the {blocks} blocks of the "
                    "model"
                )
        return splits


SPLIT_RULES: dict[str, type] = {"fixed": FixedSplits}


def _each(name: str, values: tuple[int, ...], users: int) -> tuple[int, ...]:
    if len(values) not in (1, users):
        raise ValueError(f"splits.{name} has {len(values)} numbers; give one for all, or one for each of {users} users")
    return values * users if len(values) == 1 else values
