"""U-shaped split learning: first and last part of the model are at the user, so that labels never leave it.

    python examples/u_shaped.py

server -> user   front and tail            once per round
for each mini-batch, users in parallel:
  user             front, forward
  user -> server   activations
  server           middle, forward, with the user's own replica
  server -> user   activations
  user             tail, forward, loss, backward; step
  user -> server   gradient of the tail's input
  server           middle, backward; step
  server -> user   gradient of the front's output
  user             front, backward; step
user -> server   front and tail            once per round
server           mean of each part

After Vepakomma et al., "Split learning for health", arXiv 1812.00564, configuration (b).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learning import steps
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.cohort import assemble
from learning.protocols.updates import merge, of_part
from learning.scheme import Scheme
from learning.world import World
from scenarios import load, register, simulate


@dataclass(frozen=True)
class UShaped(LocalTraining, Scheme):
    """U-shaped split federated learning: front and tail at the user, middle at the server or a site."""

    placeable = True

    def run(self, world: World) -> Process[None]:
        model: Any = tuple(world.initial(part) for part in world.parts.values())
        optimisers = world.optimiser, world.server_optimiser, world.optimiser
        fresh = [optimiser.init(weights) for optimiser, weights in zip(optimisers, model, strict=True)]
        states = dict.fromkeys(world.users, fresh)
        cohort = assemble(world, lambda user, number, model: self.user(world, user, number, model, states))
        for number in world.rounds():
            updates = yield from cohort.updates(number, model)
            merged = []
            for place, part in enumerate(model):
                merged.append((yield from merge(world, part, of_part(updates, place), "by_samples")))
            model = tuple(merged)
            world.models(model)

    def user(self, world: World, user: User, number: int, model: Any, states: dict[User, Any]) -> Process[Any]:
        (front, middle, tail), (first, second, last) = model, states[user]
        front_part, middle_part, tail_part = world.parts.values()
        server, device, remote = world.host("middle", user), world.optimiser, world.server_optimiser
        front, tail = yield from user.server.send(user, (front, tail), "model")
        for x, y in map(user.batch, self.positions(user, number)):
            a = yield from user.do(steps.front, front_part, front, x, kind="client_forward")
            a = yield from user.send(server, a, "activation")
            b = yield from server.do(steps.front, middle_part, middle, a, kind="server_forward", user=user)
            b = yield from server.send(user, b, "activation")
            work = (steps.back, tail_part, device, tail, last, b, y)
            tail, last, db, _ = yield from user.do(*work, kind="client_tail")
            db = yield from user.send(server, db, "gradient")
            work = (steps.update_middle, middle_part, remote, middle, second, a, db)
            middle, second, da = yield from server.do(*work, kind="server_backward", user=user)
            da = yield from server.send(user, da, "gradient")
            work = (steps.update_front, front_part, device, front, first, x, da)
            front, first = yield from user.do(*work, kind="client_backward")
        front, tail = yield from user.send(user.server, (front, tail), "model")
        states[user] = first, second, last
        return front, middle, tail

    def check(self, world: World) -> None:
        """Raise ValueError unless the model has three parts with only the outer ones at the user."""
        super().check(world)
        if len(world.parts) != 3 or [part for part, host in world.placement.items() if host == "user"] != [
            "front",
            "tail",
        ]:
            raise ValueError("a U-shaped split needs two cuts, as in cut: [1, 2], with only front and tail at the user")


register("scheme", "u_shaped", UShaped)

if __name__ == "__main__":
    result = simulate(load(Path(__file__).with_name("u_shaped.yaml")), out=Path("runs/u_shaped"))
    print(f"accuracy {result.accuracy:.3f} after {result.simulated_time_s:.1f} simulated seconds, labels at the users")
