"""NTRSCC: broadcast of images by learned transforms and rateless codes, without a common rate.

server           transforms of a batch of images: bits and hyper-latents
server -> users  hyper-latents, one broadcast at the rate of the weakest user
user             number of symbols and iterations, from the priors, its channel and its speed
server -> users  one stream of coded symbols, to which each user listens as planned, or until it has decoded
user             belief propagation and synthesis, anew with more symbols if it has not decoded
user -> server   acknowledgement, which can end the stream

The transforms are trained before the run, and a round is one batch of test images. Quality and effort of each user are
in `evaluations`, with the split `received`. [Qin et al., arXiv 2603.21616]
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from learning.codecs import FixedWidth
from learning.draws import Draw
from learning.executor.deferred import Deferred
from learning.fountain.graph import symbol_draws
from learning.jscc import operators
from learning.jscc.autoencoder import HYPER_WIDTH, Transforms
from learning.jscc.code import Code
from learning.jscc.images import span_of
from learning.jscc.listening import ROUNDING, Listening, mean_snr, symbol_snr
from learning.jscc.training import Training, trained
from learning.parties import User
from learning.ports import Heard, Process
from learning.protocols.broadcast import SymbolStream
from learning.protocols.image_broadcast import ACKNOWLEDGEMENT, Received, check_images, images_of, quality_of, report
from learning.protocols.rounds import gather
from learning.scheme import Scheme
from learning.world import World

SIDE_INFORMATION = FixedWidth(HYPER_WIDTH)
"""Codec of hyper-latents."""


@dataclass(frozen=True)
class NTRSCC(Scheme):
    """A base station broadcasts images; every receiver stops by itself."""

    images: Annotated[int, Ge(1)] = 16
    """Images of a round."""
    transforms: Transforms = Transforms()
    """Transforms between images and bits."""
    code: Code = Code()
    """Rateless code on the bits."""
    listening: Listening = Listening()
    """How long receivers listen, and how many iterations they decode."""
    training: Training = Training()
    """Training of the transforms."""
    unicast: bool = False
    """Whether each user has hyper-latents and a stream of its own; these streams share the band."""
    stream_ends: Literal["with_receptions", "with_acknowledgements", "at_deadline"] = "with_receptions"
    """When the sender stops: with the last reception, as if it knew; when all users have acknowledged, with what is on
    the air while acknowledgements are on their way; or at `deadline_s`, which needs no acknowledgements."""
    deadline_s: Annotated[float, Gt(0)] | None = None
    """Seconds after which the stream of a round ends; null is never."""
    max_energy_j: Annotated[float, Gt(0)] | None = None
    """Energy in J that a receiver's radio may spend on listening in a round; null is no limit."""
    ms_ssim: bool = False
    """Whether the metric `ms_ssim` is computed as well, of images of at least 11 pixels at each side; needs the extra
    netsim-learning[images]."""

    one_chain = True
    evaluates = False

    def __post_init__(self) -> None:
        if self.stream_ends == "at_deadline" and self.deadline_s is None:
            raise ValueError("a stream that ends at_deadline needs deadline_s")

    @property
    def stand_in(self) -> str:
        adaptive = (
            ", and soft syndromes that say at once that all is decoded" if self.listening.stop == "decoded" else ""
        )
        trained = ", the mean degree before training" if self.code.distribution == "trained" else ""
        return f"half a bit of uncertainty for each bit of an image{trained}{adaptive}"

    def run(self, world: World) -> Process[None]:
        parameters = trained(
            world.executor, world.streams, world.dataset, world.precision, self.transforms, self.code, self.training
        )
        assert isinstance(world.dataset.train.x, Tensor)
        span = span_of(world.dataset.train.x)
        for number in world.rounds():
            users = world.selected(number)
            images = images_of(world, number, self.images)
            work = (operators.analyse, self.transforms, parameters, images, span)
            bits, hyper, unknown = yield from world.server.do(*work, kind="analysis")
            sent = (parameters, hyper, bits, images, span)
            streams: list[SymbolStream] = []
            receivers: dict[User, Process[Received]] = {}
            for audience in [[user] for user in users] if self.unicast else [users]:
                informed = yield from world.server.broadcast(audience, hyper, "side_information", SIDE_INFORMATION)
                plans = yield from self.plans(list(informed), unknown)
                stream = self.stream(world, list(plans), bits)
                streams.append(stream)
                receivers |= {user: self.receive(world, user, number, stream, plans[user], sent) for user in plans}
            begin_s = world.env.now
            received = yield from gather(world, receivers)
            if self.stream_ends == "at_deadline" and self.deadline_s is not None:
                yield world.env.timeout(max(begin_s + self.deadline_s - world.env.now, 0.0))
            for stream in streams:
                stream.end()
            world.report_participation(len(received), len(users))
            report(world, number, self.images, received)

    def check(self, world: World) -> None:
        check_images(world, self.ms_ssim)

    def stream(self, world: World, audience: list[User], bits: Deferred[Tensor]) -> SymbolStream:
        """A stream of the bits of a round's images."""
        limit_s = inf if self.deadline_s is None else self.deadline_s
        limit_j = inf if self.max_energy_j is None else self.max_energy_j
        steady = self.stream_ends != "with_receptions"
        return SymbolStream(world.server, audience, bits, "symbols", limit_s, limit_j, steady)

    def plans(self, users: list[User], unknown: Deferred[Tensor]) -> Process[dict[User, int]]:
        """Symbols of each image after which each user decodes."""
        symbols: dict[User, int] = {}
        for user in users:
            uncertain = yield from user.read(unknown, self._half)
            needed = float(uncertain.mean()) if self.code.side_information else self.transforms.bits
            symbols[user] = self.listening.symbols_of(needed, mean_snr(user.node.downlink), self._most)
        if self.listening.together:
            symbols = dict.fromkeys(users, max(symbols.values(), default=0))
        return symbols

    def receive(
        self, world: World, user: User, number: int, stream: SymbolStream, planned: int, sent: tuple[Any, ...]
    ) -> Process[Received]:
        """One user's round: listen, decode, again with more symbols if need be, acknowledge."""
        adaptive, heard, decodings = self.listening.stop == "decoded", list[Heard](), 0
        parameters, hyper, bits, images, span = sent
        graph = symbol_draws(world.streams, self.transforms.bits, self._most, number)
        noise = Draw(world.streams, "symbol noise", (user.number, number), (self.images, self._most))
        found = world.executor.submit(operators.mean_degree, self.code, self.transforms.bits, parameters)
        degree = float((yield from user.read(found, self._untrained)))
        wanted = planned
        while True:
            new = yield from stream.hear(user, wanted * self.images)
            heard += new
            decodings += 1
            iterations = self._iterations(user, planned, degree)
            snr = symbol_snr(heard, self.images, self._most)
            edges = ceil(int((snr > 0).sum()) * degree)
            coded = (self.transforms, self.code, parameters, hyper, bits, graph, noise, snr, edges, iterations)
            decoded, syndrome = yield from user.do(operators.receive, *coded, adaptive, kind="decoding")
            if not adaptive:
                break
            agreement = yield from user.read(syndrome, _one)
            cut_short = sum(one.symbols for one in new) < wanted * self.images * (1 - ROUNDING)
            wanted = min(self.listening.block, self._most - planned)
            if float(agreement.mean()) >= self.listening.syndrome or cut_short or not wanted:
                break
            planned += wanted
        yield from user.send(world.server, 1.0, "acknowledgement", ACKNOWLEDGEMENT)
        quality = quality_of(world, images, decoded, span, self.ms_ssim)
        each = sum(one.symbols for one in heard) / self.images
        return Received(quality, each, iterations, decodings if adaptive else None)

    @property
    def _most(self) -> int:
        return self.code.symbols(self.transforms.bits)

    def _iterations(self, user: User, symbols: int, degree: float) -> int:
        speed = user.node.flops_per_s
        return self.listening.iterations_of(symbols, self.images, degree, self.code.propagation, speed)

    def _half(self, unknown: Tensor) -> Tensor:
        return torch.full(unknown.shape, self.transforms.bits).double() / 2

    def _untrained(self, degree: Tensor) -> Tensor:
        return torch.full(degree.shape, self.code.mean_degree(self.transforms.bits)).double()


def _one(syndrome: Tensor) -> Tensor:
    return torch.ones(syndrome.shape)
