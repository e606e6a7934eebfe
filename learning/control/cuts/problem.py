"""The cut problem: minimise the time to a target, which is the time of a round times a bound on the rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class OutOfReach(ValueError):
    """Error of a problem in which no choice of mini-batches and cuts reaches the target."""


class CutChoice(NamedTuple):
    """Mini-batch size and cut of each user.

    The last axis is that of users; axes before it are for many choices at once, each of which is evaluated separately.
    """

    batches: Integers
    """(..., users): samples in a mini-batch."""
    cuts: Integers
    """(..., users): blocks on the device, from 1."""


@dataclass(frozen=True)
class ConvergenceBound:
    """Bound on the rounds R until the mean squared gradient norm is below `target`, the left-hand side.

    2 v / (gamma R) + (beta gamma / N^2) sum_i sum_l sigma_l^2 / b_i + 1{I > 1} 4 beta^2 gamma^2 I^2 sum_{l <= Lc} G_l^2
    with v the loss to go, N users with batches b_i, interval I, deepest cut Lc.
    """

    smoothness: float
    """Lipschitz constant beta of the gradient."""
    learning_rate: float
    """Learning rate gamma of the devices."""
    variances: Floats
    """(blocks,): variance sigma_l^2 of one sample's gradient, by block."""
    squared_norms: Floats
    """(blocks,): mean squared norm G_l^2 of a mini-batch's gradient, by block."""
    target: float
    """Squared gradient norm epsilon to be reached."""
    interval: int = 1
    """Rounds I between aggregations of the device parts."""

    @cached_property
    def drift(self) -> Floats:
        """(blocks + 1,): drift term for a deepest cut of 0, 1, ... blocks; zero if every round has an aggregation."""
        scale = 4 * (self.smoothness * self.learning_rate * self.interval) ** 2 if self.interval > 1 else 0.0
        return scale * np.concatenate([[0.0], np.cumsum(self.squared_norms)])

    def noise(self, users: int) -> float:
        """The factor a of the noise term a sum_i 1 / b_i."""
        return float(self.smoothness * self.learning_rate * self.variances.sum() / users**2)

    def rounds(self, choice: CutChoice, loss_to_go: float) -> float:
        """Rounds to the target from a loss `loss_to_go` above the minimum; infinite where it is out of reach."""
        left = float(self.progress(choice))
        return float(2 * loss_to_go / (self.learning_rate * left)) if left > 0 else float("inf")

    def progress(self, choice: CutChoice) -> Floats:
        """(...,): the target less noise and drift terms for each choice; not positive where it is out of reach."""
        with np.errstate(divide="ignore"):  # a user that can hold no sample at a cut has a mini-batch of 0
            noise = self.noise(choice.batches.shape[-1]) * (1 / choice.batches).sum(axis=-1)
        return np.asarray(self.target - noise - self.drift[choice.cuts.max(axis=-1)])


