"""Costs of the cuts of a model with adapters: the device part in the unit of budgets, and the time of a mini-batch.

The device part's cost is linear in the ranks: its cost without adapters, and that of each unit of a weight's rank. Both
are those of the user's own largest mini-batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Literal, NamedTuple

import numpy as np

from learning import steps
from learning.adapters import AdaptableModel, Adapted, Bound, require_adapters
from learning.control.observation import Observation, Shapes
from learning.control.prediction import ExchangePredictor, trainable_shapes
from learning.control.ranks.problem import Floats
from learning.data import Inputs, Rows
from learning.protocols.split import CutLink
from learning.world import World

Resource = Literal["memory", "flops"]


def adaptable(world: World) -> AdaptableModel:
    """The world's model with any ranks on the weights that the scenario's adapter names.

    Raises ValueError unless that is one chain of blocks with an adapter, and weights for it in two layers or more.
    """
    whole = require_adapters(world.chain)
    assert world.adapter is not None
    model = AdaptableModel(whole, world.adapter.targets)
    if not model.cuts:
        raise ValueError("the scheme needs weights for adapters on either side of a cut; give the model two layers")
    return model


class DeviceCost(NamedTuple):
    """Cost of the device part in a user's largest mini-batch, in the unit of its budget."""

    base: Floats
    """(cuts,): cost without adapters."""
    unit: Floats
    """(weights,): additional cost of each unit of rank."""


class CutCosts:
    """Costs of all cuts, from the shapes of users' mini-batches; equal shapes are counted once.

    Args:
        world: the world.
        model: the model with adapters.
        link: codecs of the messages across the cut.
        resource: what budgets limit: the memory of a training step on the device, or the FLOPs of a mini-batch there.
    """

    def __init__(self, world: World, model: AdaptableModel, link: CutLink, resource: Resource) -> None:
        self.world, self.model, self.link, self.resource = world, model, link, resource
        self._predictors: dict[tuple[int, str | None], ExchangePredictor] = {}
        self._known: dict[tuple[Shapes, int], DeviceCost] = {}

    def device(self, user: Observation) -> DeviceCost:
        """Costs of the user's device part, those of activations as if every weight there had an adapter."""
        shapes = user.sample_shapes, user.batch_size
        if shapes not in self._known:
            unit, model = self._unit(user), self.model
            base = [self._part(user, cut) - unit[:n].sum() for cut, n in zip(model.cuts, model.below, strict=True)]
            self._known[shapes] = DeviceCost(np.array(base), unit)
        return self._known[shapes]

    def budgets(self, users: Sequence[Observation], fractions: Sequence[float] | None, max_rank: int) -> Floats:
        """(users,): budgets of users, in the unit of the resource.

        Args:
            users: the users.
            fractions: budgets as fractions of a reference that is the same for all users: the cost of `max_rank`
                everywhere at the scenario's cut, or the nearest possible one, in the largest mini-batch of any user;
                one number for all, or one for each. None: the memory of the devices, or infinite.
            max_rank: rank of the reference.

        Raises:
            ValueError: there is neither one fraction nor one for each user.
        """
        if fractions is None:
            return np.array([user.memory_bytes if self.resource == "memory" else inf for user in users])
        if len(fractions) not in (1, len(users)):
            raise ValueError(
                f"scheme.control.budgets has {len(fractions)} numbers; "
                f"give one for all, or one for each of {len(users)} users"
            )
        cost = self.device(max(users, key=lambda user: user.batch_size))
        index = self.model.cuts.index(self.model.nearest_cut(self.world.cut))
        below = self.model.below[index]
        ranks = np.minimum(max_rank, self.model.max_ranks)
        reference = float(cost.base[index] + cost.unit[:below] @ ranks[:below])
        return np.broadcast_to(np.array(fractions) * reference, (len(users),)).copy()

    def seconds(self, user: Observation) -> Floats:
        """(cuts,): mean time of the user's mini-batches, without queues, at an equal share of the band for a cohort."""
        share, server_flops_per_s = 1 / self.world.cohort_size, self.world.server.node.flops_per_s
        speeds = user.flops_per_s, user.upload_bps(share), server_flops_per_s, user.download_bps(share)
        sizes = user.user.batches.sizes(range(user.user.batches.per_epoch))

        def mean_s(predictor: ExchangePredictor) -> float:
            by_size = {size: sum(predictor.cost(user, size).time(*speeds)) for size in set(sizes)}
            return sum(by_size[size] for size in sizes) / len(sizes)

        return np.array([mean_s(self._predictor(cut)) for cut in self.model.cuts])

    def _unit(self, user: Observation) -> Floats:
        """(weights,): additional cost of rank 2 instead of 1 on one weight; the same in all layers but the first."""
        first = self.model.block(next(iter(self.model.sides)))
        known: dict[tuple[bool, str], float] = {}
        costs = []
        for weight in self.model.sides:
            block = self.model.block(weight)
            alike = block == first, weight.partition(".")[2]
            if alike not in known:
                known[alike] = self._part(user, block + 1, larger=weight) - self._part(user, block + 1)
            costs.append(known[alike])
        return np.array(costs)

    def _part(self, user: Observation, cut: int, larger: str | None = None) -> float:
        """Cost of the device part with adapters of rank 1 on all weights, but of rank 2 on the one named `larger`."""
        predictor = self._predictor(cut, larger)
        if self.resource == "memory":
            return float(predictor.memory_bytes(user))
        cost = predictor.cost(user)
        return float(cost.forward_flops + cost.backward_flops)

    def _predictor(self, cut: int, larger: str | None = None) -> ExchangePredictor:
        if (cut, larger) not in self._predictors:
            adapted = self.model.with_ranks({weight: 1 + (weight == larger) for weight in self.model.sides})
            front, back = (self._bound(part) for part in adapted.cut(cut))
            self._predictors[cut, larger] = ExchangePredictor(self.world, self.link, front, back)
        return self._predictors[cut, larger]

    def _bound(self, part: Adapted) -> Bound:
        """A part with the shapes of its frozen weights."""
        return part.bind({name: value.to(self.world.precision) for name, value in part.frozen().items()})


def training_cost(world: World, model: Bound, xs: list[Inputs], ys: list[Rows], resource: Resource) -> float:
    """Cost of local training of a whole model on stacks of mini-batches: peak memory in bytes, or FLOPs.

    Args:
        world: the world.
        model: the whole model with adapters.
        xs: stacks of samples.
        ys: stacks of labels.
        resource: which of the two costs.
    """
    weights = trainable_shapes(world, model)
    work = (steps.train, model, world.optimiser, weights, world.optimiser.init(weights), xs, ys)
    cost = world.executor.cost(world.executor.plan(*work))
    return float(cost.memory_bytes if resource == "memory" else cost.flops)
