"""Task-oriented transmission of tokens of several modalities to a foundation model. [Zhang et al., arXiv 2505.07841v3]

Both stages of training: as `token_comm`, but of lengths that are drawn in each round, for one model of all lengths
one round of measurement:
  user -> server   all tokens of public samples
  server           validation loss with fewer tokens of each modality
then requests, a round each:
  user -> server   report: channel, tokens, encoding time
  server           bandwidth, power and number of tokens of each user
  server -> user   grant
  user             frozen encoder, sliding windows over its tokens, projection
  user -> server   as many tokens as were granted
  barrier: the server has the tokens of all users, or those that arrive in time
  server           receivers and foundation model: the answers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge

from learning.codecs import Analogue, Codec, FixedWidth, Number, Uniform
from learning.control.lengths.controller import LengthController
from learning.control.lengths.losses import LossRule
from learning.data import rows
from learning.deployed import Deployed
from learning.parties import User
from learning.ports import Process
from learning.protocols.join import join
from learning.protocols.rounds import beside, gather
from learning.protocols.token_stages import UPLOAD_SHARE, Arrived, BaseStation, Device, Sent, TwoStages, of_teams
from learning.scheme import Scheme
from learning.schemes.token_fusion.allocation import Allocator
from learning.schemes.token_fusion.operators import request_figures
from learning.schemes.token_fusion.sequences import Rule, Sequences, own_part
from learning.world import World

REPORT_SHARE, GRANT_SHARE = 0.2, 0.3
"""Fractions of a round's deadline by which reports, and grants, must have arrived."""


