"""The answers that a model has given to users, and how many of them are right."""

from __future__ import annotations

from torch import Tensor

from learning.evaluation import mean
from learning.executor.deferred import Deferred
from learning.inference.operations import score
from learning.parties import User
from learning.world import World


class Answers:
    """Collects the answers to requests, and writes their accuracy to the table `evaluations`, period by period."""

    def __init__(self, world: World) -> None:
        """None so far, in this world."""
        self.world = world
        self._users: list[User] = []
        self._scores: list[tuple[Deferred[Tensor], Deferred[Tensor]]] = []

    def add(self, user: User, logits: Deferred[Tensor], y: object, position: int | None) -> None:
        """Note an answer that a user has now.

        Args:
            user: the user.
            logits: logits (1, classes) of the class of a sample, or of one token of it.
            y: labels of the sample: (1,), or (1, tokens) where every token has one.
            position: the token whose label is predicted, from 0; None where a sample has one label.
        """
        self._users.append(user)
        self._scores.append(self.world.executor.submit(score, logits, y, position))

    def report(self, number: int) -> None:
        """End period `number`, and write accuracy and mean loss of its answers, if there are any.

        The values are null where the executor computes none.
        """
        world, count, users = self.world, len(self._scores), len(set(self._users))
        world.report_participation(users, users)
        if count:
            metrics: dict[str, float | None] = {"accuracy": None, "loss": None}
            if world.executor.computes:
                correct, losses = zip(*world.executor.value(self._scores), strict=True)
                metrics = {"accuracy": mean(list(map(float, correct))), "loss": mean(list(map(float, losses)))}
            for metric, value in metrics.items():
                world.journal.evaluation("answers", metric, value, count, round=number, time_s=world.env.now)
        self._users, self._scores = [], []
