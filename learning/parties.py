"""Parties: nodes that spend simulated time and really compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from learning.codecs import Codec, Identity, Layout
from learning.data import Batches, Inputs, Rows
from learning.draws import Draw
from learning.executor import Executor
from learning.executor.base import OperationPlan
from learning.executor.deferred import Operation, specification
from learning.ports import Journal, Process, ServerNode, Streams, Timed, UserNode

Witness = Callable[[int, Sequence[Any]], None]
"""Is told of a user and of the operands of what is computed by it, or for it, at the instant at which that begins."""

PLAIN = Identity()


class Wire:
    """What codecs do to messages: sizes, round trips, and the draws of stochastic codecs.

    A draw is named by the user at the far end, the round (the user's own, if it goes on by itself), the kind of message
    and its number among those, so that no other message moves it.
    """

    def __init__(self, executor: Executor, streams: Streams, journal: Journal) -> None:
        self.executor, self.streams, self.journal = executor, streams, journal
        self._sent: dict[tuple[int, str], tuple[int, int]] = {}
        self.witness: Witness | None = None
        """Who wants to know what users compute with."""

    def bits(self, what: Any, layout: Layout) -> int:
        """Size of `what` on the wire, by the shapes that are charged."""
        return layout.bits(self.executor.charged(what).tree)

    def deliver(self, what: Any, codec: Codec, user: int, kind: str) -> Any:
        """What the receiver sees."""
        if codec.exact:
            return what
        draws = self._draws(what, user, kind) if codec.stochastic else None
        return self.executor.submit(transcode, codec, what, draws)

    def observe(self, user: int, plan: OperationPlan) -> None:
        """Work of a user, or on its behalf, begins."""
        if self.witness is not None:
            self.witness(user, plan.leaves)

    def _draws(self, what: Any, user: int, kind: str) -> list[Draw]:
        turn = self.journal.turn(user)
        latest, sent = self._sent.get((user, kind), (turn, 0))
        number = sent if latest == turn else 0
        self._sent[user, kind] = turn, number + 1
        return [
            Draw(self.streams, "codec", (kind, user, turn, number, part), tuple(leaf.shape), leaf.dtype)
            for part, leaf in enumerate(specification(what).leaves)
        ]


def transcode(codec: Codec, tree: Any, draws: list[torch.Tensor] | None) -> Any:
    """Send every tensor of a tree through a codec and back."""
    leaves, form = tree_flatten(tree)
    uniform = draws if draws is not None else [None] * len(leaves)
    return form.unflatten([codec.roundtrip(leaf, u) for leaf, u in zip(leaves, uniform, strict=True)])


class User:
    """A user: a device on the network, its data, and the work it really does."""

    server: Server
    """The server that it works with; the world says which."""

    def __init__(self, node: UserNode, batches: Batches, wire: Wire) -> None:
        self.node, self.batches, self.wire = node, batches, wire
        self.number = node.number

    @property
    def samples(self) -> int:
        """Size of the user's data set."""
        return self.batches.samples

    def batch(self, position: int) -> tuple[Inputs, Rows]:
        """Mini-batch number `position` of the user's data."""
        return self.batches.at(position)

    def do(
        self, operation: Operation, *args: Any, kind: str, flops: float | None = None, scale: float = 1
    ) -> Process[Any]:
        """Spend the time of an operation on the device, then return its deferred result.

        Where a paper's cost model charges something else, `flops` replaces the count from shapes, and `scale` is the
        part of it that is charged.
        """
        plan = self.wire.executor.plan(operation, *args)
        cost = self.wire.executor.cost(plan)
        self.wire.observe(self.number, plan)
        yield from self.node.compute((cost.flops if flops is None else flops) * scale, kind, cost.memory_bytes)
        return self.wire.executor.submit_plan(plan)

    def send(
        self,
        to: Server,
        what: Any,
        kind: str,
        codec: Codec = PLAIN,
        *,
        extra_bits: int = 0,
        layout: Layout | None = None,
        bits: int | None = None,
    ) -> Process[Any]:
        """Transmit a value on the uplink; what comes back is what the server sees.

        `extra_bits` ride along (labels). Where a scheme packs its messages itself, its `layout` decides their size in
        place of the codec; `bits` is the size of what has nothing to do with the model.
        """
        size = self.wire.bits(what, layout or codec) if bits is None else bits
        yield from self.node.send(to.node, size + extra_bits, kind)
        return self.wire.deliver(what, codec, self.number, kind)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class Server:
    """A server: a node on the network, and the work it really does."""

    def __init__(self, node: ServerNode, wire: Wire) -> None:
        self.node, self.wire = node, wire

    def do(
        self, operation: Operation, *args: Any, kind: str, user: User | None = None, flops: float | None = None
    ) -> Process[Any]:
        """Queue, spend the time of an operation, then return its deferred result."""
        plan = self.wire.executor.plan(operation, *args)
        yield from self._spend(plan, kind, user, flops)
        return self.wire.executor.submit_plan(plan)

    def spend(
        self, operation: Operation, *args: Any, kind: str, user: User | None = None, flops: float | None = None
    ) -> Timed:
        """The time of an operation alone, for work on a state that is known only when the time has passed."""
        yield from self._spend(self.wire.executor.plan(operation, *args), kind, user, flops)

    def _spend(self, plan: OperationPlan, kind: str, user: User | None, flops: float | None) -> Timed:
        cost = self.wire.executor.cost(plan)
        if user:
            self.wire.observe(user.number, plan)
        charged = cost.flops if flops is None else flops
        yield from self.node.compute(charged, kind, cost.memory_bytes, user.number if user else None)

    def send(
        self,
        to: User,
        what: Any,
        kind: str,
        codec: Codec = PLAIN,
        *,
        layout: Layout | None = None,
        bits: int | None = None,
    ) -> Process[Any]:
        """Transmit a value to one user; what comes back is what the user sees. `layout`, `bits`: as in `User.send`."""
        size = self.wire.bits(what, layout or codec) if bits is None else bits
        yield from self.node.send(to.node, size, kind)
        return self.wire.deliver(what, codec, to.number, kind)

    def forward(self, to: Server, what: Any, kind: str, users: Sequence[User]) -> Process[Any]:
        """Transmit a value once to another server, on behalf of these users; it arrives as it is."""
        bits = self.wire.bits(what, PLAIN)
        yield from self.node.forward(to.node, bits, kind, [user.number for user in users])
        return what

    def broadcast(self, to: Sequence[User], what: Any, kind: str) -> Process[Any]:
        """Transmit a value once to all of `to`; what comes back is {user: what it sees}, without those not reached."""
        reached = yield from self.node.broadcast([user.node for user in to], self.wire.bits(what, PLAIN), kind)
        return {user: what for user in to if user.node in reached}


def label_bits(y: Rows, bits_per_label: int) -> int:
    """Bits of a mini-batch's labels."""
    return bits_per_label * y.meta.numel()
