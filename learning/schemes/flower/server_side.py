"""The server of a Flower app, step by step, and what its two kinds have in common."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

from learning.executor.flops import charge_elementwise
from learning.schemes.flower.records import elements

Arrays = list[NDArray[np.generic]]
Metrics = dict[str, torch.Tensor]

RUN_ID = SERVER_ID = 1
"""Numbers in messages and contexts."""
FLOPS_EACH = 2
"""What the aggregation of an element of an update is charged, a multiply-add, beside what torch computes for it."""


class ServerSide(Protocol):
    """The server of an app; rounds are numbered from 0."""

    def arrays(self) -> Arrays:
        """The present model."""
        ...

    def train(self, number: int, nodes: Sequence[int]) -> list[Message]:
        """The messages to users by which a round begins; `nodes` are the users that can be sampled."""
        ...

    def aggregate(self, number: int, replies: Sequence[Message]) -> None:
        """Make the next model of the replies to them that have arrived."""
        ...

    def evaluation(self, number: int, nodes: Sequence[int]) -> list[Message]:
        """The messages to users that are to evaluate the model."""
        ...

    def aggregate_evaluation(self, number: int, replies: Sequence[Message]) -> None:
        """Take note of the replies to them that have arrived."""
        ...

    def metrics(self, number: int) -> Metrics:
        """What the app's own evaluation says of a round, by name."""
        ...


def server_context(run_config: dict[str, Any]) -> Context:
    """The context of the server's code, which may send messages from now on."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN_ID, SERVER_ID, SERVER_ID
    logging.getLogger("flwr").setLevel(logging.WARNING)  # progress is that of the run
    return Context(run_id=RUN_ID, node_id=SERVER_ID, node_config={}, state=RecordDict(), run_config=dict(run_config))


def charge_updates(replies: Sequence[Message]) -> None:
    """Count the aggregation of the arrays in these replies, as work of the job that calls this."""
    charge_elementwise(FLOPS_EACH, [elements(each.content) for each in replies])


def scalars(phase: str, metrics: Any) -> Metrics:
    """The numbers among metrics, named `phase.metric`."""
    pairs = (metrics or {}).items()
    return {f"{phase}.{name}": torch.tensor(float(each)) for name, each in pairs if isinstance(each, int | float)}
