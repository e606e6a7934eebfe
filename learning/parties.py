"""Parties: users and servers, whose jobs and messages take simulated time and are really computed.

They alone ask what a job or a message costs, by the shapes that are charged.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from math import inf
from typing import Any, TypeAlias, TypeVar, overload

import simpy
import torch
from torch import Tensor

from learning.codecs import Bundle, Codec, Identity
from learning.data import Batches, Inputs, Modalities, Rows
from learning.executor.base import A, B, C, D, E, One, OperationPlan
from learning.executor.counting import counted
from learning.executor.deferred import Deferred, Leaf, Operation, specification
from learning.executor.dry import NeedsValues
from learning.ports import Process, ServerNode, Stay, Timed, UserNode
from learning.wire import Wire

Message: TypeAlias = (
    "torch.Tensor | Modalities | Deferred[Any] | Leaf | float | Mapping[str, Message] | Sequence[Message]"
)
"""What can be sent: trees of tensors, deferred values, rows of a data set and plain numbers."""
Sent = TypeVar("Sent", bound=Message)
"""What was sent, and what its receiver sees; the latter is deferred where a codec changes it."""

T = TypeVar("T")

PartialWork: TypeAlias = tuple[tuple[Operation, float], ...]
"""Work that is charged as parts of several operations on the same arguments: (operation, share of its cost). Shares may
be negative: the cost of a layer of which a part is computed lies between that without it and that of all of it."""

StandIn = Callable[[Tensor], Tensor]
"""Makes, of the shape of a value (a meta tensor), a tensor of that shape to decide by where no values are computed."""

PLAIN = Identity()


class User:
    """A user: its device on the network, its data, and the jobs and messages of that device."""

    server: Server
    """The server that it works with: the aggregator, or an edge server near it."""

    def __init__(
        self, node: UserNode, batches: Batches, wire: Wire, held_out: Batches | None = None, team: int | None = None
    ) -> None:
        self.node, self.batches, self.wire = node, batches, wire
        self.number = node.number
        self.team = self.number if team is None else team
        """Number of the first of the users who hold modalities of the same samples (`learning.holding`)."""
        self.snr = inf
        """Signal-to-noise ratio of its latest analogue message; inf before the first."""
        self.held_out = held_out
        """The user's own part of the test set, sample by sample in shuffled epochs; None if it has none."""

    @property
    def samples(self) -> int:
        """Number of samples in the user's data set."""
        return self.batches.samples

    def batch(self, position: int) -> tuple[Inputs, Rows]:
        """Samples and labels of mini-batch number `position` in the user's sequence of shuffled epochs."""
        return self.batches.at(position)

    @overload
    def do(
        self, operation: Callable[..., tuple[A, B]], *args: Any, kind: str, scale: float = ...
    ) -> Process[tuple[Deferred[A], Deferred[B]]]: ...

    @overload
    def do(
        self, operation: Callable[..., tuple[A, B, C]], *args: Any, kind: str, scale: float = ...
    ) -> Process[tuple[Deferred[A], Deferred[B], Deferred[C]]]: ...

    @overload
    def do(
        self, operation: Callable[..., tuple[A, B, C, D]], *args: Any, kind: str, scale: float = ...
    ) -> Process[tuple[Deferred[A], Deferred[B], Deferred[C], Deferred[D]]]: ...

    @overload
    def do(
        self, operation: Callable[..., tuple[A, B, C, D, E]], *args: Any, kind: str, scale: float = ...
    ) -> Process[tuple[Deferred[A], Deferred[B], Deferred[C], Deferred[D], Deferred[E]]]: ...

    @overload
    def do(
        self, operation: Callable[..., One], *args: Any, kind: str, scale: float = ...
    ) -> Process[Deferred[One]]: ...

    def do(self, operation: Operation, *args: Any, kind: str, scale: float = 1) -> Process[Any]:
        """Spend the time of an operation on the device, then return its deferred result.

        Args:
            operation: a pure function; what it costs is counted by running it on the shapes that are charged.
            args: trees of tensors, deferred values, lazy leaves and hashable plain values.
            kind: what the job is called in the table `computations`.
            scale: the share of the operation's FLOPs that is charged, where a cost model knows that some are saved.
        """
        plan = self.wire.executor.plan(operation, *args)
        cost = self.wire.executor.cost(plan)
        self.wire.observe(self.number, plan)
        reads = self.wire.weights_bytes(self.node, plan)
        yield from self.node.compute(cost.flops * scale, kind, cost.memory_bytes, weights_bytes=reads)
        return self.wire.executor.submit_plan(plan)

    def spend(self, work: PartialWork, *args: Any, kind: str) -> Timed:
        """Spend the time of parts of operations on the device, of which no result is needed.

        Args:
            work: operations, and the share of the FLOPs and memory of each that is charged.
            args: arguments of all of them, as in `do`.
            kind: what the job is called in the table `computations`.
        """
        plans = [(self.wire.executor.plan(operation, *args), share) for operation, share in work]
        costs = [(self.wire.executor.cost(plan), share) for plan, share in plans]
        self.wire.observe(self.number, plans[0][0])
        flops, memory_bytes = (sum(cost[place] * share for cost, share in costs) for place in (0, 1))
        reads = self.wire.weights_bytes(self.node, plans[0][0])
        yield from self.node.compute(flops, kind, round(memory_bytes), weights_bytes=reads)

    def run(self, code: Callable[..., T], *args: Any, kind: str) -> Process[T]:
        """Run code that is no operation, and spend the time of what torch computed in it on the device.

        It runs at once, as it is, whatever the executor, and nothing of it is kept in the result cache.

        Args:
            code: a function that may read, draw and change anything.
            args: its arguments.
            kind: what the job is called in the table `computations`.

        Returns:
            What the function returns.
        """
        done = counted(code, *args)
        yield from self.node.compute(done.flops, kind, done.memory_bytes)
        return done.result

    def send(self, to: Server, what: Sent, kind: str, codec: Codec | Bundle = PLAIN) -> Process[Sent]:
        """Transmit a value on the uplink; returns what the server sees.

        The analogue parts of a message, if there are any, are transmitted first, at the SNR of the link.

        Args:
            to: the receiver.
            what: a tree of tensors, deferred values, lazy leaves and plain numbers; a tuple where `codec` is a bundle.
            kind: what the message is called in the table `transfers`.
            codec: encoding of the message, whose size is computed for the shapes that are charged.
        """
        (bits, symbols), snr = self.wire.sizes(what, codec), inf
        if symbols:
            snr = self.snr = yield from self.node.send_analogue(to.node, symbols, kind)
        if bits or not symbols:
            yield from self.node.send(to.node, bits, kind)
        seen: Sent = self.wire.deliver(what, codec, self.number, kind, snr)
        return seen

    def read(self, value: Deferred[Tensor], stand_in: StandIn | None = None) -> Process[Tensor]:
        """Compute a deferred tensor and return it, to decide by it: by which experts a gate has chosen, say.

        It takes no simulated time. Where the executor computes no values, `stand_in` makes what is returned; the
        scheme's property `stand_in` says in words what that is, for `netsim check` to print.

        Raises NeedsValues where there are no values and no stand-in, or none that the scheme declares.
        """
        yield from ()
        executor = self.wire.executor
        if executor.computes:
            read: Tensor = executor.value(value)
            return read
        if stand_in is None or self.wire.stand_in is None:
            lacks = "the read gives none" if stand_in is None else "the scheme's property stand_in does not tell it"
            raise NeedsValues(
                f"user {self.number} reads a value within a round, the dry executor computes none, and {lacks}; "
                "give both a stand-in, or choose the executor batched or eager"
            )
        (wanted,) = specification(value).leaves
        drawn = stand_in(wanted)
        if drawn.shape != wanted.shape:
            raise ValueError(
                f"user {self.number} reads a value of shape {tuple(wanted.shape)}, "
                f"and its stand-in has the shape {tuple(drawn.shape)}"
            )
        return drawn

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class Server:
    """A server: its node on the network, and the jobs and messages of that node."""

    def __init__(self, node: ServerNode, wire: Wire) -> None:
        self.node, self.wire = node, wire
        self._kept_bytes: dict[User, int] = {}
        """What is kept between two jobs of a user, such as activations for its backward pass."""

    @overload
    def do(
        self, operation: Callable[..., tuple[A, B]], *args: Any, kind: str, user: User | None = ...
    ) -> Process[tuple[Deferred[A], Deferred[B]]]: ...

    @overload
    def do(
        self, operation: Callable[..., tuple[A, B, C]], *args: Any, kind: str, user: User | None = ...
    ) -> Process[tuple[Deferred[A], Deferred[B], Deferred[C]]]: ...

    @overload
    def do(
        self, operation: Callable[..., tuple[A, B, C, D]], *args: Any, kind: str, user: User | None = ...
    ) -> Process[tuple[Deferred[A], Deferred[B], Deferred[C], Deferred[D]]]: ...

    @overload
    def do(
        self, operation: Callable[..., One], *args: Any, kind: str, user: User | None = ...
    ) -> Process[Deferred[One]]: ...

    def do(self, operation: Operation, *args: Any, kind: str, user: User | None = None) -> Process[Any]:
        """Queue, spend the time of an operation on behalf of a user, if any, then return its deferred result.

        Arguments as in `User.do`; all of the operation's FLOPs are charged.
        """
        plan = self.wire.executor.plan(operation, *args)
        yield from self._spend(plan, kind, user)
        return self.wire.executor.submit_plan(plan)

    def spend(self, operation: Operation, *args: Any, kind: str, user: User | None = None) -> Timed:
        """The time of an operation alone, for work on a state that is known only when the time has passed."""
        yield from self._spend(self.wire.executor.plan(operation, *args), kind, user)

    def run(self, code: Callable[..., T], *args: Any, kind: str) -> Process[T]:
        """Run code that is no operation, then queue, and spend the time of what torch computed; as `User.run`."""
        done = counted(code, *args)
        yield from self.node.compute(done.flops, kind, done.memory_bytes)
        return done.result

    def _spend(self, plan: OperationPlan, kind: str, user: User | None) -> Process[Stay]:
        cost = self.wire.executor.cost(plan)
        if user:
            self.wire.observe(user.number, plan)
        number, reads = user.number if user else None, self.wire.weights_bytes(self.node, plan)
        memory_bytes = cost.memory_bytes + sum(size for other, size in self._kept_bytes.items() if other is not user)
        return (yield from self.node.compute(cost.flops, kind, memory_bytes, number, weights_bytes=reads))

    def keep(self, user: User, what: Any) -> None:
        """Keep a tree for a user's next job; until `release`, jobs of others need its bytes too (`memory_bytes`)."""
        self._kept_bytes[user] = self.wire.executor.charged(what).bytes

    def release(self, user: User) -> None:
        """Keep nothing for a user any more; without effect if nothing is kept."""
        self._kept_bytes.pop(user, None)

    def serve(self, plans: Sequence[OperationPlan], *, kind: str, user: User) -> Process[Stay]:
        """Queue, and spend the time of planned operations on behalf of a user as one job, in one place of the queue.

        They are done one after the other, so that the job's memory is that of the largest.

        Returns how long the job waited and was served.
        """
        costs = [self.wire.executor.cost(plan) for plan in plans]
        for plan in plans:
            self.wire.observe(user.number, plan)
        flops, memory_bytes = sum(cost.flops for cost in costs), max(cost.memory_bytes for cost in costs)
        reads = {name: size for plan in plans for name, size in self.wire.weights_bytes(self.node, plan).items()}
        return (yield from self.node.compute(flops, kind, memory_bytes, user.number, weights_bytes=reads))

    def send(self, to: User, what: Sent, kind: str, codec: Codec | Bundle = PLAIN) -> Process[Sent]:
        """Transmit a value to one user; returns what the user sees. Arguments as in `User.send`.

        Raises ValueError for an analogue message, which a station does not transmit.
        """
        bits, symbols = self.wire.sizes(what, codec)
        if symbols:
            raise ValueError(f"{kind}: analogue messages go from users to servers only")
        yield from self.node.send(to.node, bits, kind)
        seen: Sent = self.wire.deliver(what, codec, to.number, kind)
        return seen

    def hold(self, name: Hashable, what: Any) -> None:
        """Store a tree under a name, in the bytes of the shapes that are charged.

        Raises ValueError if there is not so much space.
        """
        self.node.storage.put(name, self.wire.executor.charged(what).bytes)

    def holds(self, name: Hashable) -> bool:
        """Return whether something is stored under a name, and the server is available."""
        return not self.node.away and self.node.storage.holds(name)

    def request(self, name: Hashable) -> bool:
        """Note a request for something in this server's cache, and return whether it is stored."""
        return self.node.storage.request(name)

    def fetch_bits(self, name: Hashable, what: Any) -> int:
        """Bits of the message by which `fetch` would bring a tree that is not stored here; 0 if it would fetch none."""
        size_bytes = self.wire.executor.charged(what).bytes
        return 0 if self.node.storage.victims(name, size_bytes) is None else self.wire.bits(what, PLAIN)

    def fetch(self, name: Hashable, what: Any, source: Server, user: User) -> Timed:
        """Fetch a tree from another server and cache it; nothing if it would not be stored.

        Whether it is stored, and what is evicted for it, is decided again on arrival. Calls of an evicted expert that
        are under way at that time are completed. If a node on the way goes away, nothing is stored.

        Args:
            name: name of the tree in storage, which has been requested.
            what: the tree; its size is that of the shapes that are charged.
            source: a server that stores it.
            user: whose request it is that was a miss, for the tables.
        """
        size_bytes = self.wire.executor.charged(what).bytes
        if self.node.storage.victims(name, size_bytes) is None:
            return
        try:
            yield from source.forward(self, what, "expert", [user])
            self.node.storage.store(name, size_bytes)
        except simpy.Interrupt:
            return  # the request that missed does not depend on this

    def forward(self, to: Server, what: Sent, kind: str, users: Sequence[User]) -> Process[Sent]:
        """Transmit a value once to another server, on behalf of these users; it arrives as it is."""
        bits = self.wire.bits(what, PLAIN)
        yield from self.node.forward(to.node, bits, kind, [user.number for user in users])
        return what

    def broadcast(
        self, to: Sequence[User], what: Sent, kind: str, codec: Codec | Bundle = PLAIN
    ) -> Process[dict[User, Sent]]:
        """Transmit a value once to all of `to`; what comes back is {user: what it sees}, without those not reached.

        It arrives as it is: `codec` must be lossless.
        """
        reached = yield from self.node.broadcast([user.node for user in to], self.wire.bits(what, codec), kind)
        return {user: what for user in to if user.node in reached}

    def broadcast_rateless(
        self, to: Sequence[User], what: Message, kind: str, deadline_s: float = inf
    ) -> dict[User, Process[bool]]:
        """Transmit a value as one rateless-coded stream, which each user leaves as soon as it has received all of it.

        Args:
            to: the receivers.
            what: the value; it arrives as it is.
            kind: what the message is, for the table `transfers`.
            deadline_s: seconds after which the stream ends, from when the first user listens; inf is never.

        Returns:
            For each user a process to run, `reached = yield from processes[user]`, which is over when the user has
            received all (True) or the stream has ended before (False).
        """
        bits = self.wire.bits(what, PLAIN)
        receptions = self.node.broadcast_rateless([user.node for user in to], bits, kind, deadline_s)
        return {user: receptions[user.node] for user in to}
