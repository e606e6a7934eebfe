"""Asynchronous policies: users go on by themselves, and the server takes in what arrives.

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
from learning.policies.staleness import Constant, Polynomial, StalenessWeight
from learning.steps import Weights


class OnTheirOwn:
    """What asynchronous policies share: nobody is asked on top, and nothing has a deadline."""

    asynchronous = True
    deadline_s = inf

    def asked(self, wanted: int) -> int:
        return wanted


@dataclass(frozen=True)
class Asynchronous(OnTheirOwn):
    """The server mixes in every model that arrives: x <- (1 - a) x + a x_new (FedAsync, Xie et al., 2019).

    a = mixing * staleness weight. Whoever has handed in its model begins anew with what comes of it; as many users work
    at a time as `learning.participants` wants.
    """

    mixing: Annotated[float, Interval(gt=0, le=1)] = 0.6
    """Share of a fresh model in the server's next one."""
    staleness: StalenessWeight = Constant()
    """How much a late model still counts."""

    waits = True

    def needed(self, wanted: int) -> int:
        return 1

    def merging(
        self,
        model: Weights,
        arrived: Sequence[Weights],
        bases: Sequence[Weights],
        weights: tuple[float, ...],
        staleness: tuple[int, ...],
    ) -> Merging:
        """The weight of the one user is 1, however many samples it has."""
        share = self.mixing * self.staleness.weight(staleness[0])
        return mixed, model, arrived[0], torch.tensor(share, dtype=torch.float64)


@dataclass(frozen=True)
class Buffered(OnTheirOwn):
    """The server moves by the mean of K users' steps: x <- x + rate sum_k q_k s_k (x_k - base_k) (FedBuff).

    q_k are the scheme's weights of users, s_k staleness weights, base_k what the user had downloaded. As many users
    work at a time as `learning.participants` wants. [Nguyen et al., AISTATS 2022, algorithm 1]
    """

    size: Annotated[int, Ge(1)] = 3
    """How many models make an update: K (our choice for few users; 10 in the paper's experiments)."""
    server_rate: Annotated[float, Gt(0)] = 1.0
    """How far the server moves along the mean of the users' steps."""
    staleness: StalenessWeight = Polynomial()
    """How much a late step still counts."""
    waits: bool = False
    """Whether users whose models are in the buffer wait for the next one, or begin anew at once with the present."""

    def needed(self, wanted: int) -> int:
        if self.waits and self.size > wanted:
            raise ValueError(
                f"the buffer holds {self.size} models, and {wanted} users that wait for it can never fill it"
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
