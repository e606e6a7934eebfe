"""A Flower app in a cell of its own: federated averaging with stragglers, deadlines and a radio link.

    pip install 'netsim-learning[flower]'
    python examples/flower_app.py

The client and the strategy are those of any Flower project; `samples` gives a client the samples of its user.
"""

from pathlib import Path

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAdagrad
from torch import nn

from learning.schemes.flower import samples
from scenarios import load, simulate

app, server = ClientApp(), ServerApp()


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


@app.train()
def train(message: Message, context: Context) -> Message:
    model, (x, y) = network(), samples(context)
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimiser = torch.optim.SGD(model.parameters(), lr=context.run_config["learning-rate"])
    for batch in torch.randperm(len(y)).split(16):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimiser.step()
    metrics = MetricRecord({"num-examples": len(y)})
    return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    model, (x, y) = network(), samples(context)
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    metrics = {"num-examples": len(y), "accuracy": (model(x).argmax(1) == y).float().mean().item()}
    return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    strategy = FedAdagrad(fraction_train=0.5, fraction_evaluate=0.5, eta=0.03)
    strategy.start(grid, initial_arrays=ArrayRecord(network().state_dict()), num_rounds=20)


if __name__ == "__main__":
    result = simulate(load(Path(__file__).with_name("flower_app.yaml")), out=Path("runs/flower_app"))
    print(f"accuracy {result.accuracy:.3f} after {result.simulated_time_s:.1f} simulated seconds")
