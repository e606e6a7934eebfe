"""Experts in a distant cloud, of which an edge server caches some: python examples/cached_experts.py

user             features of the tokens of a request; the gate's choice of an expert for each of them is read
user <-> site    one token after the other and its logits: at the edge if its expert is held there, else in the cloud
cloud -> edge    the weights of an expert that was missing, if the eviction policy of the edge makes room for it

Nothing is trained. The run is dry: a routing distribution replaces the choice of the gate. Which eviction policy has
the most hits depends on its temporal locality, `reuse`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from learning import steps
from learning.parties import User
from learning.ports import Process
from learning.protocols.expert_layer import ExpertLayer
from learning.protocols.rounds import gather
from learning.routing import Routing, UniformRouting
from learning.scheme import Scheme
from learning.world import World
from scenarios import load, register, simulate

WIDTH = 32


def chosen(z: Tensor) -> Tensor:
    """The gate's scores follow the features of a token."""
    return z[:, WIDTH:].argmax(-1, keepdim=True)


def token(z: Tensor, position: int) -> Tensor:
    return z[position : position + 1]


def expert(weights: steps.Parameters, z: Tensor) -> Tensor:
    return nn.functional.linear(z[:, :WIDTH].relu(), *weights.values())


class Experts(nn.ModuleList):
    def forward(self, z: Tensor) -> Tensor:
        logits = torch.stack([expert(dict(each.named_parameters()), z) for each in self])
        return logits.take_along_dim(chosen(z)[None], 0)[0]


@dataclass(frozen=True)
class Mixture:
    experts: int = 16

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        trunk = nn.Linear(torch.Size(input_shape).numel(), WIDTH + self.experts)
        return [nn.Sequential(nn.Flatten(), trunk), Experts(nn.Linear(WIDTH, classes) for _ in range(self.experts))]


@dataclass(frozen=True)
class CachedExperts(Scheme):
    """A request is a mini-batch of tokens. Devices hold the trunk, the cloud all experts, and `cache` some of them."""

    cache: str = "edge"
    routing: Routing = UniformRouting()
    stand_in = "routing distribution"

    def run(self, world: World) -> Process[None]:
        cache, cloud, weights = world.sites[self.cache], world.sites["cloud"], world.initial(world.whole)
        names = [name for name in weights if name.startswith("1.")]
        experts = [{n: weights[n] for n in pair} for pair in zip(names[::2], names[1::2], strict=True)]
        layer = ExpertLayer(world, 0, [cache, cloud], expert, experts, lambda user: cache)
        for number in range(len(experts)):
            layer.store(number, cloud)
        for number in world.rounds():
            work = {user: self.request(world, user, number, layer) for user in world.selected(number)}
            list((yield from gather(world, work)))
            world.models(weights)

    def check(self, world: World) -> None:
        super().check(world)
        if not {self.cache, "cloud"} <= set(world.sites):
            raise ValueError(f"experts are at the sites {self.cache} and cloud; give both in compute.sites")

    def request(self, world: World, user: User, number: int, layer: ExpertLayer) -> Process[None]:
        x, _ = user.batch(number)
        z = yield from user.do(steps.front, world.front, world.initial(world.front), x, kind="client_forward")
        law = self.routing.stand_in(world.streams, len(layer.experts), user.number, number)
        for position, choice in enumerate((yield from user.read(world.executor.submit(chosen, z), law)).split(1)):
            yield from layer.route(user, choice).forward(world.executor.submit(token, z, position))


register("model", "mixture", Mixture)
register("scheme", "cached_experts", CachedExperts)

if __name__ == "__main__":
    for reuse in (0.0, 0.9):
        for eviction in ("none", "lru", "lfu", "lfu_admission"):
            changes = {"compute.sites.edge.eviction": eviction, "learning.scheme.routing.reuse": reuse}
            calls = simulate(load(__file__.replace(".py", ".yaml"), changes)).table("expert_calls").to_pandas()
            latency_s = (calls.end_s - calls.start_s).mean()
            print(f"reuse {reuse}, {eviction}: {calls.hit.mean():.1%} hits, mean latency of a call {latency_s:.4f} s")
