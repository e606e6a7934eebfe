"""Messages on the wire: their sizes, what their receivers see, and the draws of stochastic codecs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from math import inf
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_leaves

from learning.codecs import Analogue, Bundle, Codec, Number, Received, size_bits, size_symbols
from learning.data.modalities import differentiable, with_values
from learning.draws import Draw
from learning.executor import Executor
from learning.executor.base import OperationPlan, sign
from learning.executor.deferred import specification
from learning.executor.forms import take_apart
from learning.journal import Journal
from learning.ports import NO_WEIGHTS, ServerNode, Streams, UserNode

REMEMBERED = 1024
"""Maximum number of messages, of different codecs or shapes, whose sizes are remembered."""

Witness = Callable[[int, Sequence[object]], None]
"""Called with a user's number and the operands of a job when the user, or a server on its behalf, begins it."""


class Wire:
    """Messages on the wire: their sizes, what their receivers see, and the draws of stochastic codecs.

    A draw is named by the user at the far end, the round (the user's own, if it goes on by itself), the kind of message
    and its number among those, so that no other message moves it.
    """

    def __init__(self, executor: Executor, streams: Streams, journal: Journal, stand_in: str | None = None) -> None:
        self.executor, self.streams, self.journal = executor, streams, journal
        self._sent: dict[tuple[int, str], tuple[int, int]] = {}
        self._sizes: dict[Hashable, tuple[int, int]] = {}
        self.witness: Witness | None = None
        """Function that is called when a job of a user begins; None for none."""
        self.stand_in = stand_in
        """What stands in for values that users read where none are computed, in words; None if nothing does."""

    def bits(self, what: Any, codec: Codec | Bundle) -> int:
        """Size of a message in bits, by the shapes that are charged; a flag of a presence mask takes one bit."""
        return size_bits(codec, self.executor.charged(what).tree)

    def sizes(self, what: Any, codec: Codec | Bundle) -> tuple[int, int]:
        """`bits` of a message, and the symbols of its analogue parts, by the shapes that are charged.

        They are computed once for messages of equal codec, form, shapes and plain numbers.
        """
        leaves: list[Any] = []
        known = codec, take_apart(what, leaves), tuple([sign(leaf) for leaf in leaves])
        try:
            sizes = self._sizes.get(known)
        except TypeError:  # a codec that has no hash may change
            return self._sizes_of(what, codec)
        if sizes is None:
            if len(self._sizes) == REMEMBERED:
                self._sizes.clear()
            sizes = self._sizes[known] = self._sizes_of(what, codec)
        return sizes

    def _sizes_of(self, what: Any, codec: Codec | Bundle) -> tuple[int, int]:
        charged = self.executor.charged(what).tree
        return size_bits(codec, charged), size_symbols(codec, charged)

    def weights_bytes(self, node: UserNode | ServerNode, plan: OperationPlan) -> Mapping[Hashable, float]:
        """Bytes of the weights that a job reads, by name, if the memory bandwidth of its node is limited."""
        return NO_WEIGHTS if node.memory_bandwidth_bytes_per_s is None else self.executor.weights_bytes(plan)

    def work_s(self, node: UserNode | ServerNode, plan: OperationPlan) -> float:
        """Service time of a job in s at nominal speed: of its FLOPs or of reading weights, whichever is longer."""
        flops_s, bandwidth = self.executor.cost(plan).flops / node.flops_per_s, node.memory_bandwidth_bytes_per_s
        return flops_s if bandwidth is None else max(flops_s, sum(self.weights_bytes(node, plan).values()) / bandwidth)

    def deliver(self, what: Any, codec: Codec | Bundle, user: int, kind: str, snr: float = inf) -> Any:
        """What the receiver of a message sees; of a bundle a tuple, as was sent.

        `user` and `kind` name the draws of a stochastic codec; `snr` is that of the link, for analogue parts.
        """
        if codec.exact:
            return what
        if isinstance(codec, Bundle):
            parts = zip(what, codec.codecs, strict=True)
            return tuple(self.deliver(part, own, user, kind, snr) for part, own in parts)
        name = self._name(user, kind)
        draws = self._draws(what, name) if codec.stochastic else None
        if isinstance(codec, Analogue):
            u = self.streams.generator("snr", *name).random() if codec.spread_db else 0.5
            return self.executor.submit(transcode, Received(Number(codec.ratio(snr, u))), what, draws)
        return self.executor.submit(transcode, codec, what, draws)

    def observe(self, user: int, plan: OperationPlan) -> None:
        """Tell the witness, if there is one, that a job of a user begins."""
        if self.witness is not None:
            self.witness(user, plan.leaves)

    def _name(self, user: int, kind: str) -> tuple[int | str, ...]:
        """The entity of a message's draws: kind, user, round of the user and number of the message in it."""
        local_round = self.journal.local_round(user)
        latest, sent = self._sent.get((user, kind), (local_round, 0))
        number = sent if latest == local_round else 0
        self._sent[user, kind] = local_round, number + 1
        return kind, user, local_round, number

    def _draws(self, what: Any, name: tuple[int | str, ...]) -> list[Draw]:
        return [
            Draw(self.streams, "codec", (*name, part), tuple(leaf.shape), leaf.dtype)
            for part, leaf in enumerate(tree_leaves(differentiable(specification(what).tree)))
        ]


def transcode(codec: Codec | Received, tree: Any, draws: list[torch.Tensor] | None) -> Any:
    """Send every tensor of a tree through a codec and back; presence masks of modalities arrive as they are."""
    leaves, form = tree_flatten(differentiable(tree))
    uniform = draws if draws is not None else [None] * len(leaves)
    received = [codec.roundtrip(leaf, u) for leaf, u in zip(leaves, uniform, strict=True)]
    return with_values(tree, form.unflatten(received))
