"""Which modalities of its samples each user holds, and which users hold different modalities of the same samples."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MinLen


@dataclass(frozen=True)
class Holding:
    """The modalities that users hold: one, several or all of those of their samples.

    Users take the listed sets in turn: with three sets, users 0, 3, 6, ... hold the first. Where samples are `shared`,
    as many consecutive users as there are sets are a team, which together holds one share of the samples: each member
    has its modalities of the same samples, in the same mini-batches. Where samples are each user's `own`, the others
    of their modalities are missing.
    """

    # Vertical and horizontal division of data: Yang et al., Federated machine learning, ACM TIST 2019.

    sets: Annotated[tuple[Annotated[tuple[str, ...], MinLen(1)], ...], MinLen(1)]
    """Sets of modalities, such as [[text], [image], [audio]] or [[image, audio], [image]]."""

    samples: Literal["shared", "own"] = "shared"
    """Whether users of a team hold the same samples, or each user samples of its own."""

    def modalities(self, user: int) -> tuple[str, ...]:
        """The modalities that a user holds."""
        return self.sets[user % len(self.sets)]

    def team(self, user: int) -> int:
        """The number of the first member of a user's team: the user itself where samples are its own."""
        return user - user % len(self.sets) if self.samples == "shared" else user

    def shares(self, users: int) -> int:
        """Number of shares into which the samples are divided. Raises ValueError unless users make whole teams."""
        if self.samples == "own":
            return users
        if users % len(self.sets):
            raise ValueError(
                f"{users} users do not make teams of {len(self.sets)}, one user for each set of modalities"
            )
        return users // len(self.sets)

    def share(self, user: int) -> int:
        """Number of the share that a user holds."""
        return user // len(self.sets) if self.samples == "shared" else user

    def check(self, known: Collection[str], name: str) -> None:
        """Raises ValueError if a set names what is no modality of the data set called `name`."""
        for modality in (each for held in self.sets for each in held):
            if modality not in known:
                has = f"the modalities {', '.join(known)}" if known else "samples that are single arrays"
                raise ValueError(f"users are to hold {modality}, but {name} has {has}")
