"""Flower, whose simulation runs clients as Ray actors. `python -m benchmarks.peers.with_flower MODEL ROUNDS`."""

import sys
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks.peers.task import COHORT, SAMPLES, USERS, Rounds, network, samples, train

NAME, COUNT = sys.argv[1], int(sys.argv[2])
client, server = ClientApp(), ServerApp()


@client.train()
def local_round(message: Message, context: Context) -> Message:
    """An epoch of a user, in the process of an actor."""
    torch.set_num_threads(1)
    images, labels = _samples()
    user = int(context.node_config["partition-id"])
    model = network(NAME)
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    train(model, images[user], labels[user])
    metrics = MetricRecord({"num-examples": SAMPLES})
    return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)


def _samples(kept: list[Any] = []) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: B006  # once in each actor
    if not kept:
        kept.append(samples())
    return kept[0]


@server.main()
def serve(grid: Grid, context: Context) -> None:
    """All rounds."""
    rounds = Rounds()

    def ended(number: int, arrays: ArrayRecord) -> None:
        if number:
            rounds.ended()

    strategy = FedAvg(
        fraction_train=COHORT / USERS,
        fraction_evaluate=0.0,
        min_train_nodes=COHORT,
        min_evaluate_nodes=0,
        min_available_nodes=USERS,
    )
    strategy.start(grid, ArrayRecord(network(NAME).state_dict()), COUNT, evaluate_fn=ended)
    rounds.report()


if __name__ == "__main__":
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(server, client, USERS, backend_config=resources)
