"""How much a user trains between download and upload: so many mini-batches, or so many passes over its samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Annotated, Protocol

from annotated_types import Ge, Gt, MinLen

from learning.parties import User
from learning.ports import Streams
from learning.world import World


class Epochs(Protocol):
    """Passes over its samples that a user makes: a bare number is the same for all, a bare list one for each."""

    def of(self, user: int, streams: Streams) -> float:
        """The passes of a user, by its number."""
        ...

    def check(self, users: int) -> None:
        """Raises ValueError where there are too few or too many numbers for so many users."""
        ...


@dataclass(frozen=True)
class ConstantEpochs:
    """The same number of passes for every user."""

    value: Annotated[float, Gt(0)]
    """The number; 0.5 is half of the mini-batches of an epoch in one round, the other half in the next."""

    def of(self, user: int, streams: Streams) -> float:
        return self.value

    def check(self, users: int) -> None:
        return


@dataclass(frozen=True)
class ListedEpochs:
    """One number of passes for each user, in order."""

    values: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]
    """The numbers of users 0, 1, 2 and so on; as many as there are users."""

    def of(self, user: int, streams: Streams) -> float:
        return self.values[user]

    def check(self, users: int) -> None:
        if len(self.values) != users:
            raise ValueError(f"local_epochs has {len(self.values)} numbers, but there are {users} users")


@dataclass(frozen=True)
class UniformEpochs:
    """Drawn for each user, uniform between two bounds, and then the same in all its rounds."""

    low: Annotated[float, Gt(0)]
    """Lower bound."""
    high: Annotated[float, Gt(0)]
    """Upper bound."""

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
    """The fields of schemes whose users train by themselves for a while; not both of them can be given."""

    local_steps: Annotated[int, Ge(1)] | None = None
    """Mini-batches in a round, the same for everybody (default: as `local_epochs` says)."""
    local_epochs: Epochs | None = field(default=None, kw_only=True)
    """Passes over the user's own samples in a round (default: one, unless `local_steps` is given). Parts of a pass are
    rounded up to whole mini-batches so that all rounds together make as many passes as they should."""

    def __post_init__(self) -> None:
        if self.local_steps is not None and self.local_epochs is not None:
            raise ValueError("local_steps and local_epochs are both given; one of them is allowed")

    def positions(self, user: User, number: int) -> range:
        """Numbers of the mini-batches of a user's local round, at least one; they depend on its number alone.

        Args:
            user: the user.
            number: number of its local round, from 0.
        """
        if self.local_steps is not None:
            return range(number * self.local_steps, (number + 1) * self.local_steps)
        epochs = 1.0 if self.local_epochs is None else self.local_epochs.of(user.number, user.batches.streams)
        steps = max(epochs * user.batches.per_epoch, 1.0)
        return range(_rounded_up(number * steps), _rounded_up((number + 1) * steps))

    def check(self, world: World) -> None:
        """Raises ValueError where there are too few or too many numbers for the users."""
        if self.local_epochs is not None:
            self.local_epochs.check(len(world.users))


def _rounded_up(steps: float) -> int:
    return ceil(round(steps, 9))  # 0.07 times 100 is a little more than 7
