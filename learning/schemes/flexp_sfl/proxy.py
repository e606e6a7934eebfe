"""Alignment of personal models by their predictions on public samples, where equal cuts leave no copies to align to.

user <-> server  a forward pass of the public samples, as in a step; the server keeps nothing
user -> server   logits
server           mean of the latest predictions of all users
server -> user   mean predictions
user             a step of its last blocks towards them

Only a forward pass crosses the network, so the step trains what is behind it: the last blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor
from torch.func import grad

from learning import steps
from learning.aggregators import total
from learning.data import rows
from learning.executor.flops import charge_elementwise
from learning.optimisers import Optimiser
from learning.parties import User
from learning.ports import Process
from learning.protocols.shared_blocks import SharedBlocks
from learning.protocols.u_shaped import PrivatePart
from learning.steps import Parameters, Part
from learning.world import World


@dataclass(frozen=True)
class Proxy:
    """Public samples, which all users hold from the beginning, and how strongly predictions on them are aligned."""

    samples: Annotated[int, Ge(1)] = 32
    """Number of public samples, drawn from the training data of all users; their labels are not used."""
    temperature: Annotated[float, Gt(0)] = 2.0
    """Logits are divided by it before predictions are compared (tau)."""
    weight: Annotated[float, Gt(0)] = 1.0
    """Weight of the divergence of a user's predictions from the mean predictions of all."""


class Consensus:
    """The latest predictions of all users on the public samples.

    Args:
        world: the world.
        proxy: the public samples.
    """

    def __init__(self, world: World, proxy: Proxy) -> None:
        self.world, self.proxy = world, proxy
        size = len(world.dataset.train.y)
        drawn = world.streams.generator("public samples").permutation(size)[: min(proxy.samples, size)]
        self.x = rows(world.dataset, "train", np.sort(drawn))[0]
        self._logits: dict[User, Any] = {}

    def align(self, user: User, first: PrivatePart, last: PrivatePart, blocks: SharedBlocks) -> Process[None]:
        """A forward pass of the public samples, and a step of the user's last blocks towards the mean predictions."""
        z: Any = yield from user.do(steps.front, first.part, first.weights, self.x, kind="client_forward")
        if blocks.own[user]:
            z = yield from user.send(user.server, z, "activation")
            z = yield from blocks.predict(user, z)
            z = yield from user.server.send(user, z, "activation")
        logits: Any = yield from user.do(steps.front, last.part, last.weights, z, kind="client_tail")
        self._logits[user] = yield from user.send(user.server, logits, "logits")
        latest = [self._logits[each] for each in sorted(self._logits, key=lambda each: each.number)]
        mean: Any = yield from user.server.do(
            mean_predictions, self.proxy.temperature, latest, kind="alignment", user=user
        )
        mean = yield from user.server.send(user, mean, "reference")
        step = (distilled, last.part, last.optimiser, self.proxy, last.weights, last.state, z, mean)
        last.weights, last.state = yield from user.do(*step, kind="alignment")


def mean_predictions(temperature: float, logits: list[Tensor]) -> list[Tensor]:
    """Mean of softmax(logits / temperature) over users, charged two FLOPs for each of their logits; in a list.

    Args:
        temperature: divisor of the logits.
        logits: (samples, ..., classes) of each user.
    """
    charge_elementwise(2, logits)
    return [total([(each / temperature).softmax(-1) for each in logits]) / len(logits)]


def distilled(
    segment: Part, optimiser: Optimiser, proxy: Proxy, parameters: Parameters, state: Any, z: Any, mean: list[Tensor]
) -> tuple[Parameters, Any]:
    """A step on weight * temperature^2 * KL(mean || softmax(logits / temperature)); returns new parameters and state.

    The square keeps gradients as large as those of the loss. [Hinton et al., arXiv 1503.02531]

    Args:
        segment: the last blocks.
        optimiser: their optimiser.
        proxy: weight and temperature.
        parameters: parameters of the last blocks.
        state: state of the optimiser.
        z: their input for the public samples, (samples, ...).
        mean: mean predictions, (samples, ..., classes), in a list.
    """

    def divergence(parameters: Parameters) -> Tensor:
        own = (segment(parameters, z) / proxy.temperature).log_softmax(-1)
        loss: Tensor = F.kl_div(own.flatten(0, -2), mean[0].flatten(0, -2), reduction="batchmean")
        return proxy.weight * proxy.temperature**2 * loss

    return optimiser.step(parameters, grad(divergence)(parameters), state)
