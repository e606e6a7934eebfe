"""What a policy says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from learning.steps import Parameters, Weights

Merging: TypeAlias = tuple[Callable[..., Parameters], *tuple[object, ...]]
"""An operation that makes the server's next model, and its arguments."""


class Policy(Protocol):
    """The server goes on when `needed` users are done, or at the deadline, whichever comes first.

    In rounds the others are dropped, and all begin anew together. Under an asynchronous policy they carry on.
    """

    @property
    def asynchronous(self) -> bool:
        """Whether every user goes from one model to the next by itself; a round is then one update of the server's."""
        ...

    @property
    def waits(self) -> bool:
        """Whether a user that has handed in its work begins anew only with the model that comes of it."""
        ...

    @property
    def deadline_s(self) -> float:
        """Seconds from the start of the round; infinite where there is no deadline."""
        ...

    def asked(self, wanted: int) -> int:
        """How many users begin a round in which `wanted` are to take part."""
        ...

    def needed(self, wanted: int) -> int:
        """How many must finish where `wanted` are to take part. Raises ValueError where those are not enough."""
        ...

    def merging(
        self,
        model: Weights,
        arrived: Sequence[Weights],
        bases: Sequence[Weights],
        weights: tuple[float, ...],
        staleness: tuple[int, ...],
    ) -> Merging:
        """The operation that makes the server's next model, and its arguments.

        Args: the server's model; models that arrived and what each had been trained from; weights of their users that
        sum to one; and for each the number of updates between its download and this one.
        """
        ...


def check(policy: Policy, wanted: int, users: int) -> None:
    """Raises ValueError where a policy cannot be kept among `users`, of whom `wanted` take part in a round."""
    policy.needed(wanted)
    if policy.asked(wanted) > users:
        raise ValueError(
            f"the policy asks {policy.asked(wanted)} users so that {wanted} take part in a round, "
            f"but there are {users}; learning.participants can want fewer"
        )
