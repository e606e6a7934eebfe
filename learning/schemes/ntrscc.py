"""NTRSCC: broadcast of images by learned transforms and rateless codes, without a common rate.

server           transforms of a batch of images: bits and hyper-latents
server -> users  hyper-latents, one broadcast at the rate of the weakest user
user             number of symbols and iterations, from the priors, its channel and its speed
server -> users  one stream of coded symbols, to which each user listens as long as it has planned
user             belief propagation and synthesis
user -> server   acknowledgement

The transforms are trained before the run, and a round is one batch of test images. Quality and effort of each user are
in `evaluations`, with the split `received`. [Qin et al., arXiv 2603.21616]
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Annotated, Any

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
from learning.jscc.images import psnr_db, span_of
from learning.jscc.listening import Listening, mean_snr, symbol_snr
from learning.jscc.training import Training, trained
from learning.parties import User
from learning.ports import Heard, Process
from learning.protocols.broadcast import broadcast_symbols
from learning.protocols.image_broadcast import ACKNOWLEDGEMENT, Received, check_images, images_of, report
from learning.protocols.rounds import gather
from learning.scheme import Scheme
from learning.world import World


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
    deadline_s: Annotated[float, Gt(0)] | None = None
    """Seconds after which the stream of a round ends; null is never."""
    max_energy_j: Annotated[float, Gt(0)] | None = None
    """Energy in J that a receiver's radio may spend on listening in a round; null is no limit."""

    one_chain = True
    stand_in = "half a bit of uncertainty for each bit of an image"

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
            informed = yield from world.server.broadcast(users, hyper, "side_information", FixedWidth(HYPER_WIDTH))
            plans = yield from self.plans(world, list(informed), unknown)
            streams = broadcast_symbols(
                world.server,
                {user: symbols * self.images for user, (symbols, _) in plans.items()},
                bits,
                "symbols",
                inf if self.deadline_s is None else self.deadline_s,
                inf if self.max_energy_j is None else self.max_energy_j,
            )
            sent = (parameters, hyper, bits, images, span)
            receivers = {user: self.receive(world, user, number, streams[user], plans[user][1], sent) for user in plans}
            received = yield from gather(world, receivers)
            world.report_participation(len(received), len(users))
            report(world, number, self.images, received)

    def check(self, world: World) -> None:
        check_images(world)

    def plans(self, world: World, users: list[User], unknown: Deferred[Tensor]) -> Process[dict[User, tuple[int, int]]]:
        """Symbols of each image, and iterations, of each user."""
        symbols: dict[User, int] = {}
        for user in users:
            uncertain = yield from user.read(unknown, self._half)
            most = self.code.symbols(self.transforms.bits)
            symbols[user] = self.listening.symbols_of(float(uncertain.mean()), mean_snr(user.node.downlink), most)
        if self.listening.together:
            symbols = dict.fromkeys(users, max(symbols.values(), default=0))
        return {user: (symbols[user], self._iterations(user, symbols[user])) for user in users}

    def receive(
        self, world: World, user: User, number: int, stream: Process[Any], iterations: int, sent: tuple[Any, ...]
    ) -> Process[Received]:
        """One user's round: listen, decode, synthesise, acknowledge."""
        heard: list[Heard] = yield from stream
        parameters, hyper, bits, images, span = sent
        symbols = self.code.symbols(self.transforms.bits)
        snr = symbol_snr(heard, self.images, symbols)
        decoded = yield from user.do(
            operators.receive,
            self.transforms,
            self.code,
            parameters,
            hyper,
            bits,
            symbol_draws(world.streams, self.transforms.bits, symbols, number),
            Draw(world.streams, "symbol noise", (user.number, number), (self.images, symbols)),
            snr,
            self.code.edges(int((snr > 0).sum()), self.transforms.bits),
            iterations,
            kind="decoding",
        )
        yield from user.send(world.server, 1.0, "acknowledgement", ACKNOWLEDGEMENT)
        quality = world.executor.submit(psnr_db, images, decoded, span)
        return Received(quality, sum(one.symbols for one in heard) / self.images, iterations)

    def _iterations(self, user: User, symbols: int) -> int:
        degree = self.code.mean_degree(self.transforms.bits)
        speed = user.node.flops_per_s
        return self.listening.iterations_of(symbols, self.images, degree, self.code.propagation, speed)

    def _half(self, unknown: Tensor) -> Tensor:
        return torch.full(unknown.shape, self.transforms.bits).double() / 2
