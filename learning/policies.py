"""Straggler policies: when a round of parallel users is over, and who is left behind."""

from dataclasses import dataclass
from math import ceil, inf
from typing import Annotated, Protocol

from annotated_types import Ge, Gt


class Policy(Protocol):
    """A round ends when `needed` users are done, or at the deadline, whichever comes first; the rest are dropped."""

    def asked(self, wanted: int) -> int:
        """How many users begin a round in which `wanted` are to take part."""
        ...

    @property
    def deadline_s(self) -> float:
        """Seconds from the start of the round; infinite where there is no deadline."""
        ...

    def needed(self, wanted: int) -> int:
        """How many must finish where `wanted` are to take part. Raises ValueError where those are not enough."""
        ...


@dataclass(frozen=True)
class WaitForAll:
    """Every round waits for its slowest user."""

    @property
    def deadline_s(self) -> float:
        return inf

    def asked(self, wanted: int) -> int:
        return wanted

    def needed(self, wanted: int) -> int:
        return wanted


@dataclass(frozen=True)
class Deadline:
    """Users that are not done at the deadline are dropped from the round."""

    deadline_s: Annotated[float, Gt(0)] = 10.0
    """Seconds from the start of the round."""

    def asked(self, wanted: int) -> int:
        return wanted

    def needed(self, wanted: int) -> int:
        return wanted


@dataclass(frozen=True)
class FirstK:
    """The first k users to finish make the round; the others are dropped from it."""

    k: Annotated[int, Ge(1)] = 1
    """How many users a round needs."""

    @property
    def deadline_s(self) -> float:
        return inf

    def asked(self, wanted: int) -> int:
        return wanted

    def needed(self, wanted: int) -> int:
        if self.k > wanted:
            raise ValueError(f"the policy waits for the first {self.k} users, but there are {wanted}")
        return self.k


@dataclass(frozen=True)
class OverSelection:
    """More users begin a round than are to take part in it, and the last ones are dropped (Bonawitz et al., 2019).

    How many are to take part is said by `learning.participants`.
    """

    extra: Annotated[float, Ge(0)] = 0.3
    """Share of users asked on top: of m users wanted, ceil(m (1 + extra)) begin, and the first m make the round."""

    @property
    def deadline_s(self) -> float:
        return inf

    def asked(self, wanted: int) -> int:
        return wanted + ceil(round(wanted * self.extra, 9))  # 0.07 times 100 is a little more than 7

    def needed(self, wanted: int) -> int:
        return wanted


def check(policy: Policy, wanted: int, users: int) -> None:
    """Raises ValueError where a policy cannot be kept among `users`, of whom `wanted` take part in a round."""
    policy.needed(wanted)
    if policy.asked(wanted) > users:
        raise ValueError(
            f"the policy asks {policy.asked(wanted)} users so that {wanted} take part in a round, "
            f"but there are {users}; learning.participants can want fewer"
        )


POLICIES: dict[str, type] = {
    "wait_for_all": WaitForAll,
    "deadline": Deadline,
    "first_k": FirstK,
    "over_selection": OverSelection,
}
