"""A call of experts of a mixture at a site that holds them: one message there, one job, one message back.

user -> site    hidden states, each token once; expert and weight of each pair   nothing on the user's own device
site            waits for a slot; the work of all experts called, on the tokens of each
site -> user    for each token the sum of the experts' outputs, weighted; or the output of each pair

With hidden states of d numbers of q bits, tokens B and pairs P of token and expert, the sizes are

    there    |B| d q + |P| (ceil(log2(experts of the model)) + bits of a weight) + header
    back     |B| d q + header, or |P| d q + header for `per_expert`

and in a backward pass |B| d q + header there, with the gradients of the sums, and |B| d q + |P| bits of a weight +
header back, with the gradients of hidden states and weights; the site has kept the rest.
[Wireless mixture of experts, with the gate at the user: Xue et al., arXiv 2411.06681]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import simpy
import torch
from annotated_types import Ge
from torch import Size, Tensor

from learning.codecs import Bundle, FixedWidth, Identity
from learning.executor.base import OperationPlan
from learning.executor.deferred import Value, specification
from learning.expert_parameters import Expert
from learning.parties import Message, Server
from learning.ports import Stay, Timed
from learning.protocols.caller import Caller
from learning.world import World

HEADER = 0
"""The content of a header, one number."""


Tokens = Value[Tensor]
"""Features of tokens, or gradients with respect to them: (..., tokens, width)."""


@dataclass(frozen=True)
class CallMessages:
    """Contents of the messages of calls, beside the hidden states, which are sent as they are."""

    returns: Literal["partial_sum", "per_expert"] = "partial_sum"
    """Answer of a site: for each token the weighted sum over the experts that it called there, or each one's output."""
    header_bits: Annotated[int, Ge(0)] = 128
    """Bits of the header of each message; 0 leaves it out."""
    weight_bits: Annotated[int, Ge(0)] = 16
    """Bits of the gate's weight of a pair, and of the gradient with respect to it. Values arrive exactly."""

    def forward(
        self, tokens: Tokens, count: int, pairs: int, experts: int, *, weighted: bool
    ) -> tuple[Message, Bundle]:
        """The message to a site, and its codec.

        Args:
            tokens: the tokens of the whole pass, whose shape is (..., tokens, width).
            count: how many of them are sent.
            pairs: pairs of token and expert.
            experts: number of experts of the model, which names are to distinguish.
            weighted: whether the site gets weights of the pairs.
        """
        name_bits = max(experts - 1, 0).bit_length()
        message = (rows(tokens, count), _numbers(pairs), _numbers(pairs if weighted else 0), HEADER)
        return message, self._bundle(FixedWidth(name_bits), FixedWidth(self.weight_bits))

    def answer(self, outputs: Tokens, count: int, pairs: int) -> tuple[Message, Bundle]:
        """The answer to `forward`; `outputs` are those of one expert, (..., its tokens, width)."""
        return (rows(outputs, pairs if self.returns == "per_expert" else count), HEADER), self._bundle()

    def plain(self, tokens: Tokens, count: int) -> tuple[Message, Bundle]:
        """The message with `count` tokens alone, of those whose shape is (..., tokens, width), or gradients of them."""
        return (rows(tokens, count), HEADER), self._bundle()

    def gradient(self, gradients: Tokens, count: int, pairs: int, *, weighted: bool) -> tuple[Message, Bundle]:
        """The answer to `backward`; `gradients` are those of the tokens of one expert, (..., its tokens, width)."""
        message = (rows(gradients, count), _numbers(pairs if weighted else 0), HEADER)
        return message, self._bundle(FixedWidth(self.weight_bits))

    def _bundle(self, *of_pairs: FixedWidth) -> Bundle:
        return Bundle((Identity(), *of_pairs, FixedWidth(self.header_bits)))


class Exchange(NamedTuple):
    """Sizes of a message to a site and of the answer."""

    bits_up: int
    """Bits of the message."""
    bits_down: int
    """Bits of the answer."""


