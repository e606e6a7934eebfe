"""Constants of the bound on convergence: as a scenario states them, or estimated from gradients during training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

import numpy as np
import torch
from annotated_types import Gt
from torch import Tensor
from torch.func import grad

from learning import steps
from learning.control.cuts.problem import ConvergenceBound, Floats
from learning.control.usable import usable
from learning.executor.deferred import Deferred
from learning.models import Segment
from learning.parties import User
from learning.steps import Weights
from learning.world import World

Parameters = dict[str, Tensor]
Mixed = TypeVar("Mixed", float, Floats)

MICRO_BATCHES = 4
"""Equal parts of a mini-batch whose gradients are compared."""
KEPT = 0.5
"""Weight of the former estimates against those of the latest aggregation."""
MIN_SMOOTHNESS = 0.1
"""Lower bound on the estimate of the Lipschitz constant."""


@dataclass(frozen=True)
class BoundConstants:
    """Constants of the bound on convergence (`ConvergenceBound`), and the target."""

    smoothness: Annotated[float, Gt(0)] = 1.0
    """Lipschitz constant of the gradient."""
    variance: Annotated[float, Gt(0)] = 1.0
    """Variance of one sample's gradient, all blocks together."""
    squared_norm: Annotated[float, Gt(0)] = 0.01
    """Mean squared norm of a mini-batch's gradient, all blocks together."""
    target: Annotated[float, Gt(0)] | None = None
    """Squared gradient norm to be reached (default: 1.2 times the noise and drift terms where all users have 16 samples
    and two blocks)."""
    estimate: bool = False
    """Whether the first three constants are estimated from gradients from the first aggregation on. Decisions then
    depend on values; a dry run, which has none, uses the ones stated here."""


class BoundEstimates:
    """Present estimates of the constants, by block of the model.

    Args:
        world: the world.
        constants: the constants as stated.
        weights: weights of the whole model before training, against which the first change of gradients is measured;
            None where nothing is estimated.
    """

    def __init__(self, world: World, constants: BoundConstants, weights: Weights | None) -> None:
        self.world, self.constants, self.blocks = world, constants, world.chain.blocks
        self.smoothness = constants.smoothness
        self.variances: Floats = np.full(self.blocks, constants.variance / self.blocks)
        self.squared_norms: Floats = np.full(self.blocks, constants.squared_norm / self.blocks)
        self._before, self._kept = weights, 0.0

    def bound(self, interval: int, target: float = 0.0) -> ConvergenceBound:
        """The bound with these constants.

        Args:
            interval: rounds between aggregations.
            target: squared gradient norm to be reached.
        """
        rate = self.world.optimiser.learning_rate
        return ConvergenceBound(self.smoothness, rate, self.variances, self.squared_norms, target, interval)

    def update(self, weights: Weights, mini_batches: Mapping[User, range]) -> None:
        """Update the estimates with gradients at aggregated weights; not charged, since users compute such gradients.

        Users whose gradients are not usable (`learning.control.usable`) are ignored.

        Args:
            weights: weights of the whole model as aggregated.
            mini_batches: a mini-batch of each user, by positions in its sequence of samples.
        """
        if not (self.constants.estimate and self.world.executor.computes):
            return
        seen = self.world.executor.value([self._of_user(weights, *each) for each in mini_batches.items()])
        seen = [each for each in seen if usable(*each)]
        if not seen:
            return
        variances, norms, slopes = (np.array([each[kind].numpy() for each in seen]) for kind in range(3))
        slope = min(max(float(slopes.max()), MIN_SMOOTHNESS), 1 / self.world.optimiser.learning_rate)
        self.smoothness = self._mixed(self.smoothness, slope)
        self.variances = self._mixed(self.variances, variances.mean(axis=0))
        self.squared_norms = self._mixed(self.squared_norms, norms.mean(axis=0))
        self._before, self._kept = weights, KEPT

    def _mixed(self, before: Mixed, now: Mixed) -> Mixed:
        return self._kept * before + (1 - self._kept) * now

    def _of_user(
        self, weights: Weights, user: User, samples: range
    ) -> tuple[Deferred[Tensor], Deferred[Tensor], Deferred[Tensor]]:
        count = max(len(samples) // MICRO_BATCHES, 1) * MICRO_BATCHES
        data = user.batches.run(range(samples.start, samples.start + count))
        return self.world.executor.submit(statistics, self.world.whole, self.blocks, weights, self._before, *data)


def statistics(
    segment: Segment, blocks: int, weights: Parameters, before: Parameters, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Estimate the constants of the bound from one mini-batch in `MICRO_BATCHES` equal parts.

    Args:
        segment: the whole model.
        blocks: its number of blocks.
        weights: its parameters, by name.
        before: its parameters at the last aggregation.
        x: samples, (samples, ...).
        y: labels, (samples,).

    Returns:
        (blocks,): variance of one sample's gradient; (blocks,): squared norm of the mini-batch's gradient; and the
        ratio of the change of the gradient to that of the parameters since `before`, 0 where they did not change.
    """

    def loss(parameters: Parameters, x: Tensor, y: Tensor) -> Tensor:
        return steps.mean_loss(segment(parameters, x), y)

    gradient, size = grad(loss), x.shape[0] // MICRO_BATCHES
    micro = [gradient(weights, *each) for each in zip(x.chunk(MICRO_BATCHES), y.chunk(MICRO_BATCHES), strict=True)]
    mean = {name: torch.stack([each[name] for each in micro]).mean(0) for name in weights}
    spread = [_squares({name: each[name] - mean[name] for name in mean}, blocks) for each in micro]
    earlier = gradient(before, x, y)
    turned = _squares({name: mean[name] - earlier[name] for name in mean}, blocks).sum()
    moved = _squares({name: weights[name] - before[name] for name in mean}, blocks).sum()
    smoothness = torch.where(moved > 0, (turned / moved.clamp(min=torch.finfo(moved.dtype).tiny)).sqrt(), 0)
    return size * torch.stack(spread).sum(0) / (MICRO_BATCHES - 1), _squares(mean, blocks), smoothness


def _squares(tree: Parameters, blocks: int) -> Tensor:
    """(blocks,): squared norms of the entries of each block."""
    some = next(iter(tree.values()))
    sums = [
        sum((v.square().sum() for n, v in tree.items() if steps.block(n) == each), some.new_zeros(()))
        for each in range(blocks)
    ]
    return torch.stack(sums)
