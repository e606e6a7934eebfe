"""A scheme defined outside the packages: signSGD with majority vote, one bit per weight on the uplink.

    python examples/toy_scheme.py

server -> user   model
user             gradient of one mini-batch
user -> server   signs of the gradient, one bit per weight
server           w <- w - step * majority of the signs

After Bernstein et al., "signSGD with majority vote is communication efficient and fault tolerant", ICLR 2019.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Gt
from torch.func import grad

from learning.codecs import FixedWidth
from learning.parties import User
from learning.ports import Process
from learning.protocols.rounds import gather
from learning.scheme import Scheme
from learning.steps import Parameters
from learning.world import World
from scenarios import load, register, simulate


@dataclass(frozen=True)
class MajorityVote(Scheme):
    """SignSGD with majority vote: the update of a user has one bit per weight."""

    step: Annotated[float, Gt(0)] = 0.002
    """Change of every weight in a round."""

    def run(self, world: World) -> Process[None]:
        model = world.initial(world.whole)
        for number in world.rounds():
            work = {user: self.vote(world, user, number, model) for user in world.selected(number)}
            votes = yield from gather(world, work)
            if votes:
                model = world.executor.submit(move, self.step, model, list(votes.values()))
            world.models(model)

    def vote(self, world: World, user: User, number: int, model: Any) -> Process[Any]:
        model = yield from world.server.send(user, model, "model")
        signs = yield from user.do(sign_of_gradient, world.whole, model, *user.batch(number), kind="client_training")
        return (yield from user.send(world.server, signs, "gradient", FixedWidth(1)))


def sign_of_gradient(segment: Any, model: Parameters, x: torch.Tensor, y: torch.Tensor) -> Parameters:
    def loss(model: Parameters) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(segment(model, x), y)

    return {name: gradient.sign() for name, gradient in grad(loss)(model).items()}


def move(step: float, model: Parameters, votes: list[Parameters]) -> Parameters:
    majority = {name: torch.stack([vote[name] for vote in votes]).sum(0).sign() for name in model}
    return {name: weight - step * majority[name] for name, weight in model.items()}


register("scheme", "majority_vote", MajorityVote)

if __name__ == "__main__":
    scenario = load(Path(__file__).with_name("toy_scheme.yaml"))
    result = simulate(scenario, out=Path("runs/toy_scheme"))
    print(f"accuracy {result.accuracy:.3f} after {result.simulated_time_s:.1f} simulated seconds")
