"""A layer of a mixture of experts over a network: the gate has chosen, the chosen experts are called side by side.

user            which experts the gate has chosen for each token is read
user            a site is selected for each expert; for those that only the origin holds, what to do instead
user -> site    hidden states, and the outputs of all experts called there back   for each selected site
user            the weighted outputs are summed when the last answer is in
user -> site    gradients of the sums, and of the hidden states back              likewise, where the layer trains
site            keeps the gradients of the experts' weights

The gate alone decides which tokens go to which expert, and outputs are summed in the order of the experts. So no value
depends on where experts are, nor on whose answer arrives first, unless misses are skipped or substituted.
[Shazeer et al., ICLR 2017, arXiv 1701.06538; experts at the wireless edge: Xue et al., arXiv 2411.06681]
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from math import inf

import simpy
import torch
from torch import Tensor

from learning import steps
from learning.dispatch import pairs
from learning.dispatch.misses import similarities
from learning.dispatch.pairs import Pairs
from learning.dispatch.weights import NO_EXPERT, renormalised, renormalised_gradient
from learning.executor.deferred import Deferred, Operation, Value, specification
from learning.expert_parameters import Expert
from learning.parties import Server, User
from learning.ports import Process
from learning.protocols.caller import Caller, StationCaller, UserCaller, call_s
from learning.protocols.expert_dispatch import Dispatch, DispatchPolicy
from learning.protocols.expert_sites import ExpertSites
from learning.protocols.experts import Exchange, ExpertWork, SiteCall, Tokens, rows
from learning.protocols.split import JointPart
from learning.world import World


class ExpertLayer:
    """A layer of experts that are held by sites. Their weights stay constant while users call them, until `step`."""

    def __init__(
        self,
        world: World,
        number: int,
        sites: Sequence[Server],
        part: steps.Part,
        weights: Sequence[steps.Parameters],
        cache: Callable[[User], Server] | None = None,
        policy: DispatchPolicy = DispatchPolicy(),  # noqa: B008 (frozen)
        layers: int = 1,
    ) -> None:
        """A layer whose experts begin with these weights.

        Args:
            world: the world of the run.
            number: number of the layer, from 0.
            sites: where users call experts, beside their own devices. The last of them is the origin, such as a cloud
                with all experts: an expert that no other site holds is a miss.
            part: what every expert computes, of its weights and tokens (..., tokens, width): (..., tokens, width of
                outputs).
            weights: the weights of each expert.
            cache: the one of `sites` that fetches missing experts on behalf of a user, as its eviction policy allows;
                None is none. The weights cannot be trained then.
            policy: selection of sites, treatment of misses, and contents of messages.
            layers: number of layers of experts of the model, all of which the names of experts in messages distinguish.
        """
        self.world, self.number, self.part, self.policy = world, number, part, policy
        self.sites = ExpertSites(world, number, sites, cache)
        self.experts = [JointPart(world, each, world.server_optimiser.init(each), part) for each in weights]
        self._parameter_names = tuple(weights[0])
        self.names = layers * len(weights)
        """Number of experts of the model."""
        self._callers: list[set[User]] = [set() for _ in weights]
        self._similarity: Tensor | None = None
        self._exchanges: dict[Hashable, Exchange] = {}
        self._works: dict[Hashable, ExpertWork] = {}
        self._values: dict[int, Deferred[steps.Parameters]] = {}

    @property
    def weights(self) -> list[steps.Weights]:
        """The weights of each expert."""
        return [expert.weights for expert in self.experts]

    def value(self, expert: int) -> Deferred[steps.Parameters]:
        """The weights of an expert, as calls are planned with them: one value, of the same form for all experts."""
        if expert not in self._values:
            self._values[expert] = self.world.executor.submit(
                pairs.renamed, self.weights[expert], self._parameter_names
            )
        return self._values[expert]

    def store(self, expert: int, site: Server) -> None:
        """Store an expert at a site. Raises ValueError if there is not so much space."""
        site.hold(Expert(self.number, expert), self.experts[expert].weights)

    def route(
        self,
        user: User,
        chosen: Tensor,
        weights: Value[Tensor] | None = None,
        request: int | None = None,
        server: Server | None = None,
    ) -> RoutedTokens:
        """A user's tokens on their way through the layer.

        Args:
            user: the user.
            chosen: the experts of each token, (tokens,) or (tokens, top_k), integers that have been read; `NO_EXPERT`
                is none.
            weights: the gate's weight of each of them, (tokens, top_k); None sums the outputs as they are.
            request: number of the user's request, for the table `expert_calls`; None in training.
            server: the server at the user's station, if it calls the experts; None is the user's device.
        """
        caller = UserCaller(user) if server is None else StationCaller(user, server)
        return RoutedTokens(self, caller, chosen, weights, request)

    def replaced(self, user: User, missing: Sequence[int], like: Tokens) -> dict[int, int] | None:
        """What the policy puts in place of missing experts, as in `Miss.replaced`; `like` has the shape of tokens."""
        holders = self.sites.holders_of(user, range(len(self.experts)))
        held = [each for each, sites in holders.items() if self.sites.hits(sites)]
        tokens, executor = self.policy.miss.probe_tokens, self.world.executor
        if tokens > 0 and executor.computes and self._similarity is None:
            (leaf,) = specification(like).leaves
            draws = self.world.streams.generator("probe of experts", self.number).standard_normal
            probe = torch.from_numpy(draws((*leaf.shape[:-2], tokens, leaf.shape[-1]))).to(leaf.dtype)
            self._similarity = executor.value(executor.submit(similarities, self.part, self.weights, probe))
        return self.policy.miss.replaced(missing, held, self._similarity)

    def work(self, kind: Operation, expert: int, pairs: int, *like: Tensor) -> ExpertWork:
        """The work of an expert on some tokens of a user, as it is charged.

        Args:
            kind: the operation, `steps.front` or `steps.middle_gradients`.
            expert: number of the expert.
            pairs: number of its tokens.
            like: meta tensors of the shape of the tokens of the pass, and of the gradients of their sums in a backward
                pass: (..., tokens, width).
        """
        key = (kind, expert, pairs, *((each.shape, each.dtype) for each in like))
        if key not in self._works:
            own = [rows(each, pairs) for each in like]
            plan = self.world.executor.plan(kind, self.part, self.value(expert), *own)
            self._works[key] = ExpertWork(Expert(self.number, expert), pairs, plan)
        return self._works[key]

    def forward_bits(self, tokens: Tensor, sent: int, count: int, *, weighted: bool) -> Exchange:
        """Sizes of the messages of a call in a forward pass, by the shapes that are charged.

        Args:
            tokens: a meta tensor of the shape of the tokens of the pass.
            sent: distinct tokens that are sent.
            count: pairs of token and expert.
            weighted: whether the gate's weights of the pairs are sent.
        """
        key = (tokens.shape, tokens.dtype, sent, count, weighted)
        if key not in self._exchanges:
            messages, wire = self.policy.messages, self.world.server.wire
            outputs = self.work(steps.front, 0, 1, tokens).plan.profile.outputs[0].tree
            there = messages.forward(tokens, sent, count, self.names, weighted=weighted)
            back = messages.answer(outputs, sent, count)
            self._exchanges[key] = Exchange(wire.bits(*there), wire.bits(*back))
        return self._exchanges[key]

    def backward_bits(self, tokens: Tensor, gradients: Tensor, sent: int, count: int, *, weighted: bool) -> Exchange:
        """Sizes of the messages of a call in a backward pass; `gradients` of the sums have the shape, else as above."""
        messages, wire = self.policy.messages, self.world.server.wire
        there = messages.plain(gradients, sent)
        back = messages.gradient(tokens, sent, count, weighted=weighted)
        return Exchange(wire.bits(*there), wire.bits(*back))

    def plain_bits(self, tokens: Tokens, count: int) -> int:
        """Size of a message with `count` tokens alone, by the shapes that are charged; `tokens` have their shape."""
        return self.world.server.wire.bits(*self.policy.messages.plain(tokens, count))

    def prefetch(self, user: User, expert: int) -> int:
        """Let the user's cache fetch an expert that tokens may need; returns the bits, as `ExpertSites.prefetch`."""
        return self.sites.prefetch(user, expert, self.weights[expert])

    def delays_s(self, caller: Caller, token: Tensor) -> Tensor:
        """Expected delay in s of a call of each expert for one token at the nearest site that holds it, (experts,).

        It is infinite where no available site holds the expert. `token` has the shape of the token, (1, 1, width).
        """
        delays, (up, down), rates_bps = [], self.forward_bits(token, 1, 1, weighted=True), caller.rates_bps()
        for expert, holders in self.sites.holders_of(caller.user, range(len(self.experts))).items():
            plan = self.work(steps.front, expert, 1, token).plan
            calls_s = (call_s(caller.user, site, up, plan, down, rates_bps)[0] for site in holders)
            delays.append(min(calls_s, default=inf))
        return torch.tensor(delays, dtype=token.dtype)

    def add(self, user: User, expert: int, gradients: steps.Weights) -> None:
        """Keep, for the step, the gradients of an expert's weights that came of a user's tokens."""
        self.experts[expert].add(user, gradients)
        self._callers[expert].add(user)

    def step(self, users: Sequence[User]) -> None:
        """One optimiser step of each expert, on the mean of the gradients of those of `users` that called it.

        Gradients of other users, such as those dropped from the round, are discarded.

        Raises ValueError if sites may have fetched experts, since those copies would keep the old weights.
        """
        if self.sites.cache is not None:
            raise ValueError("experts that a cache may hold cannot be trained: its copies would keep the old weights")
        for expert, callers in zip(self.experts, self._callers, strict=True):
            own = [user for user in users if user in callers]
            expert.step(own, (1 / max(len(own), 1),) * len(own))
            callers.clear()
        self._similarity = None
        self._works.clear()
        self._values.clear()


