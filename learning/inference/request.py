"""A request that a model with experts answers: forward passes, one after another, with a cache of keys and values.

user           attention, normalisation and gate of a layer; which experts are chosen is read    for each layer
user <-> site  tokens, and the weighted sums of the experts' outputs, side by side for all sites
user           shared experts, if any, beside the calls
user           head: logits of the class of an image, or of the next token

With the gate at the station, its server calls the experts:

user              attention and normalisation of a layer                                         for each layer
user -> server    tokens
server            gate; which experts are chosen is read
server <-> site   tokens and sums, as above
server -> user    the sums over all experts

A prompt may pass in chunks. A stage of a chunk begins when that of the chunk before it has ended, whose keys and values
it needs; the calls of experts of different chunks overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import simpy
import torch
from torch import Tensor

from learning.dispatch import TopK
from learning.executor.deferred import Deferred, Value, specification
from learning.inference.operations import answer, attended, choice, expert, extended, prompt, trunk
from learning.inference.prefetch import Prefetch
from learning.inference.prefetched import Prefetched
from learning.inference.staged import StagedModel
from learning.inference.timeline import Timeline
from learning.models.stage import Cache
from learning.parties import Server, StandIn, User
from learning.ports import Process, Timed
from learning.protocols.caller import KIND, StationCaller, UserCaller
from learning.protocols.expert_layer import ExpertLayer, RoutedTokens
from learning.protocols.join import join
from learning.routing import Layer, Routing
from learning.steps import Parameters
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
    gate_at: Callable[[User], Server] | None = None
    """The server at a user's station, which has the gates; None has them at the user."""


class Request:
    """One request of a user at work."""

    def __init__(
        self, model: DistributedModel, user: User, stream: str, number: int, tokens: int | None = None
    ) -> None:
        """A request that has not begun.

        Args:
            model: the model that answers.
            user: who asks, and computes all but the experts.
            stream: name of the stream of requests.
            number: number of the request among those of the user in the stream.
            tokens: number of tokens that are to pass altogether; None is those of the only pass.
        """
        self.model, self.user, self.stream, self.number = model, user, stream, number
        self.caches: list[Value[Cache]] = [[] for _ in model.staged.stages]
        """Keys and values of the tokens that have passed, for each stage."""
        self._tokens = tokens
        self._drawn: dict[int, Tensor] = {}

    def forward(self, x: object, position: int = 0) -> Process[tuple[Deferred[Tensor], Deferred[Tensor]]]:
        """A forward pass of a sample, or of tokens that follow `position` earlier ones.

        `x` is a sample, (1, ...), or the numbers of tokens, (1, tokens). Returns the logits of the class or next token,
        (1, classes), and the best one, (1, 1), both deferred. Writes a row of `forward_passes`.
        """
        forward = Pass(self, position)
        return (yield from forward.answer((yield from forward.layers(x))))

    def prefill(self, x: object, tokens: int, chunk: int | None) -> Process[tuple[Deferred[Tensor], Deferred[Tensor]]]:
        """The pass of a prompt, the first `tokens` tokens of a sample x, (1, t), as in `forward`.

        With `chunk` there is one pass, with a row of its own, for each so many tokens; they go on side by side.
        """
        env, submit = self.model.world.env, self.model.world.executor.submit
        works, former = [], None
        for start in range(0, tokens, chunk or tokens):
            stop = min(start + (chunk or tokens), tokens)
            own = [env.event() for _ in self.model.staged.stages]
            part = Pass(self, start, former, own)
            works.append(self._part(part, submit(prompt, x, start, stop), last=stop == tokens))
            former = own
        *_, answered = yield from join(env, works)
        assert answered is not None
        return answered

    def _part(self, part: Pass, x: object, *, last: bool) -> Process[tuple[Deferred[Tensor], Deferred[Tensor]] | None]:
        """The pass of one chunk of a prompt; the last one answers."""
        inputs = yield from part.layers(x)
        if last:
            return (yield from part.answer(inputs))
        yield from part.extend(inputs)
        return None

    def stand_in(self, layer: int, position: int) -> StandIn:
        """What dry runs read in place of the gate's choice: draws for the successive tokens of all passes."""

        def chosen(ids: Tensor) -> Tensor:
            tokens, top_k = ids.shape
            if layer not in self._drawn:
                self._drawn[layer] = self._draw(self._tokens or tokens, top_k, Layer(layer, len(self.model.layers)))
            return self._drawn[layer][position : position + tokens]

        return chosen

    def _draw(self, tokens: int, top_k: int, layer: Layer) -> Tensor:
        model, experts = self.model, len(self.model.layers[layer.number].experts)
        named = self.user.number, self.stream, self.number
        return torch.from_numpy(model.routing.draw(model.world.streams, tokens, top_k, experts, *named, layer=layer))


