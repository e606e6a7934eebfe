"""Training on pooled data at the server: the upper bound that distributed schemes are compared with.

Every round is one step on the union of the mini-batches that the users would have drawn, so that equal rounds mean
equal samples. The data lie at the server from the start: their upload is not charged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from learning import steps
from learning.models import Segment
from learning.optimisers import Optimiser
from learning.parties import Promise
from learning.world import World


@dataclass(frozen=True)
class Centralised:
    """All data at the server, one step a round on the union of the users' mini-batches."""

    def run(self, world: World) -> Promise:
        model = world.initial(world.whole)
        state = world.server_optimiser.init(model)
        for number in world.rounds():
            users = world.selected(number)
            xs, ys = zip(*(user.batch(number) for user in users), strict=True)
            work = (pooled_step, world.whole, world.server_optimiser, model, state, list(xs), list(ys))
            model, state = yield from world.server.do(*work, kind="server_training")
            world.took_part(len(users), len(users))
            world.models(model)


def pooled_step(
    segment: Segment, optimiser: Optimiser, parameters: steps.Parameters, state: Any, xs: list[Tensor], ys: list[Tensor]
) -> tuple[steps.Parameters, Any]:
    """One step on several mini-batches put together."""
    x, y = torch.cat(xs)[None], torch.cat(ys)[None]
    parameters, state, _ = steps.train(segment, optimiser, parameters, state, x, y)
    return parameters, state
