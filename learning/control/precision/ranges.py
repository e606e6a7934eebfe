"""Ranges of users' activations, by which their quantisation errors are weighted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from learning import steps
from learning.control.rate import Floats
from learning.control.usable import usable
from learning.data import Inputs
from learning.parties import User
from learning.steps import Batch, Parameters, Part, Weights
from learning.world import World

UNKNOWN, MIN_RANGE = 1.0, 1e-9
"""Range of all users before any is observed; lower bound on a range."""


class ActivationRanges:
    """The range (largest minus smallest element) of each user's smashed data in its last observed mini-batch.

    A user that was not observed yet is assumed to have the widest range known.
    """

    def __init__(self) -> None:
        self.known: dict[User, float] = {}
        """User -> last observed range."""

    def of(self, users: Sequence[User]) -> Floats:
        """(users,): ranges of these users."""
        widest = max(self.known.values(), default=UNKNOWN)
        return np.maximum([self.known.get(user, widest) for user in users], MIN_RANGE)

    def observe(self, world: World, mini_batches: Mapping[User, tuple[Weights, Inputs]]) -> None:
        """Update the ranges with those of mini-batches.

        The server has received these activations, so nothing is sent or charged. A range that is not usable
        (`learning.control.usable`) is ignored.

        Args:
            world: the world.
            mini_batches: of each user the weights of the device's part, and the samples.
        """
        work = [world.executor.submit(activation_range, world.front, *each) for each in mini_batches.values()]
        for user, value in zip(mini_batches, world.executor.value(work), strict=True):
            if usable(value):
                self.known[user] = float(value)


def activation_range(segment: Part, parameters: Parameters, x: Batch) -> Tensor:
    """Largest minus smallest element of the smashed data of a mini-batch `x`, a scalar tensor."""
    z: Tensor = steps.front(segment, parameters, x)
    return z.amax() - z.amin()
