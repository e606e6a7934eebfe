"""The choice of private blocks under a limit of the server's load: tables of numbers by user and split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Split(NamedTuple):
    """Numbers of blocks on a user's device; the blocks in between are at the server."""

    first: int
    """Blocks from the beginning of the model."""
    last: int
    """Blocks at the end of the model, its head included; 0 is the L shape, in which labels go to the server."""

    def span(self, blocks: int) -> tuple[int, int]:
        """Number of the first block at the server and of the first block behind, in a model of `blocks` blocks."""
        return self.first, blocks - self.last


class SplitSolution(NamedTuple):
    """A choice, and how far it may be from the best one."""

    choice: Integers
    """(users,): number of each user's split, from 0."""
    objective: float
    """Sum of the users' values."""
    bound: float
    """Upper bound of the objective of all choices; the difference is the duality gap."""
    price: float
    """Price of the server's capacity, in value for each FLOP/s."""


@dataclass(frozen=True)
class SplitProblem:
    """Which split each user takes, for the largest sum of values within the server's capacity."""

    value: Floats
    """(users, splits): value of a split to a user, less what its time costs; minus infinity where it is not allowed."""
    load_flops_per_s: Floats
    """(users, splits): work that a user with this split gives the server."""
    capacity_flops_per_s: float
    """Largest sum of loads."""

    def check(self) -> None:
        """Raises ValueError where a user has no split, or no choice keeps to the capacity."""
        allowed = np.isfinite(self.value)
        if not allowed.any(axis=1).all():
            raise ValueError(f"user {int(np.argmin(allowed.any(axis=1)))} can hold none of the splits")
        least = np.where(allowed, self.load_flops_per_s, np.inf).min(axis=1).sum()
        if least > self.capacity_flops_per_s:
            raise ValueError(
                f"all users together give the server at least {least:.3g} FLOP/s, and its capacity is "
                f"{self.capacity_flops_per_s:.3g}"
            )

    def at_price(self, price: float) -> Integers:
        """(users,): each user's split with the largest value less the price of its load; of equal ones the lighter."""
        net = self.value - price * self.load_flops_per_s
        best = net == net.max(axis=1, keepdims=True)
        return np.asarray(np.where(best, self.load_flops_per_s, np.inf).argmin(axis=1))

    def load(self, choice: Integers) -> float:
        """Load of a choice in FLOP/s."""
        return float(self.load_flops_per_s[np.arange(len(choice)), choice].sum())

    def fits(self, choice: Integers) -> bool:
        """Whether a choice keeps to the capacity."""
        return self.load(choice) <= self.capacity_flops_per_s

    def objective(self, choice: Integers) -> float:
        """Sum of values of a choice; minus infinity where it is not allowed."""
        return float(self.value[np.arange(len(choice)), choice].sum()) if self.fits(choice) else -np.inf

    def dual(self, price: float) -> float:
        """The dual value at a price, which no choice exceeds."""
        net = self.value - price * self.load_flops_per_s
        return float(net.max(axis=1).sum() + price * self.capacity_flops_per_s)
