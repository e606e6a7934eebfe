"""What one request prefetches: the experts that are predicted for the next layer, and whether they were needed."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from learning.inference.prefetch import Ahead, Prefetch
from learning.inference.staged import StagedModel
from learning.parties import StandIn, User
from learning.ports import Timed
from learning.protocols.expert_layer import ExpertLayer
from learning.protocols.experts import Tokens
from learning.routing import Layer
from learning.world import World


class Prefetched:
    """The prefetches of one request, layer after layer."""

    def __init__(
        self, world: World, staged: StagedModel, layers: Sequence[ExpertLayer], prefetch: Prefetch, user: User
    ) -> None:
        """The request of a user that has not begun; the others as in `DistributedModel`."""
        self.world, self.staged, self.layers, self.prefetch, self.user = world, staged, layers, prefetch, user
        self._bits: dict[int, int] = {}  # bits sent for each expert that is predicted for the next layer

    def fetch(self, number: int, tokens: Tokens, chosen: Tensor, stand_in: StandIn) -> Timed:
        """Predict what tokens choose in layer `number`, and let the user's cache fetch it, which goes on by itself.

        Args:
            number: number of the layer.
            tokens: normalised tokens of the layer before it, (1, tokens, width).
            chosen: their experts there, (tokens, top_k).
            stand_in: makes the choice of layer `number` in dry runs.
        """
        layer = Layer(number, len(self.layers))
        predicted = yield from self.prefetch.predict(
            Ahead(self.user, layer, self.staged.gates[number], tokens, chosen, stand_in)
        )
        for expert in dict.fromkeys(predicted.T.flatten().tolist()):  # best guesses first
            self._bits[expert] = self.layers[number].prefetch(self.user, expert)

    def settle(self, number: int, chosen: Tensor, stream: str, request: int, position: int) -> None:
        """Write the rows of what was predicted for layer `number`, whose choice `chosen` is known now."""
        sites, needed = self.layers[number].sites, set(chosen.flatten().tolist())
        for expert, bits in self._bits.items():
            self.world.journal.prefetch(
                user=self.user.number,
                stream=stream,
                request=request,
                position=position,
                layer=number,
                expert=expert,
                bits=bits,
                needed=expert in needed,
                in_time=sites.hits(sites.holders(self.user, expert)),
            )
        self._bits = {}
