"""How long a local round is: a number of mini-batches, or of passes over the user's samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Annotated, Any, Protocol

from annotated_types import Ge, Gt, Le, MinLen

from learning.data import Rows
from learning.parties import User
from learning.ports import Streams
from learning.training_mode import training_stacks
from learning.world import World

Passes = Annotated[float, Gt(0), Le(10_000)]
"""Passes over a user's samples in one local round, all of whose mini-batches are kept (bound: our choice)."""


class Epochs(Protocol):
    """Number of local epochs of each user; in YAML a bare number holds for all users, a bare list has one for each."""

    def of(self, user: int, streams: Streams) -> float:
        """Passes over its samples in one local round of the user with number `user`; need not be a whole number.

        `streams` are the run's random streams.
        """
        ...

    def check(self, users: int) -> None:
        """Raise ValueError if there is not one number of passes for each of `users` users."""
        ...


@dataclass(frozen=True)
class ConstantEpochs:
    """The same number of passes for every user."""

    value: Passes
    """Passes; 0.5 is half of the mini-batches of an epoch in one round, and the other half in the next."""

    def of(self, user: int, streams: Streams) -> float:
        return self.value

    def check(self, users: int) -> None:
        return


@dataclass(frozen=True)
class ListedEpochs:
    """One number of passes for each user, in order."""

    values: Annotated[tuple[Passes, ...], MinLen(1)]
    """Passes of users 0, 1, 2 and so on; as many numbers as there are users."""

    def of(self, user: int, streams: Streams) -> float:
        return self.values[user]

    def check(self, users: int) -> None:
        if len(self.values) != users:
            raise ValueError(f"local_epochs has {len(self.values)} numbers, but there are {users} users")


@dataclass(frozen=True)
class UniformEpochs:
    """A number of passes drawn for each user, uniformly between two bounds, and the same in all its rounds."""

    low: Passes
    """Lower bound of the passes."""
    high: Passes
    """Upper bound of the passes."""

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) must not exceed high ({self.high:g})")

    def of(self, user: int, streams: Streams) -> float:
        return self.low + (self.high - self.low) * streams.generator("local epochs", user).random()

    def check(self, users: int) -> None:
        return


EPOCHS: dict[str, type] = {"constant": ConstantEpochs, "list": ListedEpochs, "uniform": UniformEpochs}


@dataclass(frozen=True)
class LocalTraining:
    """Base of schemes with local rounds of several mini-batches; at most one of its two fields can be given."""

    local_steps: Annotated[int, Ge(1)] | None = None
    """Mini-batches in a local round, the same number for all users (default: as many as `local_epochs` gives)."""
    local_epochs: Epochs | None = field(default=None, kw_only=True)
    """Passes over the user's own samples in a local round (default: one, unless `local_steps` is given). Fractions of a
    pass are rounded up to whole mini-batches such that the rounding does not accumulate over rounds."""

    def __post_init__(self) -> None:
        if self.local_steps is not None and self.local_epochs is not None:
            raise ValueError("local_steps and local_epochs are both given; one of them is allowed")

    def positions(self, user: User, number: int) -> range:
        """Positions of the mini-batches of a user's local round in its sequence of mini-batches; at least one.

        Args:
            user: the user.
            number: number of its local round, from 0, on which alone the positions depend.
        """
        if self.local_steps is not None:
            return range(number * self.local_steps, (number + 1) * self.local_steps)
        epochs = 1.0 if self.local_epochs is None else self.local_epochs.of(user.number, user.batches.streams)
        steps = max(epochs * user.batches.per_epoch, 1.0)
        return range(_rounded_up(number * steps), _rounded_up((number + 1) * steps))

    def stacks(self, world: World, user: User, number: int) -> tuple[list[Any], list[Rows]]:
        """The mini-batches of a user's local round on the whole model, as `Batches.stack` gives them.

        Samples are as the model takes them while it trains (`learning.training_mode`).
        """
        positions = self.positions(user, number)
        x, y = user.batches.stack(positions)
        return training_stacks(world, world.whole, x, user.number, positions.start), y

    def check(self, world: World) -> None:
        """Raises ValueError if `local_epochs` has too few or too many numbers for the users."""
        if self.local_epochs is not None:
            self.local_epochs.check(len(world.users))


def _rounded_up(steps: float) -> int:
    return ceil(round(steps, 9))  # 0.07 times 100 is a little more than 7
