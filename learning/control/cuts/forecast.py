"""The forecast on which decisions on cuts and mini-batches are based, and the problem that follows from it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from learning.control.cuts.estimates import BoundEstimates
from learning.control.cuts.problem import CutChoice, CutProblem, Integers
from learning.control.cuts.solvers import equal_choice
from learning.control.observation import Observation, observe
from learning.control.prediction import ExchangePredictor, message_bits, trainable_shapes
from learning.protocols.split import CutLink
from learning.world import World

MODERATE, MARGIN = (16, 2), 1.2
"""(Samples, blocks) of a moderate choice for all users; default target over the noise and drift terms of that."""


@dataclass
class CutForecast:
    """Predicted times of training at every cut of the model, for each user, and the present bound on convergence.

    Users are observed again for each decision; cuts are 1, 2, ... blocks on the device.
    """

    world: World
    """The world."""
    link: CutLink
    """Messages across the cut."""
    interval: int
    """Rounds between aggregations in the scenario."""
    between_servers_bps: float
    """Rate in bit/s between the server that trains and the one that averages."""
    estimates: BoundEstimates
    """Estimates of the constants of the bound."""

    @cached_property
    def cuts(self) -> list[ExchangePredictor]:
        """Predictors of an exchange, one for each cut: 1, 2, ... blocks on the device."""
        parts = [self.world.chain.cut(cut) for cut in range(1, self.world.chain.blocks)]
        return [ExchangePredictor(self.world, self.link, front, back) for front, back in parts]

    @property
    def users(self) -> list[Observation]:
        """All users, as observed at this instant."""
        return observe(self.world.users)

    @property
    def batch_sizes(self) -> Integers:
        """(users,): samples in each user's mini-batch under the scenario's `batch_size`."""
        return np.array([user.batches.largest for user in self.world.users])

    def max_samples(self, largest: Integers | int) -> Integers:
        """(users, cuts): largest mini-batch within an upper bound, the user's data set and the memory of its device.

        A device whose memory is too small at all cuts gets one sample at the first cut that trains; whether such a
        user is rejected is not decided here.

        Args:
            largest: upper bound in samples: one number for all users, or (users,).
        """
        allowed = np.broadcast_to(largest, len(self.world.users))
        rows = [
            [self._fitting(user, cut, min(user.samples, int(own))) for cut in self.cuts]
            for user, own in zip(self.users, allowed, strict=True)
        ]
        fitting = np.array(rows, dtype=np.int64)
        fitting[~fitting.any(axis=1), next(place for place, cut in enumerate(self.cuts) if _trains(cut))] = 1
        return fitting

    def problem(self, largest: Integers | int) -> CutProblem:
        """The problem at this instant, with mini-batches up to `largest` as in `max_samples`."""
        world, users, share = self.world, self.users, 1 / self.world.cohort_size
        upload_bps = [user.upload_bps(share) for user in users]
        download_bps = [user.download_bps(share) for user in users]
        server = world.server.node.flops_per_s
        seconds = [
            [cut.cost(user).per_sample(user.batch_size).time(user.flops_per_s, up, server, down) for cut in self.cuts]
            for user, up, down in zip(users, upload_bps, download_bps, strict=True)
        ]
        before_s, server_s, after_s = np.ascontiguousarray(np.moveaxis(np.array(seconds), -1, 0))
        bound = self.estimates.bound(self.interval)
        problem = CutProblem(
            bound=bound,
            before_s=before_s,
            server_s=server_s,
            after_s=after_s,
            device_bits=np.array([message_bits(world, trainable_shapes(world, cut.front)) for cut in self.cuts]),
            upload_bps=np.array(upload_bps),
            download_bps=np.array(download_bps),
            exchange_bps=self.between_servers_bps,
            max_samples=self.max_samples(largest),
        )
        target = self.estimates.constants.target or -MARGIN * float(bound.progress(_moderate(problem)))
        return replace(problem, bound=replace(bound, target=target))

    def _fitting(self, user: Observation, cut: ExchangePredictor, largest: int) -> int:
        """Samples, at most `largest`, with which training at this cut fits the device; 0 if it would train nothing."""
        if not _trains(cut):
            return 0
        if user.memory_bytes == np.inf:
            return largest
        return bisect_right(
            range(1, largest + 1), user.memory_bytes, key=lambda samples: cut.memory_bytes(user, samples)
        )


def _trains(cut: ExchangePredictor) -> bool:
    return bool(cut.front.parameters())


def _moderate(problem: CutProblem) -> CutChoice:
    choice = equal_choice(problem, *MODERATE)
    return choice if (choice.batches > 0).all() else problem.easiest
