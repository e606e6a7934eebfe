"""A device under FedSL-PQ: its state between rounds, and its random numbers."""

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
    """State of the device's optimiser."""
    replica: ServerPart
    """The user's replica of the server part, in the mode `per_client`."""
    mask: Weights | None = None
    """Which weights are kept, as boolean tensors by name; None before the first mask of an interval."""
    gradients: Weights | None = None
    """Gradients of the last step, neither masked nor quantised; None before the first."""
    rate: float = 0.0
    """Share of the prunable weights that is pruned."""
    compute_s: float = 0.0
    """Time of the forward and backward pass in the last round in which the device finished both."""
    other_s: float | None = None
    """Time of everything else in that round: messages and the server's work. None before such a round."""

    @property
    def density(self) -> float:
        """Fraction of the dense FLOPs that a forward or backward pass costs, by the sparse cost model."""
        return 1 - self.rate

    def dropout_draw(self, dropout: Dropout, number: int, x: Inputs) -> Draw | None:
        """Uniform numbers of the dropout of the mini-batch `x` in round `number`; None without dropout."""
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
