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
from typing import Annotated, Any

from annotated_types import Ge, Gt

from learning import steps
from learning.aggregators import weighted_mean
from learning.codecs import Analogue, Codec, Identity
from learning.data import Modalities, Rows
from learning.deployed import Deployed
from learning.models import Multimodal
from learning.parties import User
from learning.ports import Process
from learning.protocols.average import average
from learning.protocols.join import join
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink
from learning.reducers import TokenReducer, reduced_towers
from learning.scheme import Scheme
from learning.schemes.token_comm.device import Device, Sent
from learning.schemes.token_comm.station import Arrived, BaseStation
from learning.world import World

UPLOAD_SHARE = 0.5
"""Fraction of a round's deadline by which tokens must have arrived, so that the rest is left for gradients."""


@dataclass(frozen=True)
class TokenComm(Scheme):
    """Token communication of multimodal users with a foundation model, aligned before it is tuned (Zhang et al., 2025).

    Needs `learning.towers`, a `decoder` as model, and `learning.adapter`. `learning.holding` says which modalities
    users hold.
    """

    alignment_rounds: Annotated[int, Ge(0)] = 200
    """Rounds of the first stage; with 0 there is no alignment."""
    temperature: Annotated[float, Gt(0)] = 0.07
    """Temperature of the contrastive loss."""
    reconstruction: Annotated[float, Ge(0)] = 1.0
    """Weight of the reconstruction of the anchor's tokens in the loss of the first stage."""
    anchor: str = "text"
    """Modality, of words, to which the others are aligned."""
    captions: str = "caption"
    """Modality that its users read in place of the anchor in the first stage: descriptions of their samples."""
    tokens: dict[str, TokenReducer] = field(default_factory=dict, hash=False)
    """The rule by which tokens are reduced before they are sent, by modality (default: all are sent)."""
    uplink: Codec = Analogue()
    """Codec of the tokens (user to server)."""
    downlink: Codec = Identity()
    """Codec of the gradients of the tokens (server to user)."""
    average_every: Annotated[int, Ge(1)] | None = None
    """Rounds between means of the projections of one modality over its users; null keeps them private."""
    test_snr_db: tuple[float, ...] = ()
    """Signal-to-noise ratios in dB at which models are evaluated too, in splits such as `test_6_db`."""

    def check(self, world: World) -> None:
        """Raises ValueError where model, data or radio are not what the scheme needs."""
        CutLink(None, self.uplink, self.downlink).check(world)
        if not isinstance(world.whole, Multimodal) or world.adapter is None:
            raise ValueError("the scheme needs a model with learning.towers and learning.adapter")
        if self.anchor not in world.parts or self.captions not in world.dataset.modalities:
            raise ValueError(f"there is no tower of {self.anchor}, or no modality {self.captions}")
        held = [user.batches.modalities for user in world.users]
        if self.alignment_rounds and any(self.anchor in own and self.captions not in own for own in held):
            raise ValueError(f"users that hold {self.anchor} need {self.captions}, too, for the first stage")
        reduced_towers(world.whole, self.tokens)

    def run(self, world: World) -> Process[None]:
        assert isinstance(world.whole, Multimodal)
        model = reduced_towers(world.whole, self.tokens)
        station = BaseStation(world, model, self.anchor)
        devices = {user: Device(world, model, user) for user in world.users}
        for number in world.rounds():
            if number == self.alignment_rounds:
                station.begin_stage()
                for device in devices.values():
                    device.begin_stage()
            users = world.selected(number)
            uploads = {user: devices[user].upload(self.batch(user, number), self.uplink) for user in users}
            sent = yield from gather(world, uploads, UPLOAD_SHARE)
            gradients = yield from self.serve(world, number, station, sent)
            work = {
                user: self.finish(world, number, devices[user], each, gradients[user.team])
                for user, each in sent.items()
                if user.team in gradients
            }
            done = yield from gather(world, work)
            if self._averages(number):
                yield from self.average(world, [devices[user] for user in done])
            world.report_participation(len(done), len(users))
            over = [Deployed(None, self.uplink)]
            world.models(*self.models(world, model, station, devices), over=over, under=self.links)

    def batch(self, user: User, number: int) -> tuple[Modalities, Rows]:
        """The user's part of its team's mini-batch; in the first stage it reads captions in place of the anchor."""
        x, y = user.batch(number)
        assert isinstance(x, Modalities)
        if number < self.alignment_rounds and self.anchor in x.values:
            return Modalities({**x.values, self.anchor: x.values[self.captions]}, x.present), y
        return x, y

    def serve(
        self, world: World, number: int, station: BaseStation, sent: Mapping[User, Sent]
    ) -> Process[dict[int, Any]]:
        """The base station's passes and its step; returns the gradients of the tokens of each team that has some.

        In the first stage a team without the anchor has no loss.
        """
        teams: dict[int, dict[User, Sent]] = {}
        for user, each in sent.items():
            teams.setdefault(user.team, {})[user] = each
        passes = {}
        for team, members in teams.items():
            arrived = Arrived([each.tokens for each in members.values()], *next(iter(members.values()))[::2])
            anchors = [each.x.values[self.anchor] for each in members.values() if self.anchor in each.x.values]
            if number >= self.alignment_rounds:
                passes[team] = station.answer(arrived)
            elif anchors:
                passes[team] = station.align(arrived, anchors[0], self.temperature, self.reconstruction)
        if not passes:
            return {}
        results = yield from join(world.env, passes.values())
        weights = world.weights([next(iter(teams[team])) for team in passes], "by_samples")
        station.step([gradients for gradients, _, _ in results], weights)
        return {team: dz for team, (_, dz, _) in zip(passes, results, strict=True)}

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

    @property
    def links(self) -> dict[str, Deployed]:
        """Further links of test samples, by name."""
        return {f"{snr_db:g}_db": Deployed(None, Analogue(snr_db)) for snr_db in self.test_snr_db}

    def _averages(self, number: int) -> bool:
        """Whether projections are averaged after this round."""
        return self.average_every is not None and (number + 1) % self.average_every == 0
