"""The backbone under HSplitLoRA: as the server has it, with the increments merged so far, and as a device has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from learning import steps
from learning.adapters import AdaptableModel, Adapted, Bound
from learning.control.ranks import RankPlan
from learning.executor.deferred import Deferred
from learning.models import Segment
from learning.optimisers import Optimiser
from learning.schemes.hsplitlora import operators
from learning.schemes.hsplitlora.operators import Tree
from learning.steps import State, Weights
from learning.world import World


class AdapterUpdate(NamedTuple):
    """Result of a user's round, as the server has it."""

    adapted: Adapted
    """The whole model with the user's ranks."""
    parameters: Deferred[Tree]
    """Its adapters on the device and at the server, and its head."""
    scores: Weights
    """Importance of each weight, by name; empty where no probe was due."""


@dataclass
class DeviceBackbone:
    """The blocks of the backbone that a user's device holds."""

    blocks: int = 0
    """Number of blocks, from the first on."""
    version: int = 0
    """Number of aggregations that are merged into them."""
    plan: RankPlan | None = None
    """The cut and ranks that it received last; None before the first."""


class Backbone:
    """The server's backbone: frozen weights with all increments merged so far, the head, and increments not yet sent.

    `model` is the model with adapters at the beginning of training.
    """

    def __init__(self, world: World, model: AdaptableModel) -> None:
        adapted = model.whole.adapted
        self.world, self.model = world, model
        self.frozen: Weights = model.whole.frozen
        self.head: Weights = {n: v for n, v in world.initial(model.whole).items() if not adapted.of_adapter(n)}
        self.version = 0
        """Number of aggregations that are merged."""
        self._increments: dict[int, Deferred[Tree]] = {}
        self._parts: dict[tuple[int, int], Deferred[Tree]] = {}

    @property
    def whole(self) -> tuple[Bound, Weights]:
        """The model without adapters, whose increments are merged, and the head."""
        return self.model.with_ranks(0).bind(self.frozen), self.head

    def part(self, start: int, stop: int) -> Deferred[Tree]:
        """Frozen weights of blocks `start` to `stop` (exclusive): the same deferred value for all users."""
        if (start, stop) not in self._parts:
            self._parts[start, stop] = self.world.executor.submit(steps.part, self.frozen, start, stop)
        return self._parts[start, stop]

    def segment(self, stop: int) -> Segment:
        """The blocks before `stop`."""
        return self.model.whole.adapted.segment.cut(stop)[0]

    def cut(self, plan: RankPlan) -> tuple[Bound, Bound]:
        """The device's and the server's part of a user's model."""
        whole = self.model.with_ranks(plan.ranks)
        front, back = whole.cut(plan.cut)
        return front.bind(self.part(0, plan.cut)), back.bind(self.part(plan.cut, whole.blocks))

    def merge(self, frozen: Deferred[Tree], head: Deferred[Tree], increments: Deferred[Tree]) -> None:
        """Set frozen weights and head to the results of an aggregation, which added these increments."""
        self.frozen, self.head, self._parts = frozen, head, {}
        self._increments[self.version] = increments
        self.version += 1

    def increments(self, since: int, stop: int) -> Deferred[Tree]:
        """Increments of the blocks before `stop` from version `since` on, as they are sent."""
        added = [self._increments[version] for version in range(since, self.version)]
        return self.world.executor.submit(operators.joined, stop, added)

    def forget(self, devices: Iterable[DeviceBackbone]) -> None:
        """Delete increments that all devices with any blocks have received."""
        oldest = min((each.version for each in devices if each.blocks), default=self.version)
        self._increments = {version: each for version, each in self._increments.items() if version >= oldest}


def fresh(world: World, part: Bound, optimiser: Optimiser, *entity: int) -> tuple[Weights, State]:
    """Newly drawn adapters of a part, and the initial state of its optimiser.

    Args:
        world: the world, for its streams and its precision.
        part: the part of the model.
        optimiser: the optimiser; its state is of all trained parameters of the part, the head included.
        entity: names of the draw, such as numbers of user and round.

    Returns:
        The factors by name, and the state; () where nothing in the part is trained.
    """
    adapters = part.adapted.adapters(world.streams, *entity, dtype=world.precision)
    weights = {name: torch.zeros(shape.shape, dtype=world.precision) for name, shape in part.parameters().items()}
    return adapters, optimiser.init(weights) if weights else ()
