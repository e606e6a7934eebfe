"""What a controller sees when it is asked: devices, rates, and what a sample costs at each cut."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from learning import steps
from learning.adapters import Bound
from learning.control.cuts import Choice, ConvergenceBound, CutProblem, alike
from learning.control.cuts.problem import Integers
from learning.models import Segment
from learning.parties import PLAIN
from learning.protocols.prediction import Exchange, of_sample, rates_bps, shapes
from learning.protocols.split import CutLink
from learning.schemes.hasfl.estimates import Estimates
from learning.world import World

MODERATE, MARGIN = (16, 2), 1.2
"""Samples and blocks of a moderate choice, and how much more than what it loses is the target by default."""


@dataclass
class Situation:
    """Everything that decisions are made from."""

    world: World
    link: CutLink
    interval: int
    """Rounds between aggregations, as the scenario has it."""
    between_servers_bps: float
    estimates: Estimates
    _known: dict[tuple[int, int], int] = field(default_factory=dict, init=False)
    """Memory by cut and samples."""

    @property
    def samples(self) -> Integers:
        """(users,): of the scenario's mini-batch."""
        return np.array([user.batches.largest for user in self.world.users])

    def max_samples(self, largest: Integers | int) -> Integers:
        """(users, cuts): the largest mini-batch by what is allowed, what a user has, and what its device can hold.

        Who can hold nothing is asked for the least there is; whether that is refused is not decided here.
        """
        rows = [
            [self._fitting(cut, min(user.samples, int(own)), user.node.memory_bytes) for cut in range(len(self.parts))]
            for user, own in zip(self.world.users, np.broadcast_to(largest, len(self.world.users)), strict=True)
        ]
        most = np.array(rows, dtype=np.int64)
        most[~most.any(axis=1), next(cut for cut in range(len(self.parts)) if self._trains(cut))] = 1
        return most

    def problem(self, largest: Integers | int) -> CutProblem:
        """Seconds by user and cut, and the bound as it is known now."""
        users, known = self.world.users, self.estimates
        speed = np.array([[user.node.flops_per_s] for user in users])
        up, down = (np.array([[each] for each in rates]) for rates in rates_bps(self.world, users))
        costs = Exchange(*np.array(self._samples).T)
        rate = self.world.optimiser.learning_rate
        bound = ConvergenceBound(known.smoothness, rate, known.variances, known.squared_norms, 0.0, self.interval)
        problem = CutProblem(
            bound=bound,
            before_s=costs.forward_flops / speed + costs.up_bits / up,
            server_s=np.tile(costs.server_flops / self.world.server.node.flops_per_s, (len(users), 1)),
            after_s=costs.down_bits / down + costs.backward_flops / speed,
            device_bits=np.array(
                [self.world.server.wire.bits(shapes(self.world, part), PLAIN) for part, _ in self.parts]
            ),
            upload_bps=up[:, 0],
            download_bps=down[:, 0],
            exchange_bps=self.between_servers_bps,
            max_samples=self.max_samples(largest),
        )
        target = known.constants.target or -MARGIN * float(bound.progress(_moderate(problem)))
        return replace(problem, bound=replace(bound, target=target))

    @cached_property
    def parts(self) -> list[tuple[Any, Any]]:
        """Device's and server's part at each cut."""
        return [self.world.whole.cut(cut) for cut in range(1, plain(self.world.whole).blocks)]

    @cached_property
    def _samples(self) -> list[Exchange]:
        """What a sample costs at each cut."""
        return [of_sample(self.world, self.link, front, back) for front, back in self.parts]

    def _fitting(self, cut: int, most: int, limit_bytes: float | None) -> int:
        """Samples, at most so many, with which training the device's part fits; none where nothing of it trains."""
        if not self._trains(cut):
            return 0
        if limit_bytes is None:
            return most
        return bisect_right(range(1, most + 1), limit_bytes, key=lambda samples: self._held(cut, samples))

    def _trains(self, cut: int) -> bool:
        return bool(self.parts[cut][0].parameters())

    def _held(self, cut: int, samples: int) -> int:
        """Memory that training takes with so many samples in the `cut`-th pair of parts, in bytes."""
        if (cut, samples) not in self._known:
            front, x = self.parts[cut][0], self.world.users[0].batches.run(range(samples))[0]
            optimiser, runs, weights = self.world.optimiser, self.world.executor, shapes(self.world, front)
            z = runs.plan(steps.front, front, weights, x).profile.outputs[0].tree
            job = runs.plan(steps.update_front, front, optimiser, weights, optimiser.init(weights), x, z)
            self._known[cut, samples] = runs.cost(job).memory_bytes
        return self._known[cut, samples]


def plain(model: Any) -> Segment:
    """The segment itself, where it has adapters."""
    segment: Segment = model.adapted.segment if isinstance(model, Bound) else model
    return segment


def _moderate(problem: CutProblem) -> Choice:
    choice = alike(problem, *MODERATE)
    return choice if (choice.batches > 0).all() else problem.easiest
