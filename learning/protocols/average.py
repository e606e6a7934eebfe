"""Averaging at the server."""

from collections.abc import Sequence
from typing import Any

from learning.aggregators import weighted_mean
from learning.ports import Process
from learning.world import World


def average(world: World, trees: Sequence[Any], weights: tuple[float, ...]) -> Process[Any]:
    """Weighted mean of the trees received; charged as two FLOPs for each scalar of each tree."""
    flops = 2 * len(trees) * world.executor.charged(trees[0]).numel
    return world.server.do(weighted_mean, list(trees), weights, kind="aggregation", flops=flops)
