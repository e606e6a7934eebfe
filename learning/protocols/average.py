"""Averaging at the server."""

from collections.abc import Sequence

from learning.aggregators import averaged
from learning.ports import Process
from learning.steps import Weights
from learning.world import World


def average(world: World, models: Sequence[Weights], weights: tuple[float, ...]) -> Process[Weights]:
    """Weighted mean of the models, or parts of models, that arrived."""
    return (yield from world.server.do(averaged, list(models), weights, kind="aggregation"))
