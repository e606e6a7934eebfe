"""Strategies that exchange messages (`flwr.serverapp`), and apps that start one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from learning.ports import Streams
from learning.schemes.flower.grid import CellGrid
from learning.schemes.flower.seeds import seeded
from learning.schemes.flower.server_side import Arrays, Metrics, charge_updates, scalars


def array_record(arrays: dict[str, NDArray[np.generic]]) -> ArrayRecord:
    """A record of named arrays."""
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


class MessageStrategy:
    """The server with a strategy of `flwr.serverapp`.

    Args:
        strategy: the strategy.
        initial: its initial model.
        streams: random draws.
        train_config: configuration of training that it sends to users (default: none).
        evaluate_config: likewise of evaluation (default: none).
        evaluate_fn: evaluation of the model at the server, by round from 1 and model, which takes no simulated time
            (default: none).
    """

    def __init__(
        self,
        strategy: Strategy,
        initial: ArrayRecord,
        streams: Streams,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], Any] | None = None,
    ) -> None:
        self.strategy, self.model, self.streams, self.evaluate_fn = strategy, initial, streams, evaluate_fn
        self.train_config = ConfigRecord() if train_config is None else train_config
        self.evaluate_config = ConfigRecord() if evaluate_config is None else evaluate_config
        self._metrics: Metrics = {}

    def arrays(self) -> Arrays:
        """As in `ServerSide`."""
        return [each.numpy() for each in self.model.values()]

    def train(self, number: int, nodes: Sequence[int]) -> list[Message]:
        """As in `ServerSide`."""
        self._metrics = {}
        with seeded(self.streams.key("flower server", number, "train")):
            grid = CellGrid(nodes)
            return list(self.strategy.configure_train(number + 1, self.model, self.train_config, grid))

    def aggregate(self, number: int, replies: Sequence[Message]) -> None:
        """As in `ServerSide`."""
        charge_updates(replies)
        with seeded(self.streams.key("flower server", number, "aggregate")):
            model, metrics = self.strategy.aggregate_train(number + 1, list(replies))
        if model is not None:
            self.model = model
        self._metrics |= scalars("train", metrics)

    def evaluation(self, number: int, nodes: Sequence[int]) -> list[Message]:
        """As in `ServerSide`."""
        with seeded(self.streams.key("flower server", number, "evaluation")):
            grid = CellGrid(nodes)
            return list(self.strategy.configure_evaluate(number + 1, self.model, self.evaluate_config, grid))

    def aggregate_evaluation(self, number: int, replies: Sequence[Message]) -> None:
        """As in `ServerSide`."""
        with seeded(self.streams.key("flower server", number, "aggregate evaluation")):
            metrics = self.strategy.aggregate_evaluate(number + 1, list(replies))
        self._metrics |= scalars("evaluate", metrics)

    def metrics(self, number: int) -> Metrics:
        """As in `ServerSide`."""
        if self.evaluate_fn is None:
            return self._metrics
        with seeded(self.streams.key("flower server", number, "server")):
            return self._metrics | scalars("server", self.evaluate_fn(number + 1, self.model))


class _Started(BaseException):
    """What `Strategy.start` was called with; a main function that catches exceptions does not catch it."""

    def __init__(self, strategy: Strategy, **arguments: Any) -> None:
        super().__init__()
        self.strategy, self.arguments = strategy, arguments


def started(app: Any, context: Context, streams: Streams) -> MessageStrategy:
    """The server that a `ServerApp` starts: its main function runs until it calls `Strategy.start`.

    Raises ValueError if it ends without, or sends messages by itself.
    """
    with _start_caught(), seeded(streams.key("flower server", "main")):
        try:
            app(CellGrid(), context)
        except _Started as call:
            initial, configs = call.arguments["initial_arrays"], ("train_config", "evaluate_config", "evaluate_fn")
            further = {name: call.arguments[name] for name in configs}
            return MessageStrategy(call.strategy, initial, streams, **further)
    raise ValueError("the main function of the ServerApp ends without a call of Strategy.start")


@contextmanager
def _start_caught() -> Iterator[None]:
    def start(
        self: Strategy,
        grid: Any,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Any = None,
    ) -> None:
        configs = {"train_config": train_config, "evaluate_config": evaluate_config, "evaluate_fn": evaluate_fn}
        raise _Started(self, initial_arrays=initial_arrays, **configs)

    own, Strategy.start = Strategy.start, start
    try:
        yield
    finally:
        Strategy.start = own