@dataclass(frozen=True)
class TokenFusion(TwoStages, Scheme):
    """Requests to a foundation model with as many tokens as bandwidth, power and loss suggest (Zhang et al., 2025).

    Needs `learning.towers`, a `decoder` as model, `learning.adapter`, the uplink scheduler `controlled`, users of one
    modality each (`learning.holding`) and, where losses are measured, `learning.public_fraction`. Rounds behind the two
    stages are requests about users' own parts of the test set.
    """

    task_rounds: Annotated[int, Ge(0)] = 200
    """Rounds of the second stage, training on the task; requests follow."""
    elastic: bool = True
    """Whether the lengths of both stages are drawn in each round, uniformly from `control.min_tokens` to all tokens;
    otherwise all tokens are sent."""
    reducer: Rule = "window_pool"
    """Rule by which users reduce their tokens."""
    keep: dict[str, Annotated[int, Ge(0)]] = field(default_factory=dict, hash=False)
    """Tokens at the beginning of a sequence, such as summary tokens, that windows leave as they are, by modality."""
    control: LengthController = LengthController()
    """The controller of tokens, bandwidths and powers."""
    loss: LossRule = LossRule()
    """How the loss model of the controller comes about."""
    reallocate_every: Annotated[int, Ge(1)] = 1
    """Rounds of requests from one decision to the next."""
    request_samples: Annotated[int, Ge(1)] = 32
    """Samples of a request."""
    uplink: Codec = Uniform()
    """Codec of the tokens (user to server); a digital one."""

    @property
    def stand_in(self) -> str | None:
        """Assumed loss curves, where decisions otherwise depend on measured ones; else None."""
        return "loss curves as assumed (scheme.loss.assumed)" if self.loss.measures else None

    def check(self, world: World) -> None:
        """Raises ValueError where model, data or radio are not what the scheme needs."""
        self.check_stages(world)
        if isinstance(self.uplink, Analogue):
            raise ValueError("times of analogue messages do not depend on power; the controller needs a digital uplink")
        for user in world.users:
            sent = [name for name in user.batches.modalities if name in world.parts]
            if len(sent) != 1:
                raise ValueError(f"user {user.number} would send {' and '.join(sent)}; each user sends one modality")
            if user.held_out is None:
                raise ValueError(
                    f"user {user.number} has no sample of the test set to ask about; use more test samples"
                )
            user.node.uplink.allocate(None)
        if self.loss.measures and not len(world.public.indices):
            raise ValueError(
                "losses are measured on public samples; set learning.public_fraction, or loss.curve: assumed"
            )
        sequences = Sequences(world, self.reducer, self.keep)
        if unknown := next((name for name in self.keep if name not in sequences.tokens), None):
            raise ValueError(f"keep names {unknown}, of which there is no tower")
        self.control.check([sequences.tokens[sequences.modality(user)] for user in world.users])

    def run(self, world: World) -> Process[None]:
        sequences = Sequences(world, self.reducer, self.keep)
        station = BaseStation(world, sequences.model({}), self.anchor)
        devices = {user: Device(world, sequences.model({}), user) for user in world.users}
        allocator = Allocator(world, sequences, station, self.control, self.loss, self.uplink, self.request_samples)
        trained = self.alignment_rounds + self.task_rounds
        for number in world.rounds():
            if number < trained:
                lengths = sequences.drawn(world, number, self.control.min_tokens) if self.elastic else {}
                station.read_by(sequences.model(lengths))
                for device in devices.values():
                    device.read_by(sequences.model(lengths))
                yield from self.train(world, number, station, devices, self.finish)
            elif number == trained and self.loss.measures:
                yield from self.measure(world, number, allocator, devices)
            else:
                yield from self.serve(world, number, number - trained - self.loss.measures, allocator, devices)
            over = [Deployed(None, self.uplink)]
            world.models(*self.models(world, allocator, devices), over=over, under=self.links)

    def finish(self, device: Device, sent: Sent, dz: Any) -> Process[None]:
        """A user's part of a round of training behind the barrier."""
        return device.download(sent.x, dz, self.downlink)

    def measure(self, world: World, number: int, allocator: Allocator, devices: Mapping[User, Device]) -> Process[None]:
        """The round of measurement: users send all tokens of the public samples."""
        users, uploads = world.selected(number), {}
        for user in users:
            devices[user].read_by(allocator.sequences.model({}))
            public = own_part(user, rows(world.dataset, "train", world.public.indices))
            uploads[user] = devices[user].upload(public, self.uplink)
        sent = yield from gather(world, uploads, UPLOAD_SHARE)
        yield from beside(world, nothing(), allocator.measure(of_teams(sent)))
        world.report_participation(len(sent), len(users))

    def serve(
        self, world: World, number: int, place: int, allocator: Allocator, devices: Mapping[User, Device]
    ) -> Process[None]:
        """Round `place` of requests, from 0."""
        users: Sequence[User] = world.selected(number)
        asked = len(users)
        if place % self.reallocate_every == 0 or not all(user in allocator.grants for user in users):
            users = yield from self.allocate(world, number, users, allocator)
        start_s = world.env.now
        requests = {user: self.request(world, user, place, allocator, devices[user]) for user in users}
        arrived = yield from gather(world, requests, UPLOAD_SHARE)
        waited_s = world.env.now - start_s
        teams = of_teams({user: sent for user, (sent, _) in arrived.items()})
        passes = [allocator.station.respond(Arrived.of(members.values())) for members in teams.values()]
        _, answers = yield from beside(world, nothing(), join(world.env, passes))
        world.report_participation(len(arrived) if answers else 0, asked)
        if answers:
            seconds = [arrived[user][1] if user in arrived else waited_s for user in users]
            latency_s = allocator.combined_s(seconds) + world.env.now - start_s - waited_s
            figures = (Number(latency_s), *allocator.weights, *map(list, zip(*answers, strict=True)))
            found = world.executor.submit(request_figures, *figures, self.request_samples * len(teams))
            world.evaluator((), [found], round=number, time_s=world.env.now)

    def allocate(
        self, world: World, number: int, users: Sequence[User], allocator: Allocator
    ) -> Process[Sequence[User]]:
        """Reports, decision and grants; returns the users that know theirs."""
        for user in world.users:
            user.node.uplink.allocate(None)
        reports = {user: user.send(world.server, allocator.report(user), "report", FixedWidth(32)) for user in users}
        heard = yield from gather(world, reports, REPORT_SHARE)
        grants = allocator.decide(list(heard), number) if heard else {}
        news = {user: world.server.send(user, grant, "allocation", FixedWidth(32)) for user, grant in grants.items()}
        return list((yield from gather(world, news, GRANT_SHARE)))

    def request(
        self, world: World, user: User, place: int, allocator: Allocator, device: Device
    ) -> Process[tuple[Sent, float]]:
        """A user's part of a request: its tokens, as many as were granted; and how long they took."""
        assert user.held_out is not None
        start_s = world.env.now
        device.read_by(allocator.sequences.model(allocator.lengths([user])))
        first = place * self.request_samples
        batch = own_part(user, user.held_out.run(range(first, first + self.request_samples)))
        sent = yield from device.upload(batch, self.uplink)
        return sent, world.env.now - start_s

    def models(self, world: World, allocator: Allocator, devices: Mapping[User, Device]) -> list[tuple[Any, ...]]:
        """The models of the teams, with the tokens that were granted last; before that, with all."""
        initial, models = world.initial(world.front), []
        for team in dict.fromkeys(user.team for user in devices):
            members = [user for user in devices if user.team == team]
            model = allocator.sequences.model(allocator.lengths(members))
            models.append((model, initial, *(devices[user].weights for user in members), allocator.station.weights))
        return models


def nothing() -> Process[None]:
    """Users do nothing while the server works."""
    yield from ()