class RoutedTokens:
    """The tokens of one user's request or mini-batch in a layer: (..., tokens, width), with leading ones, if any."""

    def __init__(
        self, layer: ExpertLayer, caller: Caller, chosen: Tensor, weights: Value[Tensor] | None, request: int | None
    ) -> None:
        """Tokens that a party calls experts with; the others as in `ExpertLayer.route`."""
        self.layer, self.user, self.request = layer, caller.user, request
        self.chosen, self.weights = chosen.reshape(len(chosen), -1), weights
        self.pairs = Pairs(self.chosen, len(layer.experts))
        """The pairs of token and expert."""
        self.dispatch = Dispatch(layer.sites, layer.policy, caller, request)
        self.weight_gradients: Deferred[Tensor] | None = None
        """Gradients with respect to the gate's weights, (tokens, top_k), after a backward pass; else None."""
        self._left_out: list[tuple[Value[Tensor], Tensor]] = []  # weights, and which of them were kept, one by one
        self._tokens: Tokens = torch.empty(0)

    @property
    def calls(self) -> list[SiteCall]:
        """The completed calls of the latest pass, in the order of their ends."""
        return self.dispatch.completed

    def forward(self, tokens: Tokens) -> Process[Deferred[Tensor]]:
        """Call the experts with the tokens, (..., tokens, width).

        Returns their outputs, weighted and summed for each token, deferred, (..., tokens, width of outputs); a token
        without experts has zeros.
        """
        layer, (shape,), weighted = self.layer, specification(tokens).leaves, self.weights is not None
        self._tokens, fetches = tokens, self._treat_misses(tokens)
        works = {each: layer.work(steps.front, each, count, shape) for each, count in self.pairs.of_experts.items()}
        exchange = partial(layer.forward_bits, shape, weighted=weighted)
        world, deadline_s = layer.world, layer.policy.deadline_s
        until = None if deadline_s is None else world.instant(world.env.now + deadline_s)
        answered = yield from self.dispatch.call(works, self.pairs, exchange, "expert_forward", fetches, until)
        late = {each: NO_EXPERT for each in works if each not in answered}
        if late:
            self._replace(late)
        experts = [layer.value(each) for each in self.pairs.of_experts]
        return world.executor.submit(pairs.mixed, layer.part, experts, tokens, self.pairs.places, self.weights)

    def backward(self, gradients: Tokens) -> Process[Deferred[Tensor]]:
        """Call the experts with the gradients of their summed outputs, once their forward pass is over.

        Returns those of the tokens, summed for each, deferred; those of the gate's weights are `weight_gradients`, and
        those of an expert's weights stay where it is, for the step of the layer.
        """
        layer, tokens, weighted = self.layer, self._tokens, self.weights is not None
        (shape,), (summed,) = specification(tokens).leaves, specification(gradients).leaves
        work, executor = partial(layer.work, steps.middle_gradients), layer.world.executor
        works = {each: work(each, count, shape, summed) for each, count in self.pairs.of_experts.items()}
        exchange = partial(layer.backward_bits, shape, summed, weighted=weighted)
        yield from self.dispatch.call(works, self.pairs, exchange, "expert_backward")
        given = ([layer.weights[each] for each in works], tokens, self.pairs.places, self.weights, gradients)
        *of_experts, last = executor.submit_plan(executor.plan(pairs.mixed_gradients, layer.part, *given))
        if weighted:
            self.weight_gradients = self._before_left_out(last)
        of_tokens: Deferred[Tensor] = of_experts.pop() if weighted else last
        for expert, of_expert in zip(works, of_experts, strict=True):
            layer.add(self.user, expert, of_expert)
        return of_tokens

    def _treat_misses(self, tokens: Tokens) -> dict[int, simpy.Process | None]:
        """Note misses and begin to fetch what is missing; skip or substitute experts if the policy says so.

        Returns the experts whose calls are to wait for a fetch.
        """
        sites, policy = self.layer.sites, self.layer.policy.miss
        holders = sites.holders_of(self.user, self.pairs.of_experts)
        missing = [each for each, those in holders.items() if not sites.hits(those)]
        if not missing:
            return {}
        for expert in missing:
            sites.miss(self.user, expert)
        replaced = self.layer.replaced(self.user, missing, tokens)
        if replaced is not None:
            for expert in missing:
                self._record_miss(expert)
            self._replace(replaced)
        if not policy.fetches:
            return {}
        fetches = {each: sites.fetch(self.user, each, self.layer.weights[each]) for each in missing}
        return fetches if policy.waits else {}

    def _replace(self, replaced: dict[int, int]) -> None:
        """Put other experts, or none, in place of some; the weights of tokens that lose experts are scaled up."""
        self.chosen = self.chosen.clone().apply_(lambda each: replaced.get(each, each))
        self.pairs = Pairs(self.chosen, len(self.layer.experts))
        kept = self.chosen != NO_EXPERT
        if self.weights is not None and not kept.all():
            self._left_out.append((self.weights, kept))
            self.weights = self.layer.world.executor.submit(renormalised, self.weights, kept)

    def _record_miss(self, expert: int) -> None:
        """Write the row of a missing expert that is not called."""
        world, policy = self.layer.world, self.layer.policy.miss
        world.journal.expert_call(
            call=None,
            user=self.user.number,
            request=self.request,
            layer=self.layer.number,
            expert=expert,
            node=self.layer.sites.origin.node.name,
            kind="expert_forward",
            tokens=0,
            pairs=self.pairs.of_experts[expert],
            bits_up=0,
            bits_down=0,
            round=world.journal.round,
            start_s=world.env.now,
            wait_s=None,
            service_s=None,
            hit=False,
            miss_action=policy.action,
            energy_j=None,
            interrupted=False,
        )

    def _before_left_out(self, gradient: Deferred[Tensor]) -> Deferred[Tensor]:
        """Gradient with respect to the weights that the gate gave, before experts were skipped."""
        for weights, kept in reversed(self._left_out):
            gradient = self.layer.world.executor.submit(renormalised_gradient, weights, kept, gradient)
        return gradient
