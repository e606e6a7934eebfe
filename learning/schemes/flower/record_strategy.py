"""Strategies that exchange parameters and results (`flwr.server`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flwr.compat.common.recorddict_compat as compat
from flwr.app import Message, MessageType, RecordDict
from flwr.common import Code, ndarrays_to_parameters, parameters_to_ndarrays

from learning.ports import Streams
from learning.schemes.flower.grid import CellClient, CellClients
from learning.schemes.flower.seeds import seeded
from learning.schemes.flower.server_side import Arrays, Metrics, charge_updates, scalars


class RecordStrategy:
    """The server with a strategy of `flwr.server`.

    Args:
        strategy: the strategy.
        initial: its initial model, if it has none itself.
        streams: random draws.
    """

    def __init__(self, strategy: Any, initial: Arrays, streams: Streams) -> None:
        self.strategy, self.streams = strategy, streams
        own = strategy.initialize_parameters(CellClients([]))
        self.model = ndarrays_to_parameters(initial) if own is None else own
        self._metrics: Metrics = {}

    def arrays(self) -> Arrays:
        """As in `ServerSide`."""
        return list(parameters_to_ndarrays(self.model))

    def train(self, number: int, nodes: Sequence[int]) -> list[Message]:
        """As in `ServerSide`."""
        self._metrics = {}
        with seeded(self.streams.key("flower server", number, "train")):
            asked = self.strategy.configure_fit(number + 1, self.model, CellClients(nodes))
        contents = [(client.node_id, compat.fitins_to_recorddict(fit, True)) for client, fit in asked]
        return [Message(each, dst_node_id=node, message_type=MessageType.TRAIN) for node, each in contents]

    def aggregate(self, number: int, replies: Sequence[Message]) -> None:
        """As in `ServerSide`."""
        charge_updates(replies)
        done, failed = _results(replies, lambda content: compat.recorddict_to_fitres(content, True))
        with seeded(self.streams.key("flower server", number, "aggregate")):
            model, metrics = self.strategy.aggregate_fit(number + 1, done, failed)
        if model is not None:
            self.model = model
        self._metrics |= scalars("train", metrics)

    def evaluation(self, number: int, nodes: Sequence[int]) -> list[Message]:
        """As in `ServerSide`."""
        with seeded(self.streams.key("flower server", number, "evaluation")):
            asked = self.strategy.configure_evaluate(number + 1, self.model, CellClients(nodes))
        contents = [(client.node_id, compat.evaluateins_to_recorddict(ins, True)) for client, ins in asked]
        return [Message(each, dst_node_id=node, message_type=MessageType.EVALUATE) for node, each in contents]

    def aggregate_evaluation(self, number: int, replies: Sequence[Message]) -> None:
        """As in `ServerSide`."""
        done, failed = _results(replies, compat.recorddict_to_evaluateres)
        with seeded(self.streams.key("flower server", number, "aggregate evaluation")):
            loss, metrics = self.strategy.aggregate_evaluate(number + 1, done, failed)
        self._metrics |= scalars("evaluate", {**({} if loss is None else {"loss": loss}), **metrics})

    def metrics(self, number: int) -> Metrics:
        """As in `ServerSide`."""
        with seeded(self.streams.key("flower server", number, "server")):
            found = self.strategy.evaluate(number + 1, self.model)
        return self._metrics if found is None else self._metrics | scalars("server", {"loss": found[0], **found[1]})


def _results(replies: Sequence[Message], read: Callable[[RecordDict], Any]) -> tuple[list[Any], list[Any]]:
    """Results of users whose status is good, and of the others."""
    pairs = [(CellClient(each.metadata.src_node_id), read(each.content)) for each in replies]
    good = [pair for pair in pairs if pair[1].status.code == Code.OK]
    return good, [pair for pair in pairs if pair[1].status.code != Code.OK]
