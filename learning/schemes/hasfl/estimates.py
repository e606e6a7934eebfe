"""The constants of the bound on convergence: as a scenario states them, or as they are seen while training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from learning.control.cuts.problem import Floats
from learning.parties import User
from learning.schemes.hasfl import operators
from learning.usable import usable
from learning.world import World

KEPT = 0.5
"""Weight of the estimates so far against those of the latest interval."""
MIN_SMOOTHNESS = 0.1


@dataclass(frozen=True)
class Constants:
    """What a bound on convergence is to know of the problem (learning/control/cuts)."""

    smoothness: Annotated[float, Gt(0)] = 1.0
    """Lipschitz constant of the gradient."""
    variance: Annotated[float, Gt(0)] = 1.0
    """Variance of one sample's gradient, all blocks together."""
    squared_norm: Annotated[float, Gt(0)] = 0.01
    """Mean squared norm of a mini-batch's gradient, all blocks together."""
    target: Annotated[float, Gt(0)] | None = None
    """Squared gradient norm to be reached (default: 1.2 times what 16 samples and two blocks for everybody lose)."""
    estimate: bool = False
    """Whether, from the first aggregation on, the first three are estimated from gradients. Decisions then depend on
    values; the dry executor, which has none, goes by the ones stated here."""


class Estimates:
    """The constants as they are known by now, by block."""

    def __init__(self, world: World, constants: Constants, blocks: int, weights: Any) -> None:
        """`weights` are those of the whole model at the start."""
        self.world, self.constants, self.blocks = world, constants, blocks
        self.smoothness = constants.smoothness
        self.variances: Floats = np.full(blocks, constants.variance / blocks)
        self.squared_norms: Floats = np.full(blocks, constants.squared_norm / blocks)
        self._before, self._kept = weights, 0.0

    def look(self, weights: Any, users: Iterable[tuple[User, range]]) -> None:
        """Take in the gradients at aggregated weights, of a mini-batch of each user.

        Users whose gradients are not usable (`learning.usable`) are left out; if all are, nothing is taken in.
        Charged to nobody: gradients of mini-batches are at hand anyway.
        """
        if not (self.constants.estimate and self.world.executor.computes):
            return
        seen = self.world.executor.value([self._of_user(weights, *each) for each in users])
        seen = [each for each in seen if usable(*each)]
        if not seen:
            return
        variances, norms, slopes = (np.array([each[kind].numpy() for each in seen]) for kind in range(3))
        slope = min(max(float(slopes.max()), MIN_SMOOTHNESS), 1 / self.world.optimiser.learning_rate)
        self.smoothness = self._mixed(self.smoothness, slope)
        self.variances = self._mixed(self.variances, variances.mean(axis=0))
        self.squared_norms = self._mixed(self.squared_norms, norms.mean(axis=0))
        self._before, self._kept = weights, KEPT

    def _mixed(self, before: Any, now: Any) -> Any:
        return self._kept * before + (1 - self._kept) * now

    def _of_user(self, weights: Any, user: User, samples: range) -> Any:
        count = max(len(samples) // operators.MICRO_BATCHES, 1) * operators.MICRO_BATCHES
        work = (operators.statistics, self.world.whole, self.blocks, weights, self._before)
        return self.world.executor.submit(*work, *user.batches.run(range(samples.start, samples.start + count)))
