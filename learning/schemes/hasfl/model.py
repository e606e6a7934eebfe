"""The global model under HASFL: blocks that are the users' own, as aggregated last, and common ones."""

from __future__ import annotations

from typing import Any

import torch

from learning import steps
from learning.optimisers import Optimiser
from learning.schemes.hasfl.situation import plain
from learning.world import World


class Model:
    """It begins undivided, with all blocks common."""

    def __init__(self, world: World) -> None:
        self.world, self.blocks, self.deepest = world, plain(world.whole).blocks, 0
        self.own: Any = {}
        """Weights of the users' own blocks, from the first to the deepest cut."""
        self.common: Any = world.initial(world.whole)
        self.state: Any = None

    @property
    def whole(self) -> Any:
        """Weights of all blocks."""
        return self.world.executor.submit(steps.merge, self.own, self.common)

    def divide(self, deepest: int) -> None:
        """From now on blocks above the deepest cut are common; if these are others, their optimiser starts afresh."""
        if deepest == self.deepest:
            return
        whole, submit = self.whole, self.world.executor.submit
        self.own = submit(steps.part, whole, 0, deepest)
        self.common = submit(steps.part, whole, deepest, self.blocks)
        self.state = fresh_state(self.world, self.world.server_optimiser, deepest, self.blocks)
        self.deepest = deepest

    def step(self, gradients: list[Any], weights: tuple[float, ...]) -> None:
        """The common blocks go a step along the mean gradient."""
        step = (steps.apply_mean, self.world.server_optimiser, self.common, self.state, gradients, weights)
        self.common, self.state = self.world.executor.submit(*step)


def names(world: World, start: int, stop: int) -> list[str]:
    """What trains of blocks `start` to `stop` (exclusive)."""
    return list(steps.part(world.whole.parameters(), start, stop))


def fresh_state(world: World, optimiser: Optimiser, start: int, stop: int) -> Any:
    """State of an optimiser before the first step of these blocks."""
    shapes = steps.part(world.whole.parameters(), start, stop)
    weights = {name: torch.zeros(shape.shape, dtype=world.precision) for name, shape in shapes.items()}
    return optimiser.init(weights) if weights else ()
