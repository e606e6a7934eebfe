"""Ranges of users' activations, by which the harm that quantisation does to each is judged."""

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
"""Range of all users while none is known, and the least that a range counts."""


class ActivationRanges:
    """The range of each user's smashed data in its latest mini-batch that was observed: largest less smallest element.

    A user that was not observed yet is taken to have the widest range known.
    """

    def __init__(self) -> None:
        self.known: dict[User, float] = {}

    def of(self, users: Sequence[User]) -> Floats:
        """(users,): their ranges, in their order."""
        widest = max(self.known.values(), default=UNKNOWN)
        return np.maximum([self.known.get(user, widest) for user in users], MIN_RANGE)

    def observe(self, world: World, mini_batches: Mapping[User, tuple[Weights, Inputs]]) -> None:
        """Take in the ranges of mini-batches: of each user the weights of the device's part, and the samples.

        The server received these activations, so that nothing is sent or charged for it. A range that is not usable
        (`learning.control.usable`) leaves the user with the one before.
        """
        work = [world.executor.submit(activation_range, world.front, *each) for each in mini_batches.values()]
        for user, value in zip(mini_batches, world.executor.value(work), strict=True):
            if usable(value):
                self.known[user] = float(value)


def activation_range(segment: Part, parameters: Parameters, x: Batch) -> Tensor:
    """Largest less smallest element of the smashed data of a mini-batch, a scalar."""
    z: Tensor = steps.front(segment, parameters, x)
    return z.amax() - z.amin()
