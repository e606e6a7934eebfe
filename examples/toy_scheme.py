"""A scheme from outside the packages: signed updates by majority vote, one bit a weight.

    python examples/toy_scheme.py

server -> user   model                                   once, in the first round
user             gradient of one mini-batch
user -> server   its signs, one bit a weight
server           majority of the signs
server -> users  the majority, one bit a weight          one broadcast
user             the same step everywhere: w - step * majority
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Gt
from torch.func import grad

from learning.parties import Promise, User
from learning.protocols.rounds import gather
from learning.schemes import SCHEMES
from learning.steps import Parameters
from learning.world import World
from scenarios import load, simulate


@dataclass(frozen=True)
class MajorityVote:
    """Signed gradient descent by majority vote, one bit a weight in each direction."""

    step: Annotated[float, Gt(0)] = 0.002
    """What every weight moves in a round."""

    def run(self, world: World) -> Promise:
        model = yield from world.server.broadcast(world.users, world.initial(world.whole), "model")
        for number in world.rounds():
            votes = yield from gather(world, {user: self.vote(world, user, number, model) for user in world.users})
            if votes:
                majority = world.executor.submit(most, list(votes.values()))
                for user in world.users:
                    yield from world.server.send(user, majority, "gradient", bits=world.whole.parameter_count)
                model = world.executor.submit(move, self.step, model, majority)
            world.models(model)

    def vote(self, world: World, user: User, number: int, model: Any) -> Promise:
        signs = yield from user.do(sign_of_gradient, world.whole, model, *user.batch(number), kind="client_training")
        return (yield from user.send(world.server, signs, "gradient", bits=world.whole.parameter_count))


def sign_of_gradient(segment: Any, model: Parameters, x: torch.Tensor, y: torch.Tensor) -> Parameters:
    def loss(model: Parameters) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(segment(model, x), y)

    return {name: gradient.sign() for name, gradient in grad(loss)(model).items()}


def most(votes: list[Parameters]) -> Parameters:
    return {name: torch.stack([vote[name] for vote in votes]).sum(0).sign() for name in votes[0]}


def move(step: float, model: Parameters, direction: Parameters) -> Parameters:
    return {name: weight - step * direction[name] for name, weight in model.items()}


SCHEMES["majority_vote"] = MajorityVote

if __name__ == "__main__":
    scenario = load(Path(__file__).with_name("toy_scheme.yaml"))
    result = simulate(scenario, out=Path("runs/toy_scheme"))
    print(f"accuracy {result.accuracy:.3f} after {result.simulated_time_s:.1f} simulated seconds")
