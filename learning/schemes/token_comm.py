"""Token communication with contrastive split fine-tuning. [Zhang et al., arXiv 2505.07841v1]

A round is one mini-batch of each team of users, who hold different modalities of the same samples.
user             frozen encoder, reduction of its tokens, trained projection; words need their table only
user -> server   tokens, as analogue symbols or quantised
barrier: the server has the tokens of all users, or those that arrive in time
server           receivers; first stage: alignment of all modalities to the words of a caption, without the foundation
                 model; second stage: the foundation model reads all tokens and is to answer
server           one step on the mean of all teams' gradients: of the receivers, and in the second stage of the adapters
server -> user   gradient of its tokens, unless nothing trains on its device
user             step of its projection
user -> server   projection, in rounds after which those of one modality are averaged; the mean comes down in the next
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from annotated_types import Ge

from learning import steps
from learning.aggregators import weighted_mean
from learning.deployed import Deployed
from learning.models import Multimodal
from learning.parties import User
from learning.ports import Process
from learning.protocols.average import average
from learning.protocols.token_stages import BaseStation, Device, Sent, TwoStages
from learning.reducers import TokenReducer, reduced_towers
from learning.scheme import Scheme
from learning.world import World


@dataclass(frozen=True)
class TokenComm(TwoStages, Scheme):
    """Token communication of multimodal users with a foundation model, aligned before it is tuned (Zhang et al., 2025).

    Needs `learning.towers`, a `decoder` as model, and `learning.adapter`. `learning.holding` says which modalities
    users hold.
    """

    tokens: dict[str, TokenReducer] = field(default_factory=dict, hash=False)
    """The rule by which tokens are reduced before they are sent, by modality (default: all are sent)."""
    average_every: Annotated[int, Ge(1)] | None = None
    """Rounds between means of the projections of one modality over its users; null keeps them private."""

    def check(self, world: World) -> None:
        """Raises ValueError where model, data or radio are not what the scheme needs."""
        self.check_stages(world)
        assert isinstance(world.whole, Multimodal)
        reduced_towers(world.whole, self.tokens)

    def run(self, world: World) -> Process[None]:
        assert isinstance(world.whole, Multimodal)
        model = reduced_towers(world.whole, self.tokens)
        station = BaseStation(world, model, self.anchor)
        devices = {user: Device(world, model, user) for user in world.users}
        for number in world.rounds():
            done = yield from self.train(world, number, station, devices, partial(self.finish, world, number))
            if self._averages(number):
                yield from self.average(world, [devices[user] for user in done])
            over = [Deployed(None, self.uplink)]
            world.models(*self.models(world, model, station, devices), over=over, under=self.links)

    def finish(self, world: World, number: int, device: Device, sent: Sent, dz: Any) -> Process[None]:
        """A user's part of a round behind the barrier."""
        yield from device.download(sent.x, dz, self.downlink)
        if self._averages(number) and device.names:
            yield from device.user.send(world.server, device.weights, "model")

    def average(self, world: World, devices: list[Device]) -> Process[None]:
        """Mean of the projections of each modality over the users that have sent theirs; they download it next."""
        means: dict[str, Any] = {}
        for name in dict.fromkeys(name for device in devices for name in device.names):
            holders = [device for device in devices if name in device.names]
            own = [device.projection(name) for device in holders]
            weights = world.weights([device.user for device in holders], "by_samples")
            means[name] = yield from average(world, own, weights)
        for device in devices:
            if device.names:
                device.fresh = world.executor.submit(steps.merge, *(means[name] for name in device.names))

    def models(
        self, world: World, model: Multimodal, station: BaseStation, devices: Mapping[User, Device]
    ) -> list[tuple[Any, ...]]:
        """The models to be evaluated: that of each team, or one whose projections are means over users."""
        initial, members = world.initial(world.front), list(devices.values())
        if self.average_every is None:
            teams = dict.fromkeys(user.team for user in devices)
            own = {team: [device.weights for device in members if device.user.team == team] for team in teams}
            return [(model, initial, *own[team], station.weights) for team in teams]
        means = []
        for name in dict.fromkeys(name for device in members for name in device.names):
            holders = [device for device in members if name in device.names]
            weights = world.weights([device.user for device in holders], "by_samples")
            means.append(world.executor.submit(weighted_mean, [each.projection(name) for each in holders], weights))
        return [(model, initial, *means, station.weights)]

    def _averages(self, number: int) -> bool:
        """Whether projections are averaged after this round."""
        return self.average_every is not None and (number + 1) % self.average_every == 0
