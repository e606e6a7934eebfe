"""A mixture of experts at two sites, an edge server and a distant cloud: python examples/two_sites.py

server -> user   trunk, which maps a sample to features and to the gate's score of each expert
user             trunk, forward; the expert with the highest score is read for each sample
user <-> site    samples and logits of each expert, then their gradients: all experts in parallel
user -> server   gradients of the trunk
server, sites    step on the mean of the gradients [Fedus, Zoph, Shazeer: Switch transformers, JMLR 2022]
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from learning import steps
from learning.parties import User
from learning.ports import Process
from learning.protocols.expert_layer import ExpertLayer
from learning.protocols.rounds import gather
from learning.protocols.split import JointPart
from learning.routing import Routing, UniformRouting
from learning.scheme import Scheme
from learning.world import World
from scenarios import load, register, simulate

WIDTH, EXPERTS = 32, 4


def chosen(z: Tensor) -> Tensor:
    return z[:, WIDTH:].argmax(-1, keepdim=True)


def expert(weights: steps.Parameters, z: Tensor) -> Tensor:
    logits = nn.functional.linear(z[:, :WIDTH].relu(), *weights.values())
    return logits * z[:, WIDTH:].softmax(-1).amax(-1, keepdim=True)


def balanced(z: Tensor, dz: Tensor) -> Tensor:
    """Add the gradient of the load-balancing loss: experts x share of samples x mean score, summed over experts."""
    share = (chosen(z) == torch.arange(EXPERTS, device=z.device)).to(z.dtype).mean(0)
    return dz + torch.func.grad(lambda z: 0.05 * EXPERTS * (share * z[:, WIDTH:].softmax(-1).mean(0)).sum())(z)


class Experts(nn.ModuleList):
    def forward(self, z: Tensor) -> Tensor:
        each = [expert(dict(own.named_parameters()), z) for own in self]
        return torch.stack(each).take_along_dim(chosen(z)[None], 0)[0]


@dataclass(frozen=True)
class SwitchModel:
    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        trunk = nn.Linear(torch.Size(input_shape).numel(), WIDTH + EXPERTS)
        return [nn.Sequential(nn.Flatten(), trunk), Experts(nn.Linear(WIDTH, classes) for _ in range(EXPERTS))]


@dataclass(frozen=True)
class TwoSites(Scheme):
    """Joint training of a mixture of experts; those in `at_edge` are at the edge server, the others in the cloud."""

    at_edge: tuple[int, ...] = (0, 1)
    routing: Routing = UniformRouting()  # in a dry run
    stand_in = "routing distribution"

    def run(self, world: World) -> Process[None]:
        layer, weights = self.layer(world), world.initial(world.front)
        trunk = JointPart(world, weights, world.optimiser.init(weights))
        for number in world.rounds():
            work = {user: self.user(world, user, number, trunk, layer) for user in world.selected(number)}
            done = list((yield from gather(world, work)))
            trunk.step(done, world.weights(done, "uniform"))
            layer.step(done)
            world.models((trunk.weights, *layer.weights))

    def layer(self, world: World) -> ExpertLayer:
        edge, cloud, start = world.sites["edge"], world.sites["cloud"], world.initial(world.whole)
        experts = [{name: start[name] for name in (f"1.{e}.weight", f"1.{e}.bias")} for e in range(EXPERTS)]
        layer = ExpertLayer(world, 0, [edge, cloud], expert, experts)
        for e in range(EXPERTS):
            layer.store(e, edge if e in self.at_edge else cloud)
        return layer

    def check(self, world: World) -> None:
        if not {"edge", "cloud"} <= set(world.sites):
            raise ValueError("experts are at the sites edge and cloud; give both in compute.sites")
        self.layer(world)  # where they fit

    def user(self, world: World, user: User, number: int, trunk: JointPart, layer: ExpertLayer) -> Process[None]:
        (x, y), submit = user.batch(number), world.executor.submit
        mine = yield from world.server.send(user, trunk.weights, "model")
        z = yield from user.do(steps.front, world.front, mine, x, kind="client_forward")
        law = self.routing.stand_in(world.streams, EXPERTS, user.number, number)
        routed = layer.route(user, (yield from user.read(submit(chosen, z), law)))
        logits = yield from routed.forward(z)
        dz = submit(balanced, z, (yield from routed.backward(submit(steps.loss_gradient, logits, y))))
        gradients = yield from user.do(steps.front_gradients, world.front, mine, x, dz, kind="client_backward")
        trunk.add(user, (yield from user.send(world.server, gradients, "gradient")))


register("model", "switch_model", SwitchModel)
register("scheme", "two_sites", TwoSites)

if __name__ == "__main__":
    for executor in ("batched", "dry"):
        result = simulate(load(__file__.replace(".py", ".yaml"), {"learning.executor": executor}))
        calls = result.table("expert_calls").to_pandas()
        latency_s = (calls.end_s - calls.start_s).groupby(calls.node).mean()
        print(f"{executor}: accuracy {result.accuracy}, mean latency of a call in s {latency_s.to_dict()}")
