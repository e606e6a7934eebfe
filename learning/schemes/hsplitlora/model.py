"""The backbone under HSplitLoRA as it is merged by now, and what a device has of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from learning import steps
from learning.adapters import Adapted, Bound
from learning.codecs import FixedWidth
from learning.executor.deferred import specification
from learning.optimisers import Optimiser
from learning.parties import User
from learning.ports import Process
from learning.schemes.hsplitlora import operators
from learning.world import World


class Configuration(NamedTuple):
    """What a user is told: where the model is cut, and which weights have which ranks, on both sides."""

    cut: int
    adapted: Adapted
    device_ranks: dict[str, int]
    """Rank of each weight on the device; 0 for a weight without an adapter."""


class Result(NamedTuple):
    """What the server has of a user at the end of a round."""

    adapted: Adapted
    parameters: Any
    scores: tuple[Any, ...]
    """Of weights on the device and at the server; nothing where none were asked for."""


class Model:
    """The backbone, which is frozen within a round, the head, and the increments that were merged so far."""

    def __init__(self, world: World, plain: Adapted) -> None:
        """`plain` is the whole model without adapters."""
        whole: Any = world.whole
        self.world, self.plain = world, plain
        self.frozen: Any = whole.frozen
        self.head: Any = {n: v for n, v in world.initial(whole).items() if not whole.adapted.of_adapter(n)}
        self.version = 0
        """How many aggregations it has seen."""
        self._messages: dict[int, Any] = {}
        self._parts: dict[tuple[int, int], Any] = {}

    def part(self, start: int, stop: int) -> Any:
        """Frozen weights of blocks `start` to `stop` (exclusive), one deferred value, whoever asks."""
        if (start, stop) not in self._parts:
            self._parts[start, stop] = self.world.executor.submit(steps.part, self.frozen, start, stop)
        return self._parts[start, stop]

    def cut(self, configuration: Configuration) -> tuple[Bound, Bound]:
        """Device's and server's part."""
        front, back = configuration.adapted.cut(configuration.cut)
        return front.bind(self.part(0, configuration.cut)), back.bind(self.part(configuration.cut, self.plain.blocks))

    def above(self, adapters: Any) -> Any:
        """What trains at the server: a user's adapters there, and the head."""
        return self.world.executor.submit(steps.merge, adapters, self.head)

    def aggregate(
        self, rule: operators.Rule, over: operators.Over, results: Sequence[Result], weights: tuple[float, ...]
    ) -> Process[Any]:
        """Increments of all users are merged into the backbone; heads are averaged."""
        adapted, trees = [each.adapted for each in results], [each.parameters for each in results]
        work = (operators.aggregated, rule, over, adapted, self.frozen, trees, weights)
        self.frozen, self.head, message = yield from self.world.server.do(*work, kind="aggregation")
        self._messages[self.version] = message
        self.version += 1
        self._parts = {}

    def update(self, since: int, stop: int) -> Any:
        """What was added to the blocks before `stop` from a version on."""
        messages = [self._messages[version] for version in range(since, self.version)]
        return self.world.executor.submit(operators.update, stop, messages)

    def forget(self, devices: Sequence[Device]) -> None:
        """Increments that every device has are not kept."""
        oldest = min((each.version for each in devices if each.held), default=self.version)
        self._messages = {version: each for version, each in self._messages.items() if version >= oldest}


@dataclass
class Device:
    """What a user's device holds of the backbone."""

    held: int = 0
    """Blocks."""
    version: int = 0
    """Aggregations merged into them."""
    configuration: Configuration | None = None

    def receive(self, world: World, user: User, model: Model, configuration: Configuration) -> Process[Any]:
        """Configuration, increments since it last took part, and frozen blocks that it does not have yet."""
        if configuration != self.configuration:
            told = configuration.cut, configuration.device_ranks
            yield from world.server.send(user, told, "configuration", FixedWidth(8))
            self.configuration = configuration
        known = min(self.held, configuration.cut)
        if known and self.version < model.version:
            yield from self._merge(world, user, model, known)
        if known < configuration.cut:
            kind = "migration" if known else "backbone"
            yield from world.server.send(user, model.part(known, configuration.cut), kind)
        self.held, self.version = configuration.cut, model.version

    def _merge(self, world: World, user: User, model: Model, known: int) -> Process[Any]:
        """The device adds to its blocks what the server has added to its own; the result is the server's."""
        update = model.update(self.version, known)
        if specification(update).leaves:
            update = yield from world.server.send(user, update, "model")
            front = model.plain.cut(known)[0]
            yield from user.do(operators.received, front, model.part(0, known), update, kind="merge")


def fresh_state(world: World, optimiser: Optimiser, part: Bound) -> Any:
    """State of an optimiser before the first step of what trains of a part."""
    shapes = part.parameters()
    weights = {name: torch.zeros(shape.shape, dtype=world.precision) for name, shape in shapes.items()}
    return optimiser.init(weights) if weights else ()
