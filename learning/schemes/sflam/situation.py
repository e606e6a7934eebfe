"""The problem that SFLAM solves before a round: what its users have to do, and over which channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import NamedTuple

import numpy as np
from torch import Tensor

from learning import steps
from learning.control.precision import PrecisionPlan, PrecisionProblem
from learning.control.rate import Floats, rate_bps
from learning.parties import PLAIN, User
from learning.protocols.prediction import of_mini_batch, shapes
from learning.protocols.split import CutLink
from learning.protocols.updates import Update
from learning.schemes.sflam.control import Control
from learning.usable import usable
from learning.world import World

ROUNDING = 1e-9


class Load(NamedTuple):
    """What mini-batches cost."""

    device_flops: float
    server_flops: float
    elements: float
    """Of the smashed data, each of which takes as many bits as the plan says."""
    beside_bits: float
    """Sent with them: ranges and labels."""
    down_bits: float


@dataclass
class Situation:
    """Everything that decisions are made from.

    A round is seen as one upload of all of a user's mini-batches and of its part of the model. Beside the upload it
    takes the downlink, over an equal part of the band, and all computing, at nominal speed and without a queue.
    """

    world: World
    control: Control
    link: Callable[[int], CutLink]
    """What crosses the cut in so many bits."""
    weights: str
    """Rule of the users' weights, by which their quantisation errors count as well."""
    ranges: dict[User, float] = field(default_factory=dict)
    """Of activations, as far as they have been seen."""
    _known: dict[int, Load] = field(default_factory=dict, init=False)
    """Of mini-batches, by samples."""

    def decide(self, mini_batches: Mapping[User, range]) -> dict[User, int]:
        """Solve the problem of users with these mini-batches, by position, set their radios, return their bits."""
        problem = self.problem(mini_batches)
        plan = self.control.solve(problem, self.draw(self.world.journal.round))
        shares = np.minimum(plan.bandwidth_hz / problem.total_hz, 1.0)
        chosen = {"bits": plan.bits, "share": shares, "power_w": plan.power_w}
        for place, user in enumerate(mini_batches):
            user.node.uplink.allocate(float(shares[place]), float(plan.power_w[place]))
            if self.control.downlink == "parts":
                user.node.downlink.allocate(1 / problem.users)
            for name, values in chosen.items():
                self.world.journal.decision(user.number, name, float(values[place]))
        self._report(problem, plan)
        return dict(zip(mini_batches, plan.bits.tolist(), strict=True))

    def draw(self, number: int) -> np.random.Generator:
        """What subchannels are dealt by in a round."""
        return self.world.streams.generator("subchannels", number)

    def _report(self, problem: PrecisionProblem, plan: PrecisionPlan) -> None:
        for name, value in (
            ("predicted_latency_s", problem.latency_s(plan)),
            ("predicted_radiated_j", problem.energy_j(plan)),
            ("objective", problem.cost(plan)),
        ):
            self.world.journal.decision(None, name, value)

    def problem(self, mini_batches: Mapping[User, range]) -> PrecisionProblem:
        """Raises ValueError where a user has no channel to speak of."""
        users, control = list(mini_batches), self.control
        channels = [user.node.uplink for user in users]
        loads = [self._load(user, positions) for user, positions in mini_batches.items()]
        errors = self._errors(users)
        budget = errors.sum() / (2.0**control.error_budget_bits - 1) ** 2 * (1 + ROUNDING)
        return PrecisionProblem(
            gain_hz_per_w=np.array([getattr(each, self._gain) for each in channels]),
            fixed_s=self._fixed_s(users, loads),
            elements=np.array([float(load.elements) for load in loads]),
            error_weight=errors,
            error_budget=budget if control.optimised else inf,
            total_hz=channels[0].bandwidth_hz,
            max_power_w=np.array([each.max_power_w for each in channels]),
            choices=control.allowed,
            overhead_bits=np.array([float(load.beside_bits) for load in loads]) + self._model_bits,
            time_weight=control.time_weight,
            energy_weight=control.energy_weight,
        )

    @property
    def _gain(self) -> str:
        present = self.control.csi == "instantaneous"
        return "instantaneous_gain_over_noise_hz_per_w" if present else "gain_over_noise_hz_per_w"

    def _fixed_s(self, users: Sequence[User], loads: Sequence[Load]) -> Floats:
        part = 1 / len(users)
        down = np.array(
            [
                rate_bps(part * each.bandwidth_hz, part * each.max_power_w, getattr(each, self._gain))
                for each in (user.node.downlink for user in users)
            ]
        )
        own_s = [load.device_flops / user.node.flops_per_s for user, load in zip(users, loads, strict=True)]
        server_s = np.array([load.server_flops for load in loads]) / self.world.server.node.flops_per_s
        down_bits = np.array([load.down_bits for load in loads]) + self._model_bits
        return np.asarray(np.array(own_s) + server_s + down_bits / down)

    def _load(self, user: User, positions: range) -> Load:
        """What some of a user's mini-batches cost together; equally large ones cost the same."""
        each = [(self._of_mini_batch(user, size), n) for size, n in Counter(user.batches.sizes(positions)).items()]
        return Load(*(sum(n * cost[place] for cost, n in each) for place in range(len(Load._fields))))

    def _of_mini_batch(self, user: User, samples: int) -> Load:
        if samples not in self._known:
            world, bits, data = self.world, self.control.allowed[0], user.batches.run(range(samples))
            batch = of_mini_batch(world, self.link(bits), world.front, world.back, data)
            z = world.executor.plan(steps.front, world.front, shapes(world, world.front), data[0]).profile.outputs[0]
            elements, device_flops = world.executor.charged(z.tree).numel, batch.forward_flops + batch.backward_flops
            beside_bits = batch.up_bits - bits * elements
            self._known[samples] = Load(device_flops, batch.server_flops, elements, beside_bits, batch.down_bits)
        return self._known[samples]

    @cached_property
    def _model_bits(self) -> int:
        return self.world.server.wire.bits(shapes(self.world, self.world.front), PLAIN)

    def _errors(self, users: list[User]) -> Floats:
        """What the error of one level is worth: weight of the user times squared range."""
        usual = max(self.ranges.values(), default=1.0)
        seen = np.array([self.ranges.get(user, usual) for user in users])
        return np.asarray(self.world.weights(users, self.weights) * np.maximum(seen, ROUNDING) ** 2)

    def look(self, updates: Sequence[Update], mini_batches: Mapping[User, range]) -> None:
        """Take in the ranges of the activations with which each user's turn began; the server received them anyway.

        A range that is not usable (`learning.usable`) leaves the user with the one before.
        """
        if not (self.control.optimised and self.control.ranges == "seen" and self.world.executor.computes):
            return
        spans = [
            self.world.executor.submit(
                span, self.world.front, each.part(0).base, each.user.batch(mini_batches[each.user].start)[0]
            )
            for each in updates
        ]
        for each, value in zip(updates, self.world.executor.value(spans), strict=True):
            if usable(value):
                self.ranges[each.user] = float(value)


def span(segment: object, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    """Largest less smallest element of the smashed data."""
    z: Tensor = steps.front(segment, parameters, x)  # type: ignore[arg-type]
    return z.amax() - z.amin()
