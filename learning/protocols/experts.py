"""A call of an expert of a mixture at the site that holds it.

user -> site    some of the user's tokens       nothing where the site is on the user's own device, here and below
site            waits for a slot; the expert's work on the tokens
site -> user    the result
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, overload

import simpy
from torch import Tensor

from learning.executor.base import A, B, One
from learning.executor.deferred import Deferred, Operation, Value, specification
from learning.parties import PLAIN, Server, User
from learning.ports import Process, Stay
from learning.world import World


class Expert(NamedTuple):
    """One expert of a model: what sites hold, and what is called."""

    layer: int
    """Number of the layer of experts, from 0."""
    number: int
    """Number of the expert in its layer, from 0."""

    def __str__(self) -> str:
        return f"expert {self.number} of layer {self.layer}"


Tokens = Value[Tensor]
"""Features of tokens, or gradients with respect to them: (tokens, width)."""


@overload
def call(
    world: World,
    user: User,
    expert: Expert,
    sites: Sequence[Server],
    tokens: Tokens,
    operation: Callable[..., tuple[A, B]],
    *args: object,
    kind: str,
) -> Process[tuple[Deferred[A], Deferred[B]]]: ...


@overload
def call(
    world: World,
    user: User,
    expert: Expert,
    sites: Sequence[Server],
    tokens: Tokens,
    operation: Callable[..., One],
    *args: object,
    kind: str,
) -> Process[Deferred[One]]: ...


def call(
    world: World,
    user: User,
    expert: Expert,
    sites: Sequence[Server],
    tokens: Tokens,
    operation: Operation,
    *args: object,
    kind: str,
) -> Process[Any]:
    """Send tokens to a site that holds an expert, have `operation(*args, tokens)` done there, get the result back.

    Args:
        world: the world of the run.
        user: whose tokens they are.
        expert: which expert is called.
        sites: in the order of preference; the first of them that holds the expert is called.
        tokens: what is sent, (tokens, width): features, or gradients with respect to the expert's outputs.
        operation: the work of the expert. Of two values that it returns the first stays at the site.
        args: its first arguments, the weights of the expert among them.
        kind: what the job is called in the tables `computations` and `expert_calls`.

    Returns what the operation returns, deferred, and as it arrives what is sent to the user. Writes a row of
    `expert_calls`.

    Raises ValueError if no site holds the expert.
    """
    site = first_that_holds(expert, sites)
    called = _Called(world, user, expert, site, kind, specification(tokens).leaves[0].shape[0], hit=site is sites[0])
    try:
        received = yield from called.up(tokens)
        result = yield from called.served(operation, *args, received)
        kept, answer = result if isinstance(result, tuple) else (None, result)
        answer = yield from called.down(answer)
    except simpy.Interrupt:
        called.record(interrupted=True)
        raise
    called.record(interrupted=False)
    return answer if kept is None else (kept, answer)


class _Called:
    """A call under way, and its row of `expert_calls`."""

    def __init__(
        self, world: World, user: User, expert: Expert, site: Server, kind: str, tokens: int, *, hit: bool
    ) -> None:
        self.world, self.user, self.expert, self.site = world, user, expert, site
        self.kind, self.tokens, self.hit = kind, tokens, hit
        self.round, self.start_s = world.journal.round, world.env.now
        self.bits_up = self.bits_down = 0
        self.stay: Stay | None = None

    def up(self, tokens: Tokens) -> Process[Tokens]:
        """Send the tokens to the site."""
        self.bits_up = self._bits(tokens)
        return (yield from self.user.send(self.site, tokens, "token"))

    def served(self, operation: Operation, *args: object) -> Process[Any]:
        """Wait for a slot at the site, and do the work."""
        result, self.stay = yield from self.site.serve(operation, *args, kind=self.kind, user=self.user)
        return result

    def down(self, answer: Tokens) -> Process[Tokens]:
        """Send the answer to the user."""
        self.bits_down = self._bits(answer)
        return (yield from self.site.send(self.user, answer, "token"))

    def record(self, *, interrupted: bool) -> None:
        """Write the row of the call, which is over now."""
        self.world.journal.expert_call(
            user=self.user.number,
            layer=self.expert.layer,
            expert=self.expert.number,
            node=self.site.node.name,
            kind=self.kind,
            tokens=self.tokens,
            bits_up=self.bits_up,
            bits_down=self.bits_down,
            round=self.round,
            start_s=self.start_s,
            wait_s=None if self.stay is None else self.stay.wait_s,
            service_s=None if self.stay is None else self.stay.service_s,
            hit=self.hit,
            interrupted=interrupted,
        )

    def _bits(self, what: Tokens) -> int:
        return 0 if self.site.node.is_on(self.user.node) else self.user.wire.bits(what, PLAIN)


def first_that_holds(expert: Expert, sites: Sequence[Server]) -> Server:
    """The first site that holds an expert. Raises ValueError if there is none."""
    for site in sites:
        if site.holds(expert):
            return site
    raise ValueError(f"{expert} is called, and none of {', '.join(site.node.name for site in sites)} holds it")
