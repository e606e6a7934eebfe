"""The weights of a model that may have adapters, and where the model can be cut between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from learning.adapters.adapted import Adapted, Bound, weights


@dataclass(frozen=True, eq=False)
class AdaptableModel:
    """A model of which each weight with a role in `targets` can have an adapter of any rank, or none.

    Weights are in the order of the model.
    """

    whole: Bound
    """The whole model with its frozen weights. Scaling and initialisation of its adapters hold for all ranks; its own
    ranks are not used."""
    targets: tuple[str, ...]
    """Roles of the weights, such as q, v or fc1."""

    @cached_property
    def sides(self) -> dict[str, tuple[int, int]]:
        """(outputs, inputs) of each weight by its name, such as "3.attend.1.inward.q"."""
        return weights(self.whole.adapted.segment, *self.targets)

    @cached_property
    def max_ranks(self) -> NDArray[np.int64]:
        """(weights,): the largest rank of an adapter on each weight, which is its shorter side."""
        return np.array([min(sides) for sides in self.sides.values()])

    @cached_property
    def cuts(self) -> list[int]:
        """Blocks before which the model can be cut with such weights on either side, ascending."""
        blocks = sorted({self.block(weight) for weight in self.sides})
        return list(range(blocks[0] + 1, blocks[-1] + 1))

    @cached_property
    def below(self) -> NDArray[np.int64]:
        """(cuts,): how many of the weights are on the device at each of `cuts`."""
        return np.array([sum(self.block(weight) < cut for weight in self.sides) for cut in self.cuts])

    def block(self, weight: str) -> int:
        """Number of the block that contains a weight."""
        return self.whole.adapted.segment.block(weight)

    def nearest_cut(self, cut: int) -> int:
        """The possible cut that is nearest to `cut`."""
        return min(self.cuts, key=lambda possible: abs(possible - cut))

    def with_ranks(self, ranks: Mapping[str, int] | int) -> Adapted:
        """The whole model with adapters of these ranks: by name of the weight, or one for all; 0 is no adapter."""
        each = dict.fromkeys(self.sides, ranks) if isinstance(ranks, int) else ranks
        return self.whole.adapted.with_ranks(each)
