"""The control phase: what users report, and what the base station decides and grants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from learning.codecs import Codec, Number
from learning.control.controller import record
from learning.control.lengths.controller import LengthController, LengthGrant, grants
from learning.control.lengths.costs import LengthCosts
from learning.control.lengths.losses import LossRule, TeamLosses
from learning.control.lengths.problem import LengthProblem
from learning.control.observation import observe
from learning.parties import User
from learning.ports import Process
from learning.protocols.token_stages import Arrived, BaseStation, Sent
from learning.schemes.token_fusion.measurement import measured
from learning.schemes.token_fusion.sequences import Sequences
from learning.world import World


class Report(NamedTuple):
    """What a user tells the base station before a decision."""

    gain_hz_per_w: float
    """Power gain of its uplink over the noise power density."""
    tokens: int
    """Tokens of a sample."""
    encoding_s: float
    """Time of its device for all of them."""


class Allocator:
    """Decides for the requests of users, by what it knows of channels, costs and losses.

    Args:
        world: the world.
        sequences: the tokens of each modality.
        station: the base station.
        control: the controller.
        rule: how the loss model comes about.
        wire: codec of the tokens.
        samples: samples of a request.
    """

    def __init__(
        self,
        world: World,
        sequences: Sequences,
        station: BaseStation,
        control: LengthController,
        rule: LossRule,
        wire: Codec,
        samples: int,
    ) -> None:
        self.world, self.sequences, self.station = world, sequences, station
        self.control, self.rule, self.samples = control, rule, samples
        self.costs = LengthCosts(world, sequences.towers, wire, station.fusion)
        self.losses: dict[int, TeamLosses] = {}
        """Measured losses, by team."""
        self.grants: dict[User, LengthGrant] = {}
        """What users have been granted last."""
        self.problem: LengthProblem | None = None
        """The problem that was solved last."""

    def report(self, user: User) -> Report:
        """A user's report at this instant."""
        (observed,) = observe([user], self.control.csi)
        modality = self.sequences.modality(user)
        tokens = self.sequences.tokens[modality]
        seconds = self.costs.device(observed, modality, tokens, self.samples).seconds(observed.flops_per_s)
        return Report(observed.uplink.gain_hz_per_w, tokens, float(seconds[tokens]))

    def decide(self, users: Sequence[User], number: int) -> dict[User, LengthGrant]:
        """Decide for the users that have reported, and set their shares of the band and their powers."""
        seen = observe(users, self.control.csi)
        held = {user.number: (name := self.sequences.modality(user), self.sequences.tokens[name]) for user in users}
        teams: dict[int, dict[int, int]] = {}
        for user in users:
            teams.setdefault(user.team, {})[user.number] = held[user.number][1]
        self.problem = self.control.problem(
            seen,
            np.array([each.uplink.gain_hz_per_w for each in observe(users, "average")]),
            [self.costs.device(each, *held[each.user.number], self.samples) for each in seen],
            self.costs.server(seen, held, self.samples),
            self.rule.model(teams, self.losses),
        )
        allocation = self.control.solve(self.problem, self.world.streams.generator("allocation", number))
        self.grants = dict(zip(users, grants(self.problem, allocation), strict=True))
        predicted = {
            "predicted_latency_s": self.problem.latency_s(allocation),
            "predicted_loss": float(self.problem.validation_loss(allocation.lengths)),
            "predicted_weighted_sum": self.problem.objective(allocation),
        }
        record(self.world.journal, None, predicted)
        for user, grant in self.grants.items():
            user.node.uplink.allocate(grant.share, grant.power_w)
            record(self.world.journal, user, grant._asdict())
        return self.grants

    def measure(self, teams: Mapping[int, Mapping[User, Sent]]) -> Process[None]:
        """Measure the losses of teams, by tokens of public samples, if those of all their users have arrived."""
        for team, members in teams.items():
            if len(members) == sum(user.team == team for user in self.world.users):
                arrived = Arrived.of(members.values())
                known = yield from measured(self.world, self.sequences, self.station, self.rule, list(members), arrived)
                if known is not None:
                    self.losses[team] = known

    def lengths(self, users: Sequence[User]) -> dict[str, int]:
        """Tokens that users have been granted, by modality; all where nothing has been."""
        return {self.sequences.modality(user): self.grants[user].tokens for user in users if user in self.grants}

    def combined_s(self, seconds: Sequence[float]) -> float:
        """The uploads' part of the latency, for each user's time: the latest, or the sum."""
        assert self.problem is not None
        return float(self.problem.combined_s(np.array(seconds)))

    @property
    def weights(self) -> tuple[Number, Number]:
        """Weights of a second of latency, and of the loss, in the last problem."""
        assert self.problem is not None
        return Number(self.problem.second_weight), Number(self.problem.loss_weight)
