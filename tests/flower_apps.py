"""Apps written for Flower, on which the scheme `flower` is tested."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import ndarrays_to_parameters
from flwr.server import ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg as RecordFedAvg
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from torch import nn

from learning.schemes.flower import batches, samples

LEARNING_RATE = 0.1


def network(dtype: torch.dtype = torch.float64) -> nn.Module:
    """The perceptron of `tests/tiny.yaml`."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10)).to(dtype)


def trained(context: Context, arrays: list[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """Plain SGD over one epoch of the mini-batches that `fedavg` uses, and the number of samples."""
    model = network()
    model.load_state_dict(dict(zip(model.state_dict(), map(torch.tensor, arrays), strict=True)))
    optimiser = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    for x, y in batches(context):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return [each.numpy() for each in model.state_dict().values()], len(samples(context)[1])


def scored(context: Context, arrays: list[np.ndarray]) -> tuple[float, int, float]:
    """Loss, number of samples and accuracy of a model on the user's samples."""
    model, (x, y) = network(), samples(context)
    model.load_state_dict(dict(zip(model.state_dict(), map(torch.tensor, arrays), strict=True)))
    with torch.no_grad():
        logits = model(x)
    return nn.functional.cross_entropy(logits, y).item(), len(y), (logits.argmax(1) == y).double().mean().item()


app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """One epoch; the state counts the rounds that the user has been part of."""
    arrays, count = trained(context, message.content["arrays"].to_numpy_ndarrays())
    rounds = context.state.config_records.setdefault("past", ConfigRecord({"rounds": 0}))
    rounds["rounds"] += 1
    metrics = MetricRecord({"num-examples": count, "rounds": rounds["rounds"]})
    return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Accuracy on the user's samples."""
    loss, count, accuracy = scored(context, message.content["arrays"].to_numpy_ndarrays())
    metrics = MetricRecord({"num-examples": count, "loss": loss, "accuracy": accuracy})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


class Perceptron(NumPyClient):
    """The same as a client of arrays."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def fit(self, parameters: list[np.ndarray], config: dict[str, Any]) -> tuple[list[np.ndarray], int, dict[str, Any]]:
        """One epoch."""
        return *trained(self.context, parameters), {}

    def evaluate(self, parameters: list[np.ndarray], config: dict[str, Any]) -> tuple[float, int, dict[str, Any]]:
        """Loss and accuracy on the user's samples."""
        loss, count, accuracy = scored(self.context, parameters)
        return loss, count, {"accuracy": accuracy}


def client_fn(context: Context) -> Any:
    """A client for each user."""
    return Perceptron(context).to_client()


def averaging(**fields: Any) -> FedAvg:
    """Federated averaging of all users, who evaluate nothing."""
    return FedAvg(**{"fraction_evaluate": 0.0, **fields})


def evaluating() -> FedAvg:
    """Federated averaging of all users, who all evaluate."""
    return FedAvg()


def record_averaging() -> RecordFedAvg:
    """Federated averaging by parameters and results."""
    return RecordFedAvg(fraction_evaluate=0.0)


def server_fn(context: Context) -> ServerAppComponents:
    """The same with evaluation by users, and with a model of its own to begin with."""

    def mean(metrics: list[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
        return {"accuracy": sum(n * each["accuracy"] for n, each in metrics) / sum(n for n, _ in metrics)}

    initial = ndarrays_to_parameters([each.numpy() for each in network().state_dict().values()])
    strategy = RecordFedAvg(initial_parameters=initial, evaluate_metrics_aggregation_fn=mean)
    return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=3))


server = ServerApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    """The template's: a model, a strategy, and its start."""
    evaluated: Callable[[int, ArrayRecord], MetricRecord] = lambda number, arrays: MetricRecord({"round": number})  # noqa: E731
    initial = ArrayRecord(network().state_dict())
    averaging().start(grid, initial_arrays=initial, num_rounds=3, evaluate_fn=evaluated)
    raise AssertionError("what follows Strategy.start is not run")


idle, own_loop = ServerApp(), ServerApp()


@idle.main()
def ends(grid: Grid, context: Context) -> None:
    """A main function that starts nothing."""


@own_loop.main()
def sends(grid: Grid, context: Context) -> None:
    """A main function that sends messages by itself."""
    grid.send_and_receive([])


def crowded() -> FedAvg:
    """A strategy that waits for more users than there are."""
    return averaging(min_available_nodes=1000)


def record_crowded() -> RecordFedAvg:
    """Likewise."""
    return RecordFedAvg(min_available_clients=1000)
