"""The base station: receivers and foundation model, and their joint steps in both stages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from learning import steps
from learning.adapters import Bound, require_adapters
from learning.data import Modalities, Rows
from learning.executor.deferred import Deferred
from learning.models import Multimodal
from learning.ports import Process
from learning.protocols.token_stages import operators
from learning.protocols.token_stages.device import Sent
from learning.reducers import ReducedTower
from learning.steps import State, Weights
from learning.world import World


class Arrived(NamedTuple):
    """What the base station has of a mini-batch of one team."""

    received: list[Deferred[operators.Tokens]]
    """Tokens of the users whose message has arrived, in the order of their numbers."""
    x: Modalities
    """Samples of one of the users, of which the base station knows the presence masks."""
    y: Rows
    """Labels, which are at the base station."""

    @classmethod
    def of(cls, sent: Collection[Sent]) -> Arrived:
        """What has arrived of the users of a team, at least one."""
        first = next(iter(sent))
        return cls([each.tokens for each in sent], first.x, first.y)


class BaseStation:
    """Receivers and foundation model, which take one step a round on the mean of the gradients of all teams.

    Args:
        world: the world, with the server's optimiser.
        model: the whole model, whose fusion network is bound to frozen weights.
        anchor: the modality to which the others are aligned.
    """

    def __init__(self, world: World, model: Multimodal, anchor: str) -> None:
        self.world, self.anchor = world, anchor
        self.fusion: Bound = require_adapters(model.fusion)
        self.receivers = self.fusion.cut(1)[0]
        self._initial = world.initial(self.fusion)
        self.weights: Weights = self._initial
        self.read_by(model)
        self.summaries = tuple((tower.name, summaries(tower)) for tower in model.towers.towers)
        self._train(self.receivers)

    def read_by(self, model: Multimodal) -> None:
        """Compute the anchor's tokens by the tower of this model from now on: with another reducer of tokens."""
        self.table = next(tower for tower in model.towers.towers if tower.name == self.anchor)

    def begin_stage(self) -> None:
        """Train adapters and receivers from now on, with a new state of the optimiser; at first only the latter."""
        self._train(self.fusion)

    def _train(self, part: Bound) -> None:
        self._trained = tuple(part.parameters())
        self.state: State = self.world.server_optimiser.init({name: self._initial[name] for name in self._trained})

    def align(
        self, arrived: Arrived, caption: Rows, temperature: float, reconstruction: float
    ) -> Process[tuple[Weights, Any, Any]]:
        """Gradients of the alignment loss for a team's mini-batch, whose captions the base station knows."""
        own = self.world.executor.submit(steps.named, self.weights, self._trained)
        loss = self.anchor, self.summaries, temperature, reconstruction
        samples = Modalities({self.anchor: caption}, arrived.x.present)
        given: Any = self.receivers, self.table, *loss, own, {}, arrived.received, samples
        return (yield from self.world.server.do(operators.alignment_gradients, *given, kind="server_align"))

    def answer(self, arrived: Arrived) -> Process[tuple[Weights, Any, Any]]:
        """Gradients of the loss of the answers for a team's mini-batch."""
        present = arrived.x.present
        work = (operators.task_gradients, self.fusion, self.weights, arrived.received, present, arrived.y)
        return (yield from self.world.server.do(*work, kind="llm_step"))

    def respond(self, arrived: Arrived) -> Process[tuple[Deferred[Tensor], Deferred[Tensor]]]:
        """Answers to a team's requests, without training: number of correct ones, and sum of the losses."""
        present = arrived.x.present
        work = (operators.answers, self.fusion, self.weights, arrived.received, present, arrived.y)
        return (yield from self.world.server.do(*work, kind="llm_forward"))

    def step(self, gradients: Sequence[Weights], weights: tuple[float, ...]) -> None:
        """One step of the part that is trained, on the weighted mean of the teams' gradients."""
        executor, optimiser = self.world.executor, self.world.server_optimiser
        own = executor.submit(steps.named, self.weights, self._trained)
        own, self.state = executor.submit(steps.apply_mean, optimiser, own, self.state, list(gradients), weights)
        self.weights = executor.submit(steps.merge, self.weights, own)


def summaries(tower: Bound | ReducedTower) -> int | None:
    """Number of a tower's first tokens whose mean is its feature; None is all."""
    bound: Bound = tower.tower if isinstance(tower, ReducedTower) else tower
    architecture: Any = bound.adapted.segment.architecture
    found: int | None = architecture.summaries
    return found
