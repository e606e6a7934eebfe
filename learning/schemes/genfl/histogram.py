"""Label sharing: a user tells the server how many samples of each class it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from learning.codecs import FixedWidth
from learning.control.controller import record
from learning.control.generation.labels import SharedLabels
from learning.parties import User
from learning.ports import Process
from learning.protocols.rounds import gather
from learning.world import World


@dataclass(frozen=True)
class Histogram:
    """The message in which a user shares its labels."""

    bits_each: Annotated[int, Ge(1)] = 32
    """Bits of the number of samples of one class."""
    laplace_epsilon: Annotated[float, Gt(0)] | None = None
    """Differential privacy: the user adds noise of the Laplace distribution with scale 1/epsilon to each number, and
    clips it at 0 (default: no noise)."""

    def collect(self, world: World, users: Sequence[User], labels: SharedLabels) -> Process[dict[User, float]]:
        """Let users share their labels that have not; returns the distances of those whose histograms arrive now."""
        new = {user: self.share(world, user) for user in users if user.number not in labels}
        arrived = (yield from gather(world, new)) if new else {}
        for user, histogram in arrived.items():
            labels.add(user.number, histogram)
        distances = dict(zip(arrived, labels.emd([user.number for user in arrived]).tolist(), strict=True))
        for user, distance in distances.items():
            record(world.journal, user, {"emd": distance})
        return distances

    def share(self, world: World, user: User) -> Process[NDArray[np.float64]]:
        """Send a user's histogram, (classes,), to the aggregator; returns what arrives there."""
        labels = world.dataset.train.y.numpy()[user.batches.indices]
        counts = np.bincount(labels, minlength=world.dataset.classes).astype(np.float64)
        if self.laplace_epsilon is not None:
            noise = world.streams.generator("label histogram", user.number)
            counts = np.maximum(counts + noise.laplace(scale=1 / self.laplace_epsilon, size=len(counts)), 0.0)
        message = torch.from_numpy(counts)
        received = yield from user.send(world.server, message, "histogram", FixedWidth(self.bits_each))
        return received.numpy()
