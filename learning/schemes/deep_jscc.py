"""Deep JSCC: broadcast of images as amplitudes of uncoded symbols, as many for every user.

server           transforms of a batch of images: real symbols of unit power
server -> users  one stream of these symbols, to the end of which each user listens
user             synthesis of the images, from symbols with the noise of its channel
user -> server   acknowledgement

The transforms are trained before the run, and a round is one batch of test images. With `unicast` each user has a
stream of its own, of transforms that were trained at its mean signal-to-noise ratio; these streams share the band.
[Bourtsoulatze, Kurka, Gündüz, IEEE TCCN 5(3), 2019]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, log10
from typing import Annotated, Any

from annotated_types import Ge, Gt
from torch import Tensor

from learning.draws import Draw
from learning.jscc import amplitudes
from learning.jscc.amplitudes import Amplitudes, AmplitudeTraining
from learning.jscc.images import span_of
from learning.jscc.listening import mean_snr, symbol_snr
from learning.parties import User
from learning.ports import Heard, Process
from learning.protocols.broadcast import SymbolStream
from learning.protocols.image_broadcast import ACKNOWLEDGEMENT, Received, check_images, images_of, quality_of, report
from learning.protocols.rounds import gather
from learning.scheme import Scheme
from learning.world import World


@dataclass(frozen=True)
class DeepJSCC(Scheme):
    """A base station broadcasts images as analogue symbols at a fixed rate; quality follows each user's channel."""

    images: Annotated[int, Ge(1)] = 16
    """Images of a round."""
    transforms: Amplitudes = Amplitudes()
    """Transforms between images and symbols."""
    training: AmplitudeTraining = AmplitudeTraining()
    """Training of the transforms."""
    unicast: bool = False
    """Whether each user has a stream of its own, trained at its own signal-to-noise ratio instead of `snr_db`."""
    deadline_s: Annotated[float, Gt(0)] | None = None
    """Seconds after which the stream of a round ends; null is never."""
    ms_ssim: bool = False
    """Whether the metric `ms_ssim` is computed as well, of images of at least 11 pixels at each side; needs the extra
    netsim-learning[images]."""

    one_chain = True
    evaluates = False

    def run(self, world: World) -> Process[None]:
        assert isinstance(world.dataset.train.x, Tensor)
        trained = self.trained(world)
        span = span_of(world.dataset.train.x)
        heard_in_all = self.images * self.transforms.symbols
        limit_s = inf if self.deadline_s is None else self.deadline_s
        for number in world.rounds():
            users = world.selected(number)
            images = images_of(world, number, self.images)
            receivers: dict[User, Process[Received]] = {}
            for audience in [[user] for user in users] if self.unicast else [users]:
                parameters = trained[audience[0]]
                work = (amplitudes.analyse, self.transforms, parameters, images, span)
                symbols = yield from world.server.do(*work, kind="analysis")
                stream = SymbolStream(world.server, audience, symbols, "symbols", limit_s)
                sent = (parameters, symbols, images, span)
                receivers |= {
                    user: self.receive(world, user, number, stream.hear(user, heard_in_all), sent) for user in audience
                }
            received = yield from gather(world, receivers)
            world.report_participation(len(received), len(users))
            report(world, number, self.images, received)

    def check(self, world: World) -> None:
        check_images(world, self.ms_ssim)

    def trained(self, world: World) -> dict[User, Any]:
        """Parameters of the transforms for each user: one object for all, or that of its signal-to-noise ratio."""
        given = world.executor, world.streams, world.dataset, world.precision, self.transforms
        if not self.unicast:
            return dict.fromkeys(world.users, amplitudes.trained(*given, self.training))
        own = {user: 10 * log10(mean_snr(user.node.downlink)) for user in world.users}
        at = {db: amplitudes.trained(*given, replace(self.training, snr_db=(db, db))) for db in set(own.values())}
        return {user: at[db] for user, db in own.items()}

    def receive(
        self, world: World, user: User, number: int, stream: Process[Sequence[Heard]], sent: tuple[Any, ...]
    ) -> Process[Received]:
        """One user's round: listen, synthesise, acknowledge."""
        heard = yield from stream
        parameters, symbols, images, span = sent
        count = self.transforms.symbols
        synthesised = yield from user.do(
            amplitudes.receive,
            self.transforms,
            parameters,
            symbols,
            Draw(world.streams, "symbol noise", (user.number, number), (self.images, count)),
            symbol_snr(heard, self.images, count),
            kind="synthesis",
        )
        yield from user.send(world.server, 1.0, "acknowledgement", ACKNOWLEDGEMENT)
        quality = quality_of(world, images, synthesised, span, self.ms_ssim)
        return Received(quality, sum(one.symbols for one in heard) / self.images)
