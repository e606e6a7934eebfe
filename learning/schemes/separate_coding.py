"""Separate source and channel coding: a file of all images of a round, and a block code of a fixed length.

server           one file of the images, by an image codec: the best that the code can carry
server -> users  one stream of coded symbols, to the end of which each user listens
user             the file, or the mean training image in place of all images if the block is in error
user -> server   acknowledgement

The number of symbols is given. How many bits the code carries in them with a given error probability follows from the
mean signal-to-noise ratio of the weakest user, or with `unicast` of each, who then has a file and a stream of its own;
whether a block is in error is drawn from the probability at the ratios at which its symbols were heard. A round is one
batch of test images, and one block. Image codec and channel code are not charged: their sizes are real, their work is
not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Interval, Le
from torch import Tensor

from learning.fountain.information import block_bits, block_error_rate
from learning.jscc.image_files import MODES, Format, ImageFile, best_file
from learning.jscc.images import span_of, unit
from learning.jscc.listening import mean_snr, symbol_snr
from learning.parties import User
from learning.ports import Heard, Process
from learning.protocols.broadcast import SymbolStream
from learning.protocols.image_broadcast import ACKNOWLEDGEMENT, Received, check_images, images_of, quality_of, report
from learning.protocols.rounds import gather
from learning.scheme import Scheme
from learning.world import World


@dataclass(frozen=True)
class SeparateCoding(Scheme):
    """A base station broadcasts images as a file of an image codec, protected by a block code of fixed length."""

    images: Annotated[int, Ge(1)] = 64
    """Images of a round, which are coded as one mosaic in one file."""
    symbols: Annotated[int, Interval(ge=1, le=100_000)] = 128
    """Real symbols of an image."""
    format: Format = "jpeg2000"
    """Format of the file."""
    code: Literal["ideal", "nr"] = "ideal"
    """Channel code: an ideal binary code of this length (normal approximation), or one transport block of 5G NR with
    the modulation and coding scheme of table 1 that carries most (TS 38.214)."""
    error_rate: Annotated[float, Gt(0), Le(0.5)] = 1e-2
    """Error probability of the block for which it is made."""
    unicast: bool = False
    """Whether each user has a stream of its own, made for its own signal-to-noise ratio instead of the weakest's."""
    deadline_s: Annotated[float, Gt(0)] | None = None
    """Seconds after which the stream of a round ends; null is never."""
    ms_ssim: bool = False
    """Whether the metric `ms_ssim` is computed as well, of images of at least 11 pixels at each side; needs the extra
    netsim-learning[images]."""

    one_chain = True
    evaluates = False

    def run(self, world: World) -> Process[None]:
        assert isinstance(world.dataset.train.x, Tensor)
        span = span_of(world.dataset.train.x)
        mean = unit(world.dataset.train.x, span).mean(0).flatten().expand(self.images, -1)
        for number in world.rounds():
            users = world.selected(number)
            images = images_of(world, number, self.images)
            receivers: dict[User, Process[Received]] = {}
            for audience in [[user] for user in users] if self.unicast else [users]:
                file = best_file(unit(images.tensor(), span), self.format, self.capacity_bits(audience))
                stream = None if file is None else self.stream(world, audience, file)
                sent = (stream, file, mean, images, span)
                receivers |= {user: self.receive(world, user, number, sent) for user in audience}
            received = yield from gather(world, receivers)
            world.report_participation(len(received), len(users))
            report(world, number, self.images, received)

    def check(self, world: World) -> None:
        check_images(world, self.ms_ssim)
        assert isinstance(world.dataset.train.x, Tensor)
        channels = world.dataset.train.x.shape[1]
        if channels not in MODES:
            raise ValueError(f"images with {channels} channels cannot be coded as a file; 1 and 3 are allowed")

    def capacity_bits(self, audience: Sequence[User]) -> int:
        """Bits that the code carries to the weakest of some users."""
        count = self.images * self.symbols
        weakest = min((user.node.downlink for user in audience), key=mean_snr)
        if self.code == "nr":
            return weakest.block_bits(count, mean_snr(weakest), self.error_rate)
        return block_bits(count, mean_snr(weakest), self.error_rate)

    def stream(self, world: World, audience: Sequence[User], file: ImageFile) -> SymbolStream:
        """The stream of a file."""
        data = torch.frombuffer(bytearray(file.data), dtype=torch.uint8)
        limit_s = inf if self.deadline_s is None else self.deadline_s
        return SymbolStream(world.server, audience, data, "symbols", limit_s)

    def receive(self, world: World, user: User, number: int, sent: tuple[Any, ...]) -> Process[Received]:
        """One user's round: listen, decode, acknowledge."""
        stream, file, mean, images, span = sent
        heard: Sequence[Heard] = []
        if stream is not None:
            heard = yield from stream.hear(user, self.images * self.symbols)
        yield from user.send(world.server, 1.0, "acknowledgement", ACKNOWLEDGEMENT)
        failure = 1.0 if file is None else self.failure(user, file, symbol_snr(heard, self.images, self.symbols))
        failed = world.streams.generator("block error", user.number, number).random() < failure
        quality = quality_of(world, images, mean if failed else file.images, span, self.ms_ssim)
        return Received(
            quality,
            sum(one.symbols for one in heard) / self.images,
            bits=0.0 if file is None else 8 * len(file.data) / self.images,
            error_rate=failure,
        )

    def failure(self, user: User, file: ImageFile, snr: Tensor) -> float:
        """Error probability of a file at these ratios of the symbols of an image, (symbols,); 0 is not heard."""
        bits = 8 * len(file.data)
        every = snr.double().repeat_interleave(self.images)
        if self.code == "nr":
            return user.node.downlink.block_error_rate(bits, every.numpy())
        return block_error_rate(bits, every)
