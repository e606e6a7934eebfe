"""What a learning system says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

from learning.parties import User
from learning.ports import Process
from learning.world import World


@runtime_checkable
class Scheme(Protocol):
    """A learning system: one generator that reads like the message sequence chart of its paper.

    A scheme derives from this class and writes `run`; the other members have the defaults given here.
    """

    asynchronous: ClassVar[bool] = False
    """Whether it works under asynchronous policies, in which each user goes from one model to the next by itself."""
    hierarchical: ClassVar[bool] = False
    """Whether its users can work with several edge servers, which average before the aggregator does."""

    one_chain: ClassVar[bool] = False
    """Whether it works on models of one chain of blocks alone, and not on towers and a fusion network."""
    placeable: ClassVar[bool] = False
    """Whether it works with parts as `learning.cut` and `learning.placement` give them: `world.parts`, each at its
    `world.host`. Other schemes split the model in two, or not at all."""

    @property
    def stand_in(self) -> str | None:
        """What it decides by in a dry run, in place of values that only training yields; None if it reads no values.

        `netsim check` predicts time and bits from a dry run, and prints this beside them.
        """
        return None

    def run(self, world: World) -> Process[None]:
        """Train until `world.rounds()` are over, and report the model to `world.models` in each round."""
        ...

    def check(self, world: World) -> None:
        """Called before the run begins. Raises ValueError where the scheme does not fit the model or the users."""
        return

    def excluded(self, world: World) -> Sequence[User]:
        """Users that take no part in the run, because they cannot keep to a budget of the scheme.

        Raises ValueError if that is all of them.
        """
        return []
