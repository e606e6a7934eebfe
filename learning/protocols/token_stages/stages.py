"""Training in two stages: alignment of all modalities to words, without the foundation model; then the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt

from learning.codecs import Analogue, Codec, Identity
from learning.data import Modalities, Rows
from learning.deployed import Deployed
from learning.models import Multimodal
from learning.parties import User
from learning.ports import Process
from learning.protocols.join import join
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink
from learning.protocols.token_stages.device import Device, Sent
from learning.protocols.token_stages.station import Arrived, BaseStation
from learning.world import World

UPLOAD_SHARE = 0.5
"""Fraction of a round's deadline by which tokens must have arrived, so that the rest is left for gradients."""
Finish = Callable[[Device, Sent, Any], Process[None]]
"""What a user does with what it has sent, and the gradient of its tokens."""


@dataclass(frozen=True)
class TwoStages:
    """Base of schemes that align modalities before they train on the task. A round is one mini-batch of each team."""

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
    test_snr_db: tuple[float, ...] = ()
    """Signal-to-noise ratios in dB at which models are evaluated too, in splits such as `test_6_db`."""
    uplink: Codec = Analogue()
    """Codec of the tokens (user to server)."""
    downlink: Codec = Identity()
    """Codec of the gradients of the tokens (server to user)."""

    def check_stages(self, world: World) -> None:
        """Raises ValueError where model, data or radio are not what both stages need."""
        CutLink(None, self.uplink, self.downlink).check(world)
        if not isinstance(world.whole, Multimodal) or world.adapter is None:
            raise ValueError("the scheme needs a model with learning.towers and learning.adapter")
        if self.anchor not in world.parts or self.captions not in world.dataset.modalities:
            raise ValueError(f"there is no tower of {self.anchor}, or no modality {self.captions}")
        held = [user.batches.modalities for user in world.users]
        if self.alignment_rounds and any(self.anchor in own and self.captions not in own for own in held):
            raise ValueError(f"users that hold {self.anchor} need {self.captions}, too, for the first stage")

    def batch(self, user: User, number: int) -> tuple[Modalities, Rows]:
        """The user's part of its team's mini-batch; in the first stage it reads captions in place of the anchor."""
        x, y = user.batch(number)
        assert isinstance(x, Modalities)
        if number < self.alignment_rounds and self.anchor in x.values:
            return Modalities({**x.values, self.anchor: x.values[self.captions]}, x.present), y
        return x, y

    def train(
        self, world: World, number: int, station: BaseStation, devices: Mapping[User, Device], finish: Finish
    ) -> Process[list[User]]:
        """Round `number` of either stage; returns the users that have finished it.

        Args:
            world: the world.
            number: number of the round.
            station: the base station.
            devices: the users' devices.
            finish: what a user does with the gradient of its tokens.
        """
        if number == self.alignment_rounds:
            station.begin_stage()
            for device in devices.values():
                device.begin_stage()
        users = world.selected(number)
        uploads = {user: devices[user].upload(self.batch(user, number), self.uplink) for user in users}
        sent = yield from gather(world, uploads, UPLOAD_SHARE)
        gradients = yield from self.learn(world, number, station, sent)
        work = {
            user: finish(devices[user], each, gradients[user.team])
            for user, each in sent.items()
            if user.team in gradients
        }
        done = yield from gather(world, work)
        world.report_participation(len(done), len(users))
        return list(done)

    def learn(
        self, world: World, number: int, station: BaseStation, sent: Mapping[User, Sent]
    ) -> Process[dict[int, Any]]:
        """The base station's passes and its step; returns the gradients of the tokens of each team that has some.

        In the first stage a team without the anchor has no loss.
        """
        teams = of_teams(sent)
        passes = {}
        for team, members in teams.items():
            arrived = Arrived.of(members.values())
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

    @property
    def links(self) -> dict[str, Deployed]:
        """Further links of test samples, by name."""
        return {f"{snr_db:g}_db": Deployed(None, Analogue(snr_db)) for snr_db in self.test_snr_db}


def of_teams(sent: Mapping[User, Sent]) -> dict[int, dict[User, Sent]]:
    """What has arrived of each team, in the order of the users."""
    teams: dict[int, dict[User, Sent]] = {}
    for user, each in sent.items():
        teams.setdefault(user.team, {})[user] = each
    return teams
