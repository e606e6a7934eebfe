"""Policies in rounds: all users begin together, and those that are not done when the round ends are dropped from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Annotated

from annotated_types import Ge, Gt

from learning.aggregators import averaged
from learning.policies.policy import Merging
from learning.steps import Weights


class InRounds:
    """Base of policies in rounds; by default a round selects just its cohort, and waits for all of it."""

    asynchronous = False
    waits = True

    @property
    def deadline_s(self) -> float:
        return inf

    def asked(self, cohort_size: int) -> int:
        return cohort_size

    def needed(self, cohort_size: int) -> int:
        return cohort_size

    def merging(
        self,
        model: Weights,
        arrived: Sequence[Weights],
        bases: Sequence[Weights],
        weights: tuple[float, ...],
        staleness: tuple[int, ...],
    ) -> Merging:
        """The weighted mean of what arrived."""
        return averaged, list(arrived), weights


@dataclass(frozen=True)
class WaitForAll(InRounds):
    """Each round waits for its slowest user."""


@dataclass(frozen=True)
class Deadline(InRounds):
    """Users that are not done at the deadline are dropped from the round; those done at that very instant are not."""

    deadline_s: Annotated[float, Gt(0)] = 10.0
    """Seconds from the start of the round; the servers' aggregation comes after it."""


@dataclass(frozen=True)
class FirstK(InRounds):
    """The first k users to finish make the round; the others are dropped from it."""

    k: Annotated[int, Ge(1)] = 1
    """How many users a round needs."""

    def needed(self, cohort_size: int) -> int:
        if self.k > cohort_size:
            raise ValueError(f"the policy waits for the first {self.k} users, but there are {cohort_size}")
        return self.k


@dataclass(frozen=True)
class OverSelection(InRounds):
    """More users begin a round than are to take part in it, and the last ones are dropped (Bonawitz et al., 2019).

    `learning.participants` says how many are to take part.
    """

    extra: Annotated[float, Ge(0)] = 0.3
    """Additional users as a share of the cohort: ceil(m (1 + extra)) begin, and the first m to finish take part."""

    def asked(self, cohort_size: int) -> int:
        return cohort_size + ceil(round(cohort_size * self.extra, 9))  # 0.07 times 100 is a little more than 7
