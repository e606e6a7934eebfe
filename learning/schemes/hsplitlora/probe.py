"""How important weights are to one user: seen in a step that is taken anyway, reported in one number a weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from learning import steps
from learning.adapters import Bound
from learning.codecs import Codec, FixedWidth
from learning.control.ranks import back_scores, front_scores, relative_cost
from learning.data import Inputs, Rows
from learning.parties import User
from learning.ports import Process
from learning.protocols.split import ServerPart
from learning.world import World


@dataclass(frozen=True)
class Probe:
    """Of all weights that may have adapters, with their (outputs, inputs)."""

    world: World
    sides: Mapping[str, tuple[int, int]]

    def of(self, user: User, replica: ServerPart, back: Bound, gradients: Codec) -> Seen:
        """What a user's step is about to show."""
        return Seen(self, user, replica, back, gradients)

    def costs(self, part: Bound) -> dict[str, float]:
        """Relative costs of the weights in a part of the model."""
        blocks = range(part.adapted.segment.start, part.adapted.segment.stop)
        return {weight: cost for weight, cost in relative_cost(self.sides).items() if steps.block(weight) in blocks}


@dataclass
class Seen:
    """One user's step with a probe."""

    probe: Probe
    user: User
    replica: ServerPart
    back: Bound
    gradients: Codec
    dz: Any = None
    above: Any = None
    """Scores of the weights at the server."""

    def serve(self, user: User, z: Any, y: Rows) -> Process[Any]:
        """As the replica does, and the scores of its weights."""
        world, back = self.probe.world, self.back
        work = (back_scores, back.adapted, self.probe.costs(back), self.replica.weights, back.frozen, z, y)
        self.dz = yield from self.replica.serve(user, z, y)
        self.above = yield from world.server.do(*work, kind="probe", user=user)
        return self.dz

    def report(self, front: Bound, weights: Any, x: Inputs) -> Process[Any]:
        """Scores of the device's weights, sent to the server; then those of all weights.

        Where nothing on the device trains, the cut-layer gradient is sent for this alone.
        """
        world, costs = self.probe.world, self.probe.costs(front)
        if not front.parameters():
            self.dz = yield from world.server.send(self.user, self.dz, "gradient", self.gradients)
        work = (front_scores, front.adapted, costs, weights, front.frozen, x, self.dz)
        below = yield from self.user.do(*work, kind="probe")
        below = yield from self.user.send(world.server, below, "importance", FixedWidth(32))
        return below, self.above
