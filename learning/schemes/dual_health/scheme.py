"""Detection of health by several sensors, weighted by uncertainty. [Fang et al., DUAL-Health, arXiv 2508.09085v1]

For each window, at its request:
user             features of the window of each sensor that has recorded it, where the tower is on the device
user -> server   features, or windows, one after another
server           waits for all modalities of the user, or until the deadline; what is late or lost is missing
server           features of windows; uncertainty of each modality, recovery of missing ones, fusion
                 (without any modality: the prior of the classes)
server -> user   class, and with `order: confidence` the uncertainties
The model is trained before simulated time begins, and beside that in each period, at the server:
server           steps on labelled windows, in the queue in which answers wait, too
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import simpy
import torch
from annotated_types import Ge, Gt
from torch import Tensor

from learning.codecs import Codec, FixedWidth, Identity
from learning.executor.deferred import Deferred
from learning.models import Multimodal, Segment
from learning.models.towers import FUSION
from learning.models.uncertainty import UncertaintyFusion
from learning.parties import Server, User
from learning.policies import WaitForAll
from learning.ports import Process
from learning.protocols.join import join_until
from learning.protocols.split import check_analogue
from learning.scheme import Scheme
from learning.schemes.dual_health import operators
from learning.schemes.dual_health.losses import Losses
from learning.schemes.dual_health.monitor import Monitor, Window
from learning.schemes.dual_health.training import Training
from learning.world import World

RESULT = FixedWidth(32)
"""Codec of an answer."""


@dataclass(frozen=True)
class DualHealth(Scheme):
    """Detection by several sensors over the radio, weighted by uncertainty, with recovery of what is missing (DUAL).

    Streams with `answered_by: model` make the requests, one for each window. Needs towers of `window_encoder` and the
    model `uncertainty_fusion`. A round is a reporting period, at whose end the accuracy of its answers is written to
    `evaluations` as the split `answers`.
    """

    deadline_s: Annotated[float, Gt(0)] | None = 0.1
    """Seconds after a window's end at which the server answers by what has arrived. Null waits for all that the user
    sends."""
    order: Literal["fixed", "confidence"] = "fixed"
    """Order in which modalities are sent: that of the towers, or the least uncertain of the window before first."""
    hold: bool = False
    """Whether the features that arrived last stand for those of a missing modality, which is then not recovered."""
    uplink: Codec = Identity()
    """Codec of features and windows (user to server)."""
    steps: Annotated[int, Ge(0)] = 900
    """Training steps before simulated time begins; they take no time, bits or joules."""
    first_stage_steps: Annotated[int, Ge(0)] = 200
    """The first of all steps, in which towers and single modalities are trained without fusion."""
    steps_per_period: Annotated[int, Ge(0)] = 0
    """Training steps at the server in each period, which compete with answers for it. 0 is no training beside them."""
    losses: Losses = Losses()
    """Terms of the training loss."""
    period_s: Annotated[float, Ge(1e-3)] = 10.0
    """Duration of a reporting period in seconds; a period lasts longer if its training does."""

    serves = True
    placeable = True

    @property
    def stand_in(self) -> str | None:
        return "modalities that are equally uncertain" if self.order == "confidence" else None

    def run(self, world: World) -> Process[None]:
        assert isinstance(world.whole, Multimodal)
        training = Training(world, world.whole, self.losses, self.first_stage_steps)
        training.before(self.steps)
        monitor = Monitor(world, training, self.hold)
        world.answer_by(partial(self.service, monitor))
        for number in world.rounds(periods=True):
            end = world.instant(world.env.now + self.period_s)
            yield from training.beside(self.steps_per_period)
            yield end
            monitor.detections.report(number)
            world.models(training.weights)

    def service(self, monitor: Monitor, user: User, stream: str, number: int) -> Process[None]:
        """Answer window number `number` of a user."""
        env, sample = monitor.world.env, monitor.window(user, number)
        late = env.event() if self.deadline_s is None else monitor.world.instant(env.now + self.deadline_s)
        order = yield from self._order(monitor, user, sample)
        heard = yield from join_until(env, [self._send(monitor, user, sample, name) for name in order], late)
        arrived = {name: features for name, features in zip(order, heard, strict=True) if features is not None}
        if self.deadline_s is not None and len(arrived) < sample.held:
            yield late
        answer = yield from monitor.answer(user, sample, arrived)
        told = [answer.best, answer.uncertainty] if self.order == "confidence" else answer.best
        yield from monitor.server(user).send(user, told, "result", RESULT)

    def _order(self, monitor: Monitor, user: User, sample: Window) -> Process[Sequence[str]]:
        """The modalities that are sent, in their order."""
        known = monitor.uncertainty.get(user)
        if self.order == "fixed" or known is None:
            return sample.recorded
        values = yield from user.read(known, equal)
        rank = dict(zip(monitor.towers, values[0].tolist(), strict=True))
        return sorted(sample.recorded, key=lambda name: rank[name])

    def _send(self, monitor: Monitor, user: User, sample: Window, name: str) -> Process[Deferred[Tensor] | None]:
        """Features of one modality at the server; None if its message is lost."""
        server = monitor.server(user)
        window: Any = monitor.world.executor.submit(operators.latest, sample.x.values[name])
        encode = operators.encode, monitor.towers[name], monitor.training.part(name)
        try:
            if monitor.world.host(name, user) is user:
                features = yield from user.do(*encode, window, kind="tower")
                return (yield from user.send(server, features, name, self.uplink))
            heard = yield from user.send(server, window, name, self.uplink)
            return (yield from server.do(*encode, heard, kind="tower", user=user))
        except simpy.Interrupt:
            return None

    def check(self, world: World) -> None:
        whole = world.whole
        if not isinstance(whole, Multimodal) or not isinstance(whole.fusion, Segment):
            raise ValueError("the scheme needs a model with learning.towers, and no learning.adapter")
        if not isinstance(whole.fusion.architecture.model, UncertaintyFusion):  # type: ignore[attr-defined]
            raise ValueError("the scheme needs the model uncertainty_fusion")
        check_analogue(self.uplink, world)
        for user in world.users:
            server = world.host(FUSION, user)
            if not isinstance(server, Server):
                raise ValueError("learning.placement.fusion is the user; the scheme fuses at a server")
            for name in world.parts:
                if world.host(name, user) not in (user, server):
                    raise ValueError(f"learning.placement.{name} must be the user, or the host of fusion")
        without = [user.number for user in world.users if user.held_out is None]
        if without:
            raise ValueError(f"user {without[0]} has no sample of the test set to ask about; use more test samples")
        if field := world.stop.by_values:
            raise ValueError(f"learning.stop.{field} is about answers in rounds; stop after rounds or time_s")
        if not isinstance(world.policy, WaitForAll):
            raise ValueError("learning.policy has no effect, as no round waits for users; use scheme.deadline_s")


def equal(uncertainty: Tensor) -> Tensor:
    """Equal uncertainties, in the shape of a meta tensor of some."""
    return torch.zeros(uncertainty.shape)
