"""Distribution of a model by unicast, by broadcast at the rate of the weakest user, or by rateless broadcast.

    python examples/rateless.py

server -> users  model: unicast, broadcast or rateless broadcast       a user trains once it has received the model
user             local steps on the whole model
user -> server   model
server           mean of the models, weighted by samples

With a rateless code the base station transmits one stream of coded bits. A user has received the model when its
accumulated mutual information reaches the bits of the model, and does not wait for users with worse channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from learning.aggregators import weighted_mean
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.broadcast import Broadcast
from learning.protocols.federated import descend
from learning.protocols.rounds import gather
from learning.scheme import Scheme
from learning.world import World
from scenarios import Result, load, register, simulate

Downlink = Literal["unicast", "broadcast", "rateless"]
DOWNLINKS: tuple[Downlink, ...] = ("unicast", "broadcast", "rateless")
CELL = Path(__file__).parents[1] / "scenarios" / "quickstart.yaml"


@dataclass(frozen=True)
class DistributedAveraging(LocalTraining, Scheme):
    """Federated averaging with one of three kinds of downlink."""

    downlink: Downlink = "rateless"
    """Distribution of the model: one message per user, one broadcast at a common rate, or one rateless stream."""

    def run(self, world: World) -> Process[None]:
        model = world.initial(world.whole)
        states = dict.fromkeys(world.users, world.optimiser.init(model))
        for number in world.rounds():
            users = world.selected(number)
            broadcast = Broadcast(world, users, model, "model")  # on the air only if a user waits for it
            receive = self.distribute(world, users, model, broadcast)
            work = {user: self.local_round(world, user, number, model, states, receive[user]) for user in users}
            models = yield from gather(world, work)
            yield from broadcast.withdraw()
            if models:
                weights = world.weights(list(models), "by_samples")
                model = world.executor.submit(weighted_mean, list(models.values()), weights)
            world.models(model)

    def distribute(
        self, world: World, users: Sequence[User], model: Any, broadcast: Broadcast
    ) -> dict[User, Process[Any]]:
        """User -> process that ends when the user has received the model."""
        if self.downlink == "unicast":
            return {user: world.server.send(user, model, "model") for user in users}
        if self.downlink == "broadcast":
            return {user: broadcast.reaches(user) for user in users}
        return world.server.broadcast_rateless(users, model, "model")

    def local_round(
        self, world: World, user: User, number: int, model: Any, states: dict[User, Any], receive: Process[Any]
    ) -> Process[Any]:
        """One user's round: download, local training, upload; returns the model that the server receives."""
        yield from receive
        data = user.batches.stack(self.positions(user, number))
        trained, state = yield from descend(world, world.whole, user, model, states[user], *data)
        received = yield from user.send(world.server, trained, "model")
        states[user] = state  # unchanged if the upload does not arrive
        return received


register("scheme", "distributed_averaging", DistributedAveraging)


def run(downlink: Downlink, rounds: int = 10) -> Result:
    """Simulate the quickstart in a cell of 400 m radius with a downlink of 0.5 MHz."""
    scheme = {"name": "distributed_averaging", "downlink": downlink}
    cell = {"network.users.placement.radius_m": 400, "network.sharing.downlink.bandwidth_mhz": 0.5}
    return simulate(load(CELL, {"learning.scheme": scheme, "learning.stop.rounds": rounds, **cell}))


if __name__ == "__main__":
    for downlink in DOWNLINKS:
        result = run(downlink)
        transfers = result.table("transfers").to_pandas()
        received_s = (transfers.end_s - transfers.start_s)[transfers.direction == "down"]
        print(
            f"{downlink:9s}  users have the model after {received_s.mean():.2f} s, the last of them after "
            f"{received_s.max():.2f} s; 10 rounds take {result.simulated_time_s:.1f} s, accuracy {result.accuracy:.3f}"
        )