NO_MESSAGES = Exchange(0, 0)
"""Those of a call of a site that the caller reaches without a message."""


class ExpertWork(NamedTuple):
    """The work of one expert on some tokens of a user."""

    expert: Expert
    """The expert."""
    pairs: int
    """Number of its tokens."""
    plan: OperationPlan
    """The operation that is charged; its arguments but the weights are shapes."""
    hit: bool = True
    """Whether another site than the origin holds the expert."""
    miss_action: str | None = None
    """What was done about a miss; None for a hit."""


class SiteCall:
    """A call of some experts at one site on behalf of a user. Its times are those of simulated time, in seconds."""

    arrived_s: float
    """Instant at which the message had arrived at the site."""
    stay: Stay | None = None
    """Time in the queue and on the processor of the site; None before the work is finished."""
    done_s: float
    """Instant at which the work was finished."""
    end_s: float
    """Instant at which the caller had the answer."""

    def __init__(
        self,
        world: World,
        caller: Caller,
        site: Server,
        works: Sequence[ExpertWork],
        tokens: int,
        *,
        kind: str,
        request: int | None = None,
    ) -> None:
        """A call that begins now.

        Args:
            world: the world of the run.
            caller: the party that calls.
            site: the site.
            works: the work of each expert that is called.
            tokens: distinct tokens, each of which is sent once.
            kind: what the job is called in the tables `computations` and `expert_calls`.
            request: number of the user's request; None in training.
        """
        self.world, self.caller, self.site, self.works, self.tokens = world, caller, site, works, tokens
        self.kind, self.request = kind, request
        self.pairs = sum(each.pairs for each in works)
        """Pairs of token and expert."""
        self.sent_s = world.env.now
        """Instant of the call."""
        self.bits_up = self.bits_down = 0
        self._round = world.journal.round

    def run(self, exchange: Exchange) -> Timed:
        """Send the message, have the work done, and get the answer. Writes a row of `expert_calls` for each expert."""
        if self.caller.is_at(self.site):
            exchange = NO_MESSAGES
        try:
            self.bits_up = exchange.bits_up
            yield from self.caller.send(self.site, exchange.bits_up)
            self.arrived_s = self.world.env.now
            plans = [each.plan for each in self.works]
            self.stay = yield from self.site.serve(plans, kind=self.kind, user=self.caller.user)
            self.done_s = self.world.env.now
            self.bits_down = exchange.bits_down
            yield from self.caller.receive(self.site, exchange.bits_down)
        except simpy.Interrupt:
            self._record(interrupted=True)
            raise
        self.end_s = self.world.env.now
        self._record(interrupted=False)

    def _record(self, *, interrupted: bool) -> None:
        """Write the rows of the call, which is over now; its bits, time of service and energy are shared by pairs."""
        number, stay = self.world.journal.next_call(), self.stay
        for each in self.works:
            share = each.pairs / self.pairs
            self.world.journal.expert_call(
                call=number,
                user=self.caller.user.number,
                request=self.request,
                layer=each.expert.layer,
                expert=each.expert.number,
                node=self.site.node.name,
                kind=self.kind,
                tokens=self.tokens,
                pairs=each.pairs,
                bits_up=self.bits_up * share,
                bits_down=self.bits_down * share,
                round=self._round,
                start_s=self.sent_s,
                wait_s=None if stay is None else stay.wait_s,
                service_s=None if stay is None else stay.service_s * share,
                hit=each.hit,
                miss_action=each.miss_action,
                energy_j=None if stay is None or stay.energy_j is None else stay.energy_j * share,
                interrupted=interrupted,
            )


def rows(like: Tokens, count: int) -> Tensor:
    """The shape of `count` tokens, as those of `like`, (..., tokens, width)."""
    (leaf,) = specification(like).leaves
    return torch.empty(Size((*leaf.shape[:-2], count, leaf.shape[-1])), dtype=leaf.dtype, device="meta")


def _numbers(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.int64, device="meta")
