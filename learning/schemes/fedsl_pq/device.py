"""A device under FedSL-PQ: what it holds between rounds, and its random numbers."""

from __future__ import annotations

from dataclasses import dataclass

from learning import steps
from learning.data import Inputs
from learning.draws import Draw
from learning.parties import User
from learning.protocols.split import ServerPart
from learning.reducers.dropout import Dropout
from learning.steps import State, Weights
from learning.world import World


@dataclass
class PrunedDevice:
    """A pruned device part, its optimiser and mask, and the times of the user's last round."""

    world: World
    user: User
    weights: Weights
    state: State
    """State of its optimiser."""
    replica: ServerPart
    """The user's server part, where every user has one of its own."""
    mask: Weights | None = None
    """Which weights are kept; None before the first mask of an interval."""
    gradients: Weights | None = None
    """The last gradients, neither masked nor quantised."""
    rate: float = 0.0
    """Share of the prunable weights that is pruned."""
    compute_s: float = 0.0
    """Time of the forward and backward pass in the last round whose passes it finished."""
    other_s: float | None = None
    """Time of everything else in that round: messages, and the server's work. None before it."""

    @property
    def density(self) -> float:
        """Share of the dense FLOPs that a pass costs, by the sparse cost model."""
        return 1 - self.rate

    def dropout_draw(self, dropout: Dropout, number: int, x: Inputs) -> Draw | None:
        """Uniform numbers that decide in round `number` what is dropped of a mini-batch; None without dropout."""
        if not dropout.rate:
            return None
        z = self.world.executor.plan(steps.front, self.world.front, self.weights, x).profile.outputs[0].tree
        shape = dropout.draw_shape(tuple(z.shape))
        return Draw(self.world.streams, "dropout", (self.user.number, number), shape, z.dtype)

    def rounding_draws(self, number: int) -> dict[str, Draw]:
        """Uniform numbers for the stochastic rounding of the device part's gradients in round `number`, by name."""
        streams, precision = self.world.streams, self.world.precision
        shapes = {name: tuple(value.shape) for name, value in self.world.front.parameters().items()}
        return {
            name: Draw(streams, "gradient rounding", (self.user.number, number, name), shape, precision)
            for name, shape in shapes.items()
        }
