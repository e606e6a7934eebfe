"""What a controller sees when it is asked: devices, rates, and what a sample costs at each cut."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from learning import steps
from learning.adapters import Bound
from learning.control.cuts import Choice, ConvergenceBound, CutProblem, alike
from learning.control.cuts.problem import Integers
from learning.memory import footprint
from learning.models import Segment
from learning.parties import PLAIN
from learning.protocols.prediction import Exchange, of_sample, rates_bps, shapes
from learning.protocols.split import Link
from learning.schemes.hasfl.estimates import Estimates
from learning.world import World

MODERATE, MARGIN = (16, 2), 1.2
"""Samples and blocks of a moderate choice, and how much more than what it loses is the target by default."""
ENDLESS = 2**31


@dataclass
class Situation:
    """Everything that decisions are made from."""

    world: World
    link: Link
    interval: int
    """Rounds between aggregations, as the scenario has it."""
    between_servers_bps: float
    estimates: Estimates

    @property
    def samples(self) -> int:
        """Of the scenario's mini-batch."""
        return self.world.users[0].batches.batch_size

    def most_samples(self, largest: int) -> Integers:
        """(users, cuts): the largest mini-batch by what is allowed, what a user has, and what its device can hold.

        Who can hold nothing is asked for the least there is; whether that is refused is not decided here.
        """
        own = np.minimum([user.samples for user in self.world.users], largest)
        fitting = [[_fitting(user.node.memory_bytes, each) for each in self._bytes] for user in self.world.users]
        most = np.minimum(own[:, None], fitting).astype(np.int64)
        least = next(cut for cut, held in enumerate(self._bytes) if held is not None)
        most[~most.any(axis=1), least] = 1
        return most

    def problem(self, largest: int) -> CutProblem:
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
            most_samples=self.most_samples(largest),
        )
        target = known.constants.target or -MARGIN * bound.progress(_moderate(problem))
        return replace(problem, bound=replace(bound, target=target))

    @cached_property
    def parts(self) -> list[tuple[Any, Any]]:
        """Device's and server's part at each cut."""
        return [self.world.whole.cut(cut) for cut in range(1, plain(self.world.whole).blocks)]

    @cached_property
    def _samples(self) -> list[Exchange]:
        """What a sample costs at each cut."""
        return [of_sample(self.world, self.link, front, back) for front, back in self.parts]

    @cached_property
    def _bytes(self) -> list[tuple[int, int] | None]:
        """What training the device's part takes with one sample, and with two; None where nothing of it trains.

        Its footprint, or its largest job where that is more.
        """
        return [(self._held(front, 1), self._held(front, 2)) if front.parameters() else None for front, _ in self.parts]

    def _held(self, front: Any, samples: int) -> int:
        x, _ = self.world.users[0].batches.run(0, samples)
        optimiser, runs, weights = self.world.optimiser, self.world.executor, shapes(self.world, front)
        z = runs.plan(steps.front, front, weights, x).profile.outputs[0].tree
        job = runs.plan(steps.update_front, front, optimiser, weights, optimiser.init(weights), x, z)
        part = front.adapted if isinstance(front, Bound) else front
        return max(footprint(part, optimiser, x.meta, charge=runs.charge).total_bytes, runs.cost(job).memory_bytes)


def plain(model: Any) -> Segment:
    """The segment itself, where it has adapters."""
    segment: Segment = model.adapted.segment if isinstance(model, Bound) else model
    return segment


def _fitting(limit_bytes: float | None, held_bytes: tuple[int, int] | None) -> int:
    """Samples that fit."""
    if held_bytes is None or limit_bytes is None:
        return 0 if held_bytes is None else ENDLESS
    one, two = held_bytes
    return int(np.clip((limit_bytes - one) // (two - one) + 1, 0, ENDLESS))


def _moderate(problem: CutProblem) -> Choice:
    choice = alike(problem, *MODERATE)
    return choice if (choice.batches > 0).all() else problem.easiest
