"""Straggler policies: when a round of parallel users is over, and who is left behind."""

from dataclasses import dataclass
from math import inf
from typing import Annotated, Protocol

from annotated_types import Ge, Gt


class Policy(Protocol):
    """A round ends when `needed` users are done, or at the deadline, whichever comes first; the rest are dropped."""

    @property
    def deadline_s(self) -> float:
        """Seconds from the start of the round; infinite where there is no deadline."""
        ...

    def needed(self, users: int) -> int:
        """How many of `users` must finish. Raises ValueError where there are not enough."""
        ...


@dataclass(frozen=True)
class WaitForAll:
    """Every round waits for its slowest user."""

    @property
    def deadline_s(self) -> float:
        return inf

    def needed(self, users: int) -> int:
        return users


@dataclass(frozen=True)
class Deadline:
    """Users that are not done at the deadline are dropped from the round."""

    deadline_s: Annotated[float, Gt(0)] = 10.0
    """Seconds from the start of the round."""

    def needed(self, users: int) -> int:
        return users


@dataclass(frozen=True)
class FirstK:
    """The first k users to finish make the round; the others are dropped from it."""

    k: Annotated[int, Ge(1)] = 1
    """How many users a round needs."""

    @property
    def deadline_s(self) -> float:
        return inf

    def needed(self, users: int) -> int:
        if self.k > users:
            raise ValueError(f"the policy waits for the first {self.k} users, but there are {users}")
        return self.k


POLICIES: dict[str, type] = {"wait_for_all": WaitForAll, "deadline": Deadline, "first_k": FirstK}