@dataclass(frozen=True)
class CutProblem:
    """Times of split training by user and cut, and the bound; column l of every table is a cut after l + 1 blocks.

    Raises ValueError where no part of the model fits a user's device.
    """

    bound: ConvergenceBound
    """Bound on the rounds to the target."""
    before_s: Floats
    """(users, cuts): time of a sample before the server: forward pass and upload of smashed data."""
    server_s: Floats
    """(users, cuts): time of a sample at the server."""
    after_s: Floats
    """(users, cuts): time of a sample after the server: download of the gradient and backward pass."""
    device_bits: Floats
    """(cuts,): size of the device part in bits."""
    upload_bps: Floats
    """(users,): uplink rate of device parts in bit/s."""
    download_bps: Floats
    """(users,): downlink rate of device parts in bit/s."""
    exchange_bps: float
    """Rate in bit/s between the server that trains and the one that averages."""
    max_samples: Integers
    """(users, cuts): the largest mini-batch that fits into the device's memory; 0 where not even one sample does."""

    def __post_init__(self) -> None:
        if not (self.max_samples > 0).any(axis=1).all():
            user = int(np.argmin((self.max_samples > 0).any(axis=1)))
            raise ValueError(f"user {user} can hold no part of the model, not even with mini-batches of one sample")

    def check(self) -> None:
        """Raises OutOfReach where no choice reaches the target."""
        lost = self.bound.target - float(self.bound.progress(self.easiest))
        if lost >= self.bound.target:
            raise OutOfReach(
                f"the target {self.bound.target:.3g} is out of reach: the largest mini-batches and the shallowest cuts "
                f"lose {lost:.3g} to noise and drift"
            )

    @cached_property
    def easiest(self) -> CutChoice:
        """The choice with the largest mini-batches among those with the shallowest possible cuts."""
        shallow = int(max(np.argmax(row > 0) for row in self.max_samples))
        rows = self.max_samples[:, : shallow + 1]
        return CutChoice(rows.max(axis=1), np.argmax(rows, axis=1) + 1)

    @property
    def users(self) -> int:
        """Number of users."""
        return int(self.before_s.shape[0])

    @property
    def cuts(self) -> int:
        """Number of possible cuts."""
        return int(self.before_s.shape[1])

    def per_sample(self, cuts: Integers) -> tuple[Floats, Floats, Floats, Integers]:
        """Entries of `before_s`, `server_s`, `after_s` and `max_samples` at each user's own cut, (..., users) each."""
        own = np.arange(self.users), cuts - 1
        return self.before_s[own], self.server_s[own], self.after_s[own], self.max_samples[own]

    def step_s(self, choice: CutChoice) -> Floats:
        """(...,): time of a step, with barriers before and after the server, which serves one user after another."""
        before, server, after, _ = self.per_sample(choice.cuts)
        batches = choice.batches
        barriers = (batches * before).max(axis=-1) + (batches * after).max(axis=-1)
        return np.asarray(barriers + (batches * server).sum(axis=-1))

    def aggregation_s(self, cuts: Integers) -> Floats:
        """(...,): time of an aggregation: device parts over the air, and concurrently private copies between servers.

        A user with a shallower cut than the deepest has the blocks in between as a private copy at the server.
        """
        own = self.device_bits[cuts - 1]
        deepest = self.device_bits[cuts.max(axis=-1, keepdims=True) - 1]
        between = (deepest - own).sum(axis=-1) / self.exchange_bps
        radio = ((own / rates).max(axis=-1) for rates in (self.upload_bps, self.download_bps))
        return np.asarray(sum(np.maximum(each, between) for each in radio))

    def feasible(self, choice: CutChoice) -> NDArray[np.bool_]:
        """(...,): whether all mini-batches of a choice fit their devices, and the target can be reached."""
        fits = (choice.batches >= 1) & (choice.batches <= self.per_sample(choice.cuts)[3])
        return np.asarray(fits.all(axis=-1) & (self.bound.progress(choice) > 0))

    def costs(self, choice: CutChoice) -> Floats:
        """(...,): time to the target, up to a constant: time of a round over progress; infinite if infeasible."""
        seconds = self.step_s(choice) + self.aggregation_s(choice.cuts) / self.bound.interval
        with np.errstate(divide="ignore"):
            return np.where(self.feasible(choice), seconds / self.bound.progress(choice), np.inf)

    def cost(self, choice: CutChoice) -> float:
        """`costs` of a single choice."""
        return float(self.costs(choice))

    def best_of(self, choices: CutChoice) -> CutChoice:
        """The first choice with the lowest cost among many, one a row."""
        return self._best_with_cost(choices)[0]

    def _best_with_cost(self, choices: CutChoice) -> tuple[CutChoice, float]:
        costs = self.costs(choices)
        best = int(np.argmin(costs))
        return CutChoice(choices.batches[best], choices.cuts[best]), float(costs[best])

    def local_search(self, choice: CutChoice, neighbours: Callable[[CutChoice], CutChoice]) -> CutChoice:
        """Improve a choice by local search, until none of its neighbours has a lower cost.

        Args:
            choice: where the search starts.
            neighbours: returns neighbours of a choice, one a row, at least one.
        """
        cost = self.cost(choice)
        while True:
            best, best_cost = self._best_with_cost(neighbours(choice))
            if best_cost >= cost * (1 - 1e-12):
                return choice
            choice, cost = best, best_cost

    def with_interval(self, interval: int) -> CutProblem:
        """The same problem with another aggregation interval."""
        return replace(self, bound=replace(self.bound, interval=interval))
