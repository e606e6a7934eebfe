"""Quantised split federated fine-tuning. [SFLAM, Qiang et al., arXiv 2504.09114; deviations in docs/systems/sflam.md]

before a round:
  controller       bits, power and part of the band of each user selected
server -> user   device part, which with the cut after the first block is the embedding      per round
for each local step, all users side by side:
  user             forward pass, quantisation
  user -> server   codes and range; labels
  server           forward, backward and step on the user's own replica
  server -> user   cut-layer gradient
  user             backward pass, straight through the quantiser, and step
user -> server   device part              per round
server           mean of the device parts, and of the replicas
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval

from learning.codecs import Codec, Identity, Uniform
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.cohort import assemble
from learning.protocols.split import CutLink
from learning.protocols.updates import merge
from learning.scheme import Scheme
from learning.schemes.sfl_v1 import SFLV1
from learning.schemes.sflam.control import FULL, Control
from learning.schemes.sflam.situation import Situation
from learning.world import World


@dataclass(frozen=True)
class SFLAM(LocalTraining, Scheme):
    """Split federated learning with quantised activations, whose bits, power and band are controlled (Qiang, 2025)."""

    control: Control = Control()
    """How bits, powers and bandwidths are chosen."""
    rounding: Literal["stochastic", "nearest"] = "stochastic"
    """How activations are rounded; at random, they are right on average."""
    gradient_bits: Annotated[int, Interval(ge=1, le=16)] | Literal[32] = 32
    """Bits of an element of the gradient that comes back; while they are 32, all traffic together at most halves."""
    label_bits: Annotated[int, Ge(0)] = 4
    """Bits of a label."""
    weighting: Literal["by_samples", "uniform"] = "by_samples"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""
    legacy_last_client: bool = False
    """Do as the released code did, whose list of server replicas held the last user's alone: its replica becomes the
    server's part in place of the mean. Only to study what that does."""

    def run(self, world: World) -> Process[None]:
        front, back = world.initial(world.front), world.initial(world.back)
        fresh = world.optimiser.init(front), world.server_optimiser.init(back)
        situation = self._situation(world)
        bits: dict[User, int] = {}

        def work(user: User, turn: int, model: Any) -> Process[Any]:
            link = self.link(bits[user])
            return self._plain(link).user(world, user, turn, model, {user: fresh})

        cohort = assemble(world, work)
        for number in world.rounds():
            mini_batches = self._mini_batches(world.selected(number), number)
            bits = situation.decide(mini_batches)
            updates = yield from cohort.updates(number, (front, back))
            situation.look(updates, mini_batches)
            replicas = updates[-1:] if self.legacy_last_client else updates
            front = yield from merge(world, front, [update.part(0) for update in updates], self.weighting)
            back = yield from merge(world, back, [update.part(1) for update in replicas], self.weighting)
            world.models((front, back))

    def link(self, bits: int) -> CutLink:
        """What crosses the cut in so many bits."""
        return CutLink(
            activations=self._codec(bits, self.rounding),
            gradients=self._codec(self.gradient_bits, "stochastic"),
            label_bits=self.label_bits,
        )

    def check(self, world: World) -> None:
        """Raises ValueError unless shares of the bands can be set, and the first round's problem has a solution."""
        super().check(world)
        world.users[0].node.uplink.allocate(None)
        if self.control.downlink == "parts":
            world.users[0].node.downlink.allocate(None)
        situation, users = self._situation(world), world.able[: world.policy.asked(world.wanted)]
        self.control.solve(situation.problem(self._mini_batches(users, 0)), situation.draw(0))

    def _situation(self, world: World) -> Situation:
        return Situation(world, self.control, self.link, self.weighting)

    def _mini_batches(self, users: list[User], number: int) -> dict[User, range]:
        """Positions of those of a round."""
        return {user: self.positions(user, number) for user in users}

    def _plain(self, link: CutLink) -> SFLV1:
        """Split federated learning over a link."""
        return SFLV1(self.local_steps, self.weighting, link, local_epochs=self.local_epochs)

    def _codec(self, bits: int, rounding: Literal["stochastic", "nearest"]) -> Codec:
        return Identity() if bits == FULL else Uniform(bits, rounding)
