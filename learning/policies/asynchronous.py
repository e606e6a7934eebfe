"""Asynchronous policies: users begin local rounds by themselves, and the server merges uploads as they arrive.

With the scheme `fedprox` a user's local problem is the regularised one of FedAsync.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Interval

from learning.aggregators import mixed, moved
from learning.policies.policy import Merging
from learning.policies.staleness import ConstantWeight, Polynomial, StalenessWeight
from learning.steps import Weights


class AsynchronousPolicy:
    """Base of asynchronous policies: no additional users are asked, and there is no deadline."""

    asynchronous = True
    deadline_s = inf

    def asked(self, cohort_size: int) -> int:
        return cohort_size


@dataclass(frozen=True)
class Asynchronous(AsynchronousPolicy):
    """The server mixes in every model that arrives: x <- (1 - a) x + a x_new (FedAsync, Xie et al., 2019).

    a = mixing * staleness weight. A user begins its next local round with the mixed model. `learning.participants` says
    how many users train at a time.
    """

    mixing: Annotated[float, Interval(gt=0, le=1)] = 0.6
    """Share of a model without staleness in the server's next one."""
    staleness: StalenessWeight = ConstantWeight()
    """Weight of a model by its staleness."""

    waits = True

    def needed(self, cohort_size: int) -> int:
        return 1

    def merging(
        self,
        model: Weights,
        arrived: Sequence[Weights],
        bases: Sequence[Weights],
        weights: tuple[float, ...],
        staleness: tuple[int, ...],
    ) -> Merging:
        """Mix in the one model that arrived; the weighting of users does not matter."""
        share = self.mixing * self.staleness.weight(staleness[0])
        return mixed, model, arrived[0], torch.tensor(share, dtype=torch.float64)


@dataclass(frozen=True)
class Buffered(AsynchronousPolicy):
    """The server moves by the mean of K users' steps: x <- x + rate sum_k q_k s_k (x_k - base_k) (FedBuff).

    q_k are the scheme's weights of users, s_k staleness weights, base_k what the user had downloaded.
    `learning.participants` says how many users train at a time. [Nguyen et al., AISTATS 2022, algorithm 1]
    """

    size: Annotated[int, Ge(1)] = 3
    """Models that make an update, K (our choice for few users; 10 in the paper's experiments)."""
    server_rate: Annotated[float, Gt(0)] = 1.0
    """Step size of the server along the mean of the users' steps."""
    staleness: StalenessWeight = Polynomial()
    """Weight of a step by its staleness."""
    waits: bool = False
    """Whether users whose models are in the buffer wait for the next version, or begin at once with the current one."""

    def needed(self, cohort_size: int) -> int:
        if self.waits and self.size > cohort_size:
            raise ValueError(
                f"the buffer holds {self.size} models, and {cohort_size} users that wait for it can never fill it"
            )
        return self.size

    def merging(
        self,
        model: Weights,
        arrived: Sequence[Weights],
        bases: Sequence[Weights],
        weights: tuple[float, ...],
        staleness: tuple[int, ...],
    ) -> Merging:
        shares = [self.server_rate * q * self.staleness.weight(age) for q, age in zip(weights, staleness, strict=True)]
        return moved, model, list(arrived), list(bases), torch.tensor(shares, dtype=torch.float64)
