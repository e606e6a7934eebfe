"""The server that monitors users: it answers each window by what has arrived, and remembers the windows before."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from learning.data import Modalities, Rows, rows
from learning.executor.deferred import Deferred, Value
from learning.inference.detections import Detection, Detections
from learning.models.towers import FUSION
from learning.parties import Server, User
from learning.ports import Process
from learning.schemes.dual_health import operators
from learning.schemes.dual_health.training import Training
from learning.world import World

Heard = dict[str, Deferred[Tensor]]
"""Modality -> features of the present window, (1, d)."""


class Window(NamedTuple):
    """A user's window, which is a sample of its part of the test set."""

    x: Modalities
    """Arrays (1, windows, ...) of the modalities that the user holds."""
    y: Rows
    """The true class, (1,)."""
    held: int
    """Number of modalities that the user has a sensor of, and the model a tower."""
    recorded: list[str]
    """Those of them that the sensors have recorded."""


class Answer(NamedTuple):
    """The answer to a window."""

    best: Deferred[Tensor]
    """The most likely class, (1,)."""
    logits: Deferred[Tensor]
    """Logits of the classes, (1, classes)."""
    uncertainty: Value[Tensor]
    """Uncertainty of each modality, (1, M)."""


class Monitor:
    """The server's part in detection.

    Args:
        world: the world.
        training: the model, in training or trained.
        hold: whether the features that arrived last stand for those of a missing modality.
    """

    def __init__(self, world: World, training: Training, hold: bool) -> None:
        self.world, self.training, self.hold = world, training, hold
        self.towers = {tower.name: tower for tower in training.model.towers.towers}
        self.detections = Detections(world)
        self.uncertainty: dict[User, Deferred[Tensor]] = {}
        """Uncertainty of each modality in a user's latest window."""
        self._before: dict[User, Value[operators.Features]] = {}
        self._latest: dict[User, Heard] = {}

    def server(self, user: User) -> Server:
        """The server that fuses."""
        host = self.world.host(FUSION, user)
        assert isinstance(host, Server)
        return host

    def window(self, user: User, number: int) -> Window:
        """Window number `number` of a user: its test samples in the order of their recording, over and over."""
        assert user.held_out is not None
        row = user.held_out.indices[[number % user.held_out.samples]]
        x, y = rows(self.world.dataset, "test", row, user.batches.modalities)
        recorded = self.world.dataset.test.x
        assert isinstance(x, Modalities)
        assert isinstance(recorded, Modalities)
        held = [name for name in self.towers if name in x.values]
        return Window(x, y, len(held), [name for name in held if bool(recorded.present[name][row])])

    def answer(self, user: User, sample: Window, arrived: Heard) -> Process[Answer]:
        """Fuse what has arrived of a window; without anything the prior of the classes is the answer."""
        heard = {**self._latest.get(user, {}), **arrived} if self.hold else arrived
        if heard:
            given = self.training.model.fusion, self.training.part(FUSION), heard, self._earlier(user)
            logits, best, uncertainty, before = yield from self.server(user).do(
                operators.answer, *given, kind="fusion", user=user
            )
            self.uncertainty[user], self._before[user], self._latest[user] = uncertainty, before, heard
        else:
            prior = operators.by_prior, self.training.part(FUSION), self.training.prior
            logits, best = self.world.executor.submit(*prior)
        missing = len(self.towers) - len(arrived)
        self.detections.add(Detection(user, logits, sample.y, missing, empty=not heard))
        return Answer(best, logits, self.uncertainty.get(user, self._equal()))

    def _earlier(self, user: User) -> Value[operators.Features]:
        """Features of the windows before: zeros for those before the first."""
        if user not in self._before:
            windows = {name: self.world.dataset.modalities[name][0] - 1 for name in self.towers}
            return {
                name: torch.zeros(1, windows[name], tower.classes, dtype=self.world.precision)
                for name, tower in self.towers.items()
            }
        return self._before[user]

    def _equal(self) -> Tensor:
        return torch.zeros(1, len(self.towers), dtype=self.world.precision)
