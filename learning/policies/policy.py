"""The interface of straggler policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from learning.steps import Parameters, Weights

Merging: TypeAlias = tuple[Callable[..., Parameters], *tuple[object, ...]]
"""An operation that makes the server's next model, and its arguments."""


class Policy(Protocol):
    """A straggler policy: the server goes on when `needed` users are done, or at the deadline if that is earlier.

    In rounds the other users are dropped, and the next round begins for all. Under an asynchronous policy they go on.
    """

    @property
    def asynchronous(self) -> bool:
        """Whether each user begins its local rounds by itself; a round is then one update of the server's model."""
        ...

    @property
    def waits(self) -> bool:
        """Whether a user begins its next local round only when its upload has been merged."""
        ...

    @property
    def deadline_s(self) -> float:
        """Deadline in seconds from the start of the round; infinite if there is none."""
        ...

    def asked(self, cohort_size: int) -> int:
        """How many users are selected to begin a round in which `cohort_size` users are to take part."""
        ...

    def needed(self, cohort_size: int) -> int:
        """How many users must finish if `cohort_size` are to take part. Raises ValueError if that is too small."""
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

        Args:
            model: the server's model.
            arrived: the models that users uploaded.
            bases: for each of them, the model that its user had downloaded.
            weights: for each of them, its user's weight; they sum to one.
            staleness: for each of them, the updates of the server's model since that download.
        """
        ...


def check(policy: Policy, cohort_size: int, users: int) -> None:
    """Raise ValueError if a policy selects more users than there are: `cohort_size` are to take part, of `users`."""
    policy.needed(cohort_size)
    if policy.asked(cohort_size) > users:
        raise ValueError(
            f"the policy asks {policy.asked(cohort_size)} users so that {cohort_size} take part in a round, "
            f"but there are {users}; lower the number of learning.participants"
        )
