"""Quantised split federated fine-tuning. [SFLAM, Qiang et al., arXiv 2504.09114; deviations in docs/systems/sflam.md]

before a round:
  controller       bits, power and part of the band of each user selected
server -> user   device part, which with the cut after the first block is the embedding      per round
for each local step, all users side by side:
  user             forward pass, quantisation
  user -> server   codes and range; labels
  server           forward pass, backward pass and step on the user's own replica
  server -> user   cut-layer gradient
  user             backward pass, straight through the quantiser, and step
user -> server   device part              per round
server           mean of the device parts, and of the replicas
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from learning.codecs import quantiser
from learning.control.controller import record
from learning.control.observation import observe
from learning.control.precision.controller import PrecisionController, grants
from learning.control.precision.problem import PrecisionProblem
from learning.control.precision.ranges import ActivationRanges
from learning.control.precision.round_cost import round_cost
from learning.control.prediction import ExchangePredictor
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.cohort import assemble
from learning.protocols.split import CutLink
from learning.protocols.updates import Update, merge, of_part
from learning.scheme import Scheme
from learning.schemes.sfl_v1 import SFLV1
from learning.states import States
from learning.steps import State, Weights
from learning.world import World


@dataclass(frozen=True)
class SFLAM(LocalTraining, Scheme):
    """Split federated learning that controls bits of activations, power and bandwidth (Qiang et al., 2025)."""

    control: PrecisionController = PrecisionController()
    """The controller of bits, powers and bandwidths."""
    rounding: Literal["stochastic", "nearest"] = "stochastic"
    """How activations are rounded; stochastic rounding is unbiased."""
    gradient_bits: Annotated[int, Interval(ge=1, le=16)] | Literal[32] = 32
    """Bits of an element of the cut-layer gradient; 32 is no quantisation, with which total traffic at most halves."""
    label_bits: Annotated[int, Ge(0)] = 4
    """Bits of one sample's label."""
    weighting: Literal["by_samples", "uniform"] = "by_samples"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""
    legacy_last_client: bool = False
    """Whether the last user's replica becomes the server part in place of the mean, as in the released code, whose list
    of server replicas contained only that one; to study its effect."""

    one_chain = True

    @property
    def stand_in(self) -> str | None:
        """Equal ranges of all users' activations, where decisions otherwise depend on observed ranges; else None."""
        return "equal ranges of all users' activations" if self.control.uses_ranges else None

    def run(self, world: World) -> Process[None]:
        front: Weights
        back: Weights
        front, back = world.initial(world.front), world.initial(world.back)
        fresh = world.optimiser.init(front), world.server_optimiser.init(back)
        ranges = ActivationRanges()
        bits: dict[User, int] = {}
        cohort = assemble(world, lambda user, number, model: self.user(world, user, number, model, fresh, bits[user]))
        for number in world.rounds():
            bits = self.decide(world, world.selected(number), number, ranges)
            updates = yield from cohort.updates(number, (front, back))
            self.observe(world, ranges, updates)
            replicas = updates[-1:] if self.legacy_last_client else updates
            front = yield from merge(world, front, of_part(updates, 0), self.weighting)
            back = yield from merge(world, back, of_part(replicas, 1), self.weighting)
            world.models((front, back), over=[self.link(bits[user]).deployed() for user in bits])

    def user(
        self,
        world: World,
        user: User,
        number: int,
        model: tuple[Weights, Weights],
        fresh: tuple[State, State],
        bits: int,
    ) -> Process[tuple[Weights, Weights]]:
        """A local round of a user, as in SplitFed version 1 over a link of so many bits.

        Args:
            world: the world.
            user: the user.
            number: number of the local round.
            model: the device part and the server part, as aggregated last.
            fresh: initial states of the optimisers of both parts.
            bits: bits of an activation.

        Returns:
            Its device part and its replica of the server part.
        """
        plain = SFLV1(self.local_steps, self.weighting, self.link(bits), local_epochs=self.local_epochs)
        return plain.user(world, user, number, model, States(fresh))

    def decide(self, world: World, users: Sequence[User], number: int, ranges: ActivationRanges) -> dict[User, int]:
        """Decide for the users of round `number`, and set their shares of the bands and their powers.

        Returns the bits of an activation of each user.
        """
        problem = self.problem(world, users, number, ranges)
        plan = self.control.solve(problem, world.streams.generator("subchannels", number))
        chosen = dict(zip(users, grants(problem, plan), strict=True))
        for user, grant in chosen.items():
            user.node.uplink.allocate(grant.share, grant.power_w)
            if self.control.downlink == "parts":
                user.node.downlink.allocate(1 / len(users))
            record(world.journal, user, grant._asdict())
        record(world.journal, None, problem.predicted(plan))
        return {user: grant.bits for user, grant in chosen.items()}

    def problem(self, world: World, users: Sequence[User], number: int, ranges: ActivationRanges) -> PrecisionProblem:
        """The problem of the users of round `number`."""
        bits = self.control.allowed[0]
        predictor = ExchangePredictor(world, self.link(bits), world.front, world.back)
        observed = observe(users, self.control.csi)
        sizes = [user.batches.sizes(self.positions(user, number)) for user in users]
        costs = [round_cost(predictor, bits, *each) for each in zip(observed, sizes, strict=True)]
        weights = world.weights(list(users), self.weighting)
        return self.control.problem(observed, costs, world.server.node.flops_per_s, weights, ranges.of(users))

    def observe(
        self, world: World, ranges: ActivationRanges, updates: Sequence[Update[tuple[Weights, Weights]]]
    ) -> None:
        """Update the ranges with those of the first mini-batch of each user's round, where decisions depend on them."""
        if self.control.uses_ranges and world.executor.computes:
            first = {
                each.user: each.user.batch(self.positions(each.user, each.local_round).start)[0] for each in updates
            }
            ranges.observe(world, {each.user: (each.base[0], first[each.user]) for each in updates})

    def link(self, bits: int) -> CutLink:
        """Messages across the cut, with `bits` bits for an element of the smashed data."""
        return CutLink(
            activations=quantiser(bits, self.rounding),
            gradients=quantiser(self.gradient_bits),
            label_bits=self.label_bits,
        )

    def check(self, world: World) -> None:
        """Raises ValueError unless shares of the bands can be set, and the first round's problem has a solution."""
        super().check(world)
        for user in world.users:
            user.node.uplink.allocate(None)
            if self.control.downlink == "parts":
                user.node.downlink.allocate(None)
        users = world.eligible[: world.policy.asked(world.cohort_size)]
        problem = self.problem(world, users, 0, ActivationRanges())
        self.control.solve(problem, world.streams.generator("subchannels", 0))
