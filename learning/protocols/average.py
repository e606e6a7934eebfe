"""Averaging at the server."""

from collections.abc import Sequence
from typing import Any

from learning.aggregators import averaged
from learning.ports import Process
from learning.world import World


def average(world: World, trees: Sequence[Any], weights: tuple[float, ...]) -> Process[Any]:
    """Weighted mean of the trees received."""
    return world.server.do(averaged, list(trees), weights, kind="aggregation")
