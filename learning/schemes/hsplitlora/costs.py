"""What a device part costs in bytes or FLOPs: without adapters at each cut, and for each unit of a weight's rank."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Any, Literal

import numpy as np
import torch

from learning import steps
from learning.adapters import Adapted, Bound, weights
from learning.control.ranks import RankProblem, SplitProblem
from learning.control.ranks.allocation import Floats, Integers
from learning.protocols.prediction import largest_mini_batch, of_sample, rates_bps, shapes
from learning.protocols.split import CutLink
from learning.world import World

Budget = Literal["memory", "flops"]


@dataclass
class Costs:
    """Of all weights that the scenario's adapter names, in the order of the model."""

    world: World
    kind: Budget
    link: CutLink
    largest: int
    """The largest rank."""
    timed: bool
    """Whether anybody asks for seconds."""
    _known: dict[int, float] = field(default_factory=dict, init=False)
    _shapes: dict[int, Any] = field(default_factory=dict, init=False)

    @cached_property
    def sides(self) -> dict[str, tuple[int, int]]:
        """(outputs, inputs) of each weight that may have an adapter."""
        assert self.world.adapter is not None
        return weights(self.adapted({}).segment, *self.world.adapter.targets)

    @cached_property
    def cuts(self) -> list[int]:
        """Where the model can be cut with such a weight on either side."""
        blocks = sorted({steps.block(weight) for weight in self.sides})
        return list(range(blocks[0] + 1, blocks[-1] + 1))

    @cached_property
    def below(self) -> Integers:
        """(cuts,): how many weights are on the device."""
        return np.array([sum(steps.block(weight) < cut for weight in self.sides) for cut in self.cuts])

    def adapted(self, ranks: dict[str, int]) -> Adapted:
        """The whole model with adapters of these ranks."""
        whole: Any = self.world.whole
        like: Adapted = whole.adapted
        return like.with_ranks(ranks)

    @cached_property
    def unit(self) -> Floats:
        """(weights,): for each unit of rank, where all others have adapters; alike in all layers but the first."""
        known: dict[tuple[bool, str], float] = {}
        costs, first = [], steps.block(next(iter(self.sides)))
        for weight in self.sides:
            block, _, role = weight.partition(".")
            kind = int(block) == first, role
            if kind not in known:
                larger = self.adapted({**dict.fromkeys(self.sides, 1), weight: 2})
                known[kind] = self._part(larger, int(block) + 1) - self._everywhere(int(block) + 1)
            costs.append(known[kind])
        return np.array(costs)

    @cached_property
    def base(self) -> Floats:
        """(cuts,): with an adapter on each weight, less what its factors cost."""
        return np.array(
            [self._everywhere(cut) - self.unit[:n].sum() for cut, n in zip(self.cuts, self.below, strict=True)]
        )

    def reference(self) -> float:
        """The largest rank everywhere, at the scenario's cut or the nearest possible one."""
        place = self.cuts.index(self.nearest_cut)
        ranks = np.minimum(self.largest, [min(each) for each in self.sides.values()])
        return float(self.base[place] + (self.unit * ranks)[: self.below[place]].sum())

    @property
    def nearest_cut(self) -> int:
        """The possible cut that is nearest to the scenario's."""
        return min(self.cuts, key=lambda cut: abs(cut - self.world.cut))

    def budgets(self, fractions: tuple[float, ...] | None) -> Floats:
        """(users,): parts of the reference; or what devices hold, which may be everything."""
        users = self.world.users
        if fractions is not None:
            if len(fractions) not in (1, len(users)):
                raise ValueError(
                    f"scheme.budgets has {len(fractions)} numbers; "
                    f"give one for all, or one for each of {len(users)} users"
                )
            return np.broadcast_to(np.array(fractions) * self.reference(), (len(users),)).copy()
        limits = [user.node.memory_bytes if self.kind == "memory" else None for user in users]
        return np.array([inf if limit is None else limit for limit in limits])

    @cached_property
    def seconds(self) -> Floats:
        """(users, cuts): a mini-batch of each user, as large as on average, alone, with an equal part of the band."""
        world = self.world
        if not self.timed:
            return np.ones((len(world.users), len(self.cuts)))
        whole = self.adapted(dict.fromkeys(self.sides, 1))
        parts = [[part.bind(part.frozen()) for part in whole.cut(cut)] for cut in self.cuts]
        costs = np.array([of_sample(world, self.link, *each) for each in parts]).T
        speed = np.array([[user.node.flops_per_s] for user in world.users])
        up, down = (each[:, None] for each in rates_bps(world, world.users))
        server = costs[2] / world.server.node.flops_per_s
        each = (costs[0] + costs[4]) / speed + costs[1] / up + server + costs[3] / down
        samples = [[np.mean(user.batches.sizes(range(user.batches.per_epoch)))] for user in world.users]
        return np.asarray(each * np.array(samples))

    def problem(
        self, importance: Floats, ranks: tuple[int, ...], budgets: Floats, server_budget: float, time_weight: float
    ) -> SplitProblem:
        """What is to be decided; the server's budget is a part of the largest rank everywhere for everybody."""
        most = np.array([min(each) for each in self.sides.values()])
        every = RankProblem(importance, self.unit, ranks, most)
        limit = server_budget * len(budgets) * every.cost(every.limited(ranks[-1])) * (1 + 1e-12)
        return SplitProblem(every, self.below, self.base, budgets, self.seconds, limit, time_weight)

    def _everywhere(self, cut: int) -> float:
        """The device part with rank 1 on each weight."""
        if cut not in self._known:
            self._known[cut] = self._part(self.adapted(dict.fromkeys(self.sides, 1)), cut)
        return self._known[cut]

    def _part(self, adapted: Adapted, cut: int) -> float:
        """What the device part costs with the largest mini-batch that anybody has: the scenario's, as a rule."""
        runs, optimiser = self.world.executor, self.world.optimiser
        front, parameters, x = self._front(adapted, cut)
        z = self._smashed(cut)
        if self.kind == "memory":
            step = runs.plan(steps.update_front, front, optimiser, parameters, optimiser.init(parameters), x, z)
            return float(runs.cost(step).memory_bytes)
        both = runs.plan(steps.front, front, parameters, x), runs.plan(steps.front_gradients, front, parameters, x, z)
        return float(sum(runs.cost(plan).flops for plan in both))

    def _smashed(self, cut: int) -> Any:
        """Shape of the smashed data, which no adapter changes."""
        if cut not in self._shapes:
            plan = self.world.executor.plan(steps.front, *self._front(self.adapted({}), cut))
            self._shapes[cut] = torch.empty_like(plan.profile.outputs[0].tree)
        return self._shapes[cut]

    def _front(self, adapted: Adapted, cut: int) -> tuple[Bound, Any, Any]:
        """The device part, shapes of what trains in it, and a mini-batch."""
        front = adapted.cut(cut)[0]
        frozen = {name: value.to(self.world.precision) for name, value in front.frozen().items()}
        return front.bind(frozen), shapes(self.world, front), largest_mini_batch(self.world)[0]


def check(world: World) -> None:
    """Raises ValueError unless the scenario has an adapter, and weights for it in two layers or more."""
    if world.adapter is None or not isinstance(world.whole, Bound):
        raise ValueError("the scheme fine-tunes adapters; give learning.adapter, as in {rank: 8}")
    layers = {steps.block(weight) for weight in weights(world.whole.adapted.segment, *world.adapter.targets)}
    if len(layers) < 2:
        raise ValueError("the scheme needs weights for adapters on either side of a cut; give the model two layers")