class Pass:
    """One forward pass of a request."""

    def __init__(
        self,
        request: Request,
        position: int,
        after: Sequence[simpy.Event] | None = None,
        done: Sequence[simpy.Event] | None = None,
    ) -> None:
        """A pass that has not begun.

        Args:
            request: the request.
            position: tokens that have passed before.
            after: for each stage the event after which it may begin; None is at once.
            done: for each stage the event of its end; None tells nobody.
        """
        self.request, self.position, self.after, self.done = request, position, after, done
        self.model, self.user = request.model, request.user
        self.env, self.tokens = request.model.world.env, 0
        prefetch = self.model.prefetch
        self._prefetched = None if prefetch is None else Prefetched(*self.model[:3], prefetch, self.user)

    def layers(self, x: object) -> Process[list[Any]]:
        """All layers with experts; returns the inputs of the last stage."""
        staged, inputs = self.model.staged, [x]
        yield from self._turn(0)
        self.timeline = Timeline(self.env.now)
        for number, layer in enumerate(self.model.layers):
            if number:
                yield from self._turn(number)
            server = None if self.model.gate_at is None else self.model.gate_at(self.user)
            residual, hidden, chosen, weights = yield from self._trunk(number, inputs, server)
            self.tokens = len(chosen)
            if self._prefetched is not None:
                request = self.request
                self._prefetched.settle(number, chosen, request.stream, request.number, self.position)
            routed = layer.route(self.user, chosen, weights, self.request.number, server)
            works = [self._experts(layer, routed, hidden, server)]
            if staged.shared[number]:
                works.append(self.user.do(expert, staged.shared[number], hidden, kind="shared_expert"))
            ahead = []
            if self._prefetched is not None and number + 1 < len(self.model.layers):
                stand_in = self.request.stand_in(number + 1, self.position)
                ahead = [self._prefetched.fetch(number + 1, hidden, chosen, stand_in)]
            outputs = yield from join(self.env, [*works, *ahead])
            inputs = [residual, *outputs[: len(works)]]
            self.timeline.straggle(self.env.now)
        yield from self._turn(-1)
        return inputs

    def answer(self, inputs: list[Any]) -> Process[tuple[Deferred[Tensor], Deferred[Tensor]]]:
        """The last stage, with the head; returns logits and the best class or token."""
        staged, caches = self.model.staged, self.request.caches
        logits, best, caches[-1] = yield from self.user.do(
            answer, staged.stages[-1], self._value(staged.trunks[-1]), inputs, caches[-1], kind="head"
        )
        self._end()
        return logits, best

    def extend(self, inputs: list[Any]) -> Timed:
        """The last stage without the head: its dense layers, if any, keep keys and values for later tokens."""
        staged, caches = self.model.staged, self.request.caches
        if staged.dense is not None:
            stage = staged.dense, self._value(staged.dense_weights)
            caches[-1] = yield from self.user.do(extended, *stage, inputs, caches[-1], kind="trunk")
        self._end()

    def _turn(self, stage: int) -> Timed:
        """Wait until a stage of the pass before has ended."""
        if self.after is not None:
            yield self.after[stage]

    def _ended(self, stage: int) -> None:
        """A stage on the user's device has ended."""
        self.timeline.trunk(self.env.now)
        if self.done is not None:
            self.done[stage].succeed()

    def _trunk(
        self, number: int, inputs: list[Any], server: Server | None
    ) -> Process[tuple[Deferred[Tensor], Deferred[Tensor], Tensor, Deferred[Tensor]]]:
        """A stage up to the experts, with the gate at the user, or at a server.

        Returns residual and normalised tokens, and number and weights of the experts of each token.
        """
        staged, caches, user = self.model.staged, self.request.caches, self.user
        stage, cache, gating = staged.stages[number], caches[number], self._gating(number, inputs, server)
        if server is None:
            residual, hidden, ids, weights, caches[number] = yield from user.do(
                trunk, stage, self._value(staged.trunks[number]), inputs, cache, *gating, kind="trunk"
            )
            self._ended(number)
        else:
            residual, hidden, caches[number] = yield from user.do(
                attended, stage, self._value(staged.attended[number]), inputs, cache, kind="trunk"
            )
            self._ended(number)
            yield from user.node.send(server.node, self._bits(number, hidden), KIND)
            self.timeline.uplink(self.env.now)
            gate = stage, staged.gates[number], hidden
            ids, weights = yield from server.do(choice, *gate, *gating, kind="gate", user=user)
            self.timeline.trunk(self.env.now)
        chosen = yield from user.read(ids, self.request.stand_in(number, self.position))
        return residual, hidden, chosen, weights

    def _experts(
        self, layer: ExpertLayer, routed: RoutedTokens, hidden: Deferred[Tensor], server: Server | None
    ) -> Process[Deferred[Tensor]]:
        """Call the experts; returns the weighted sums of their outputs when the user has them."""
        sums = yield from routed.forward(hidden)
        self.timeline.experts(routed.calls, self.env.now)
        if server is not None:
            yield from server.node.send(self.user.node, self._bits(layer.number, hidden), KIND)
            self.timeline.downlink(self.env.now)
        return sums

    def _value(self, weights: Parameters) -> Deferred[Parameters]:
        return self.model.staged.value(self.model.world.executor, weights)

    def _bits(self, number: int, hidden: Deferred[Tensor]) -> int:
        """Size of a message with all tokens of the pass."""
        (leaf,) = specification(hidden).leaves
        return self.model.layers[number].plain_bits(leaf, leaf.shape[-2])

    def _gating(self, number: int, inputs: list[Any], server: Server | None) -> tuple[Any, ...]:
        """Further arguments of the gate, where experts are not chosen as the model was trained."""
        layer, staged = self.model.layers[number], self.model.staged
        gating = layer.policy.gating
        if isinstance(gating, TopK):
            return ()
        if not gating.uses_delays:
            return (gating,)
        given = staged.stages[number], self._value(staged.trunks[number]), inputs, self.request.caches[number]
        tokens = self.model.world.executor.plan(trunk, *given).profile.outputs[1].tree
        caller = UserCaller(self.user) if server is None else StationCaller(self.user, server)
        return gating, layer.delays_s(caller, tokens[:, :1])

    def _end(self) -> None:
        """End the pass, and write its row."""
        self._ended(-1)
        timeline = self.timeline
        self.model.world.journal.forward_pass(
            user=self.user.number,
            stream=self.request.stream,
            request=self.request.number,
            position=self.position,
            tokens=self.tokens,
            start_s=timeline.start_s,
            trunk_s=timeline.trunk_s,
            uplink_s=timeline.uplink_s,
            queue_s=timeline.queue_s,
            expert_s=timeline.expert_s,
            downlink_s=timeline.downlink_s,
            straggle_s=timeline.straggle_s,
        )
