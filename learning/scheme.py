"""The interface of learning systems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

from learning.parties import User
from learning.ports import Process
from learning.world import World


@runtime_checkable
class Scheme(Protocol):
    """A learning system: one generator that reads like the message sequence chart of its paper.

    A scheme derives from this class and writes `run`; the other members have the defaults given here.
    """

    asynchronous: ClassVar[bool] = False
    """Whether it works under asynchronous policies, in which users begin their local rounds independently."""
    hierarchical: ClassVar[bool] = False
    """Whether its users can work with several edge servers, which average before the aggregator does."""
    one_chain: ClassVar[bool] = False
    """Whether it works on models of one chain of blocks only, not on towers and a fusion network."""
    needs_classes: ClassVar[bool] = False
    """Whether every sample must have one class: not with numbers to be predicted, or several labels of a sample."""
    whole_model: ClassVar[bool] = False
    """Whether it never splits the model, so that it works on a model of a single block, too."""
    evaluates: ClassVar[bool] = True
    """Whether it reports models (`World.models`), which are evaluated on the test set: their values may end a run
    (`stop.accuracy`, `stop.patience`)."""
    training_layers: ClassVar[bool] = False
    """Whether it trains models with layers that compute something else in evaluation, such as dropout or batch
    normalisation: it gives the parts of the model what `learning.training_mode` makes of mini-batches."""
    own_norms: ClassVar[bool] = False
    """Whether users can keep layers of batch normalisation to themselves (`learning.batch_norm`)."""
    placeable: ClassVar[bool] = False
    """Whether it works with any parts that `learning.cut` and `learning.placement` give: `world.parts`, each at its
    `world.host`. Other schemes split the model in two, or do not split it."""

    serves: ClassVar[bool] = False
    """Whether its model answers requests of users (streams with `answered_by: model`): its `run` begins with
    `world.answer_by(service)`, and the traffic runs the service for each request, beside `run`."""

    repeats_steps: ClassVar[bool] = False
    """Whether devices repeat optimiser steps of rounds that they have missed, so that all rounds need one optimiser."""

    lazy_users: ClassVar[bool] = False
    """Whether it knows no users but those that take part in a round, so that the others need not exist."""

    @property
    def stand_in(self) -> str | None:
        """What decisions are based on in a dry run, in place of values of training; None if the scheme reads no values.

        `netsim check` predicts time and bits from a dry run, and prints this sentence part beside them.
        """
        return None

    def run(self, world: World) -> Process[None]:
        """Work until `world.rounds()` are over; a scheme that trains reports the model to `world.models` in each."""
        ...

    def check(self, world: World) -> None:
        """Check the scenario before the run begins. Raises ValueError where the scheme cannot run in this world."""
        return

    def excluded(self, world: World) -> Sequence[User]:
        """Users to be excluded from the run, because they cannot keep to a budget of the scheme (default: none).

        Raises ValueError if that would exclude all users.
        """
        return []
