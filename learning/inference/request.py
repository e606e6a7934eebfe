"""A request that a model with experts answers: forward passes, one after another, with a cache of keys and values.

user           attention, normalisation and gate of a layer; which experts are chosen is read    for each layer
user <-> site  tokens, and the weighted sums of the experts' outputs, side by side for all sites
user           shared experts, if any, beside the calls
user           head: logits of the class of an image, or of the next token
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from learning.dispatch import TopK
from learning.executor.deferred import Deferred, Value
from learning.inference.operations import answer, expert, trunk
from learning.inference.prefetch import Prefetch
from learning.inference.prefetched import Prefetched
from learning.inference.staged import StagedModel
from learning.inference.timeline import Timeline
from learning.models.stage import Cache
from learning.parties import StandIn, User
from learning.ports import Process
from learning.protocols.expert_layer import ExpertLayer
from learning.protocols.join import join
from learning.routing import Layer, Routing
from learning.world import World


class DistributedModel(NamedTuple):
    """A model with experts, of which users have all but the experts, and sites have these."""

    world: World
    """The world of the run."""
    staged: StagedModel
    """The model in stages."""
    layers: Sequence[ExpertLayer]
    """Its layers of experts, at sites."""
    routing: Routing
    """Stands in for the choice of the gates in dry runs."""
    prefetch: Prefetch | None = None
    """Predicts the experts of the next layer; None fetches nothing ahead."""


class Request:
    """One request of a user at work."""

    def __init__(self, model: DistributedModel, user: User, stream: str, number: int, further: int = 0) -> None:
        """A request that has not begun.

        Args:
            model: the model that answers.
            user: who asks, and computes all but the experts.
            stream: name of the stream of requests.
            number: number of the request among those of the user in the stream.
            further: number of tokens that are to pass after the first pass.
        """
        self.model, self.user, self.stream, self.number = model, user, stream, number
        self._caches: list[Value[Cache]] = [[] for _ in model.staged.stages]
        self._further, self._tokens = further, 0
        self._drawn: dict[int, Tensor] = {}
        prefetch = model.prefetch
        self._prefetched = None if prefetch is None else Prefetched(*model[:3], prefetch, user)

    def forward(self, x: object) -> Process[tuple[Deferred[Tensor], Deferred[Tensor]]]:
        """A forward pass of a sample, or of tokens that follow those of earlier passes.

        `x` is a sample, (1, ...), or the numbers of tokens, (1, tokens). Returns the logits of the class or next token,
        (1, classes), and the best one, (1, 1), both deferred. Writes a row of `forward_passes`.
        """
        (world, staged, layers, *_), user = self.model, self.user
        timeline, inputs = Timeline(world.env.now), [x]
        for number, layer in enumerate(layers):
            residual, hidden, ids, weights, self._caches[number] = yield from user.do(
                trunk, *self._inputs(number, inputs), *self._gating(number, inputs), kind="trunk"
            )
            chosen = yield from user.read(ids, self._stand_in(number))
            timeline.trunk(world.env.now)
            if self._prefetched is not None:
                self._prefetched.settle(number, chosen, self.stream, self.number, self._tokens)
            routed = layer.route(user, chosen, weights, self.number)
            works = [routed.forward(hidden)]
            if staged.shared[number]:
                works.append(user.do(expert, staged.shared[number], hidden, kind="shared_expert"))
            ahead = []
            if self._prefetched is not None and number + 1 < len(layers):
                ahead = [self._prefetched.fetch(number + 1, hidden, chosen, self._stand_in(number + 1))]
            outputs = yield from join(world.env, [*works, *ahead])
            inputs = [residual, *outputs[: len(works)]]
            timeline.experts(routed.calls, world.env.now)
        logits, best, self._caches[-1] = yield from user.do(
            answer, staged.stages[-1], staged.trunks[-1], inputs, self._caches[-1], kind="head"
        )
        timeline.trunk(world.env.now)
        self._record(timeline, len(chosen))
        return logits, best

    def _inputs(self, number: int, inputs: list[Any]) -> tuple[Any, ...]:
        """The arguments of the operation `trunk`."""
        staged = self.model.staged
        return staged.stages[number], staged.trunks[number], inputs, self._caches[number]

    def _gating(self, number: int, inputs: list[Any]) -> tuple[Any, ...]:
        """Further arguments of `trunk`, where experts are not chosen as the model was trained."""
        layer, executor = self.model.layers[number], self.model.world.executor
        gating = layer.policy.gating
        if isinstance(gating, TopK):
            return ()
        if not gating.uses_delays:
            return (gating,)
        tokens = executor.plan(trunk, *self._inputs(number, inputs)).profile.outputs[1].tree
        return gating, layer.delays_s(self.user, tokens[:, :1])

    def _stand_in(self, layer: int) -> StandIn:
        """What dry runs read in place of the gate's choice: draws for the successive tokens of all passes."""

        def chosen(ids: Tensor) -> Tensor:
            tokens, top_k = ids.shape
            if layer not in self._drawn:
                self._drawn[layer] = self._draw(tokens + self._further, top_k, Layer(layer, len(self.model.layers)))
            return self._drawn[layer][self._tokens : self._tokens + tokens]

        return chosen

    def _draw(self, tokens: int, top_k: int, layer: Layer) -> Tensor:
        model, experts = self.model, len(self.model.layers[layer.number].experts)
        named = self.user.number, self.stream, self.number
        return torch.from_numpy(model.routing.draw(model.world.streams, tokens, top_k, experts, *named, layer=layer))

    def _record(self, timeline: Timeline, tokens: int) -> None:
        """Write the row of a pass that has ended."""
        self.model.world.journal.forward_pass(
            user=self.user.number,
            stream=self.stream,
            request=self.number,
            position=self._tokens,
            tokens=tokens,
            start_s=timeline.start_s,
            trunk_s=timeline.trunk_s,
            uplink_s=timeline.uplink_s,
            queue_s=timeline.queue_s,
            expert_s=timeline.expert_s,
            downlink_s=timeline.downlink_s,
            straggle_s=timeline.straggle_s,
        )
        self._tokens += tokens
