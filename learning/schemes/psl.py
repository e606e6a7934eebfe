"""Parallel split learning: joint server steps, device parts that are never averaged. [GAPSL's baseline definition]

As SFL with an interval without end. Users end with models of their own: accuracy is reported as their mean, least and
largest on the common test set.
"""

from dataclasses import dataclass
from typing import Literal

from learning.parties import Promise
from learning.protocols.split import Link
from learning.schemes.sfl import SFL
from learning.world import World


@dataclass(frozen=True)
class PSL:
    """Parallel split learning: one joint server step a round, every user keeps a device part of its own."""

    weights: Literal["uniform", "data"] = "uniform"
    """Whether all users count alike, or a user counts by its samples."""
    link: Link = Link()
    """What crosses the cut."""

    def run(self, world: World) -> Promise:
        return SFL(interval=None, weights=self.weights, link=self.link).run(world)
