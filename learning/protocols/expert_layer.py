"""A layer of a mixture of experts over a network: the gate has chosen, the chosen experts are called side by side.

user            which experts the gate has chosen for each token is read
user -> site    an expert's tokens, and its outputs back           for each chosen expert
user            sums the outputs when the last is in, and goes on
user -> site    gradients of the outputs, and of the tokens back   likewise, where the layer trains
site            keeps the gradients of the expert's weights

The gate alone decides which tokens go to which expert, and outputs are summed in the order of the experts. So no value
depends on where experts are, nor on whose result arrives first.
[Shazeer et al., ICLR 2017, arXiv 1701.06538; experts at the wireless edge: Xue et al., arXiv 2411.06681]
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from learning import steps
from learning.executor.deferred import Deferred
from learning.parties import Server, User
from learning.ports import Process
from learning.protocols.experts import Expert, Tokens, call, first_that_holds
from learning.protocols.join import join
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
        cache: Server | None = None,
    ) -> None:
        """A layer whose experts begin with these weights.

        Args:
            world: the world of the run.
            number: number of the layer, from 0.
            sites: where experts are called, in the order of preference: the first of them that holds the expert.
            part: what every expert computes, of its weights and tokens (tokens, width): (tokens, width of outputs).
            weights: the weights of each expert.
            cache: one of `sites`, which fetches experts that are called and that it does not hold, as its eviction
                policy allows; None is none. The weights cannot be trained then.
        """
        self.world, self.number, self.sites, self.part = world, number, sites, part
        self.experts = [JointPart(world, each, world.server_optimiser.init(each), part) for each in weights]
        self._callers: list[set[User]] = [set() for _ in weights]
        self.cache = cache

    @property
    def weights(self) -> list[steps.Weights]:
        """The weights of each expert."""
        return [expert.weights for expert in self.experts]

    def store(self, expert: int, site: Server) -> None:
        """Store an expert at a site. Raises ValueError if there is not so much space."""
        site.hold(Expert(self.number, expert), self.experts[expert].weights)

    def request(self, user: User, expert: int) -> None:
        """Note at the cache that a user calls an expert; if that is a miss, the cache starts to fetch it.

        The call does not wait for that: it goes to the first site that holds the expert now.
        """
        name = Expert(self.number, expert)
        if self.cache is not None and not self.cache.request(name):
            source = first_that_holds(name, self.sites)
            self.world.env.process(self.cache.fetch(name, self.experts[expert].weights, source, user))

    def route(self, user: User, chosen: Tensor) -> RoutedTokens:
        """A user's tokens on their way through the layer; `chosen` as in `routes`."""
        return RoutedTokens(self, user, chosen)

    def add(self, user: User, expert: int, gradients: steps.Weights) -> None:
        """Keep, for the step, the gradients of an expert's weights that came of a user's tokens."""
        self.experts[expert].add(user, gradients)
        self._callers[expert].add(user)

    def step(self, users: Sequence[User]) -> None:
        """One optimiser step of each expert, on the mean of the gradients of those of `users` that called it.

        Gradients of other users, such as those dropped from the round, are discarded.

        Raises ValueError if sites may have fetched experts, since those copies would keep the old weights.
        """
        if self.cache is not None:
            raise ValueError("experts that a cache may hold cannot be trained: its copies would keep the old weights")
        for expert, callers in zip(self.experts, self._callers, strict=True):
            own = [user for user in users if user in callers]
            expert.step(own, (1 / max(len(own), 1),) * len(own))
            callers.clear()


class RoutedTokens:
    """The tokens of one user's request or mini-batch in a layer, by expert."""

    def __init__(self, layer: ExpertLayer, user: User, chosen: Tensor) -> None:
        self.layer, self.user, self.tokens = layer, user, len(chosen)
        self.positions = routes(chosen)
        """Which of the tokens each expert has."""
        self._sent: dict[int, Deferred[Tensor]] = {}

    def forward(self, tokens: Tokens) -> Process[Deferred[Tensor]]:
        """Call the experts with the tokens, (tokens, width).

        Returns their outputs, summed for each token, deferred, (tokens, width of outputs).
        """
        layer, self._sent = self.layer, self._dispatched(tokens)
        for expert in self._sent:
            layer.request(self.user, expert)
        outputs = yield from join(
            layer.world.env,
            [
                call(*self._called(each), sent, steps.front, layer.part, layer.weights[each], kind="expert_forward")
                for each, sent in self._sent.items()
            ],
        )
        return self._combined(outputs)

    def backward(self, gradients: Tokens) -> Process[Deferred[Tensor]]:
        """Call the experts with the gradients of their summed outputs, once their forward pass is over.

        Returns those of the tokens, summed for each, deferred; those of an expert's weights stay where it is, for the
        step of the layer.
        """
        layer, work = self.layer, steps.middle_gradients
        done = yield from join(
            layer.world.env,
            [
                call(*self._called(each), dy, work, layer.part, layer.weights[each], z, kind="expert_backward")
                for (each, z), dy in zip(self._sent.items(), self._dispatched(gradients).values(), strict=True)
            ],
        )
        for expert, (of_weights, _) in zip(self.positions, done, strict=True):
            layer.add(self.user, expert, of_weights)
        return self._combined([of_tokens for _, of_tokens in done])

    def _called(self, expert: int) -> tuple[World, User, Expert, Sequence[Server]]:
        return self.layer.world, self.user, Expert(self.layer.number, expert), self.layer.sites

    def _dispatched(self, tokens: Tokens) -> dict[int, Deferred[Tensor]]:
        submit = self.layer.world.executor.submit
        return {expert: submit(dispatched, tokens, positions) for expert, positions in self.positions.items()}

    def _combined(self, outputs: list[Deferred[Tensor]]) -> Deferred[Tensor]:
        return self.layer.world.executor.submit(combined, self.tokens, list(self.positions.values()), outputs)


def routes(chosen: Tensor) -> dict[int, Tensor]:
    """Which tokens go to each expert: by expert, ascending, the positions of its tokens, ascending.

    `chosen` has the numbers of the experts of each token, (tokens,) or (tokens, experts per token), integers that have
    been read. Experts without tokens are left out.
    """
    each = chosen.reshape(len(chosen), -1)
    return {expert: (each == expert).any(-1).nonzero()[:, 0] for expert in sorted(set(each.flatten().tolist()))}


def dispatched(tokens: Tensor, positions: Tensor) -> Tensor:
    """The tokens at some positions: (tokens, width) to (positions, width)."""
    return tokens.index_select(0, positions)


def combined(tokens: int, positions: list[Tensor], outputs: list[Tensor]) -> Tensor:
    """What experts return, summed over the experts of each token in the order of the lists: (tokens, width).

    `positions` and `outputs` have an entry for each expert, (its tokens,) and (its tokens, width). A token that no
    expert had is zero.
    """
    total = outputs[0].new_zeros(tokens, *outputs[0].shape[1:])
    for each, output in zip(positions, outputs, strict=True):
        total = total.index_add(0, each, output)
    return total
