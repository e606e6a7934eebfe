"""A scheme of your own: federated averaging whose server keeps a momentum (FedAvgM; Hsu et al., arXiv 1909.06335).

    python examples/own_scheme.py

server -> user   model
user             local steps
user -> server   model
server           v <- momentum * v + (mean of the models - model);  model <- model + v
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Interval

from learning.local_training import LocalTraining
from learning.ports import Process
from learning.protocols.cohort import assemble
from learning.protocols.federated import descend, local_round
from learning.protocols.updates import merge
from learning.scheme import Scheme
from learning.states import States
from learning.steps import Parameters
from learning.world import World
from scenarios import load, register, simulate


@dataclass(frozen=True)
class ServerMomentum(LocalTraining, Scheme):
    """Federated averaging with momentum at the server."""

    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.7  # 0 is federated averaging

    def run(self, world: World) -> Process[None]:
        model: Any = world.initial(world.whole)
        velocity: Any = {name: torch.zeros_like(weight) for name, weight in model.items()}
        states, train = States(world.optimiser.init(model)), partial(descend, world, world.whole)
        cohort = assemble(world, lambda user, number, at: local_round(world, user, number, at, states, self, train))
        for number in world.rounds():
            updates = yield from cohort.updates(number, model)
            mean = yield from merge(world, model, updates, "by_samples")
            step = accelerated, self.momentum, model, mean, velocity
            model, velocity = yield from world.server.do(*step, kind="momentum")
            world.models(model)


def accelerated(momentum: float, model: Parameters, mean: Parameters, velocity: Parameters) -> Any:
    velocity = {name: momentum * v + (mean[name] - model[name]) for name, v in velocity.items()}
    return {name: weight + velocity[name] for name, weight in model.items()}, velocity


register("scheme", "server_momentum", ServerMomentum)

if __name__ == "__main__":
    result = simulate(load(Path(__file__).with_name("own_scheme.yaml")), out=Path("runs/own_scheme"))
    print(f"accuracy {result.accuracy:.3f} after {result.simulated_time_s:.1f} simulated seconds")
