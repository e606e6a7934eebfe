"""Two modalities: towers at the users, a fusion network at the server; half of the users lack one modality.

    python examples/two_towers.py

server -> user   towers of the modalities that the user has
user             towers, forward
user -> server   features of each modality, with their presence masks; labels
server           fusion network, forward and backward
server -> user   gradient of the features
user             towers, backward; step
user -> server   towers
server           step of the fusion network on the mean of all gradients; mean of each tower over the users that have it

The modalities are the upper and lower halves of images of digits. Fusion of features: Ngiam et al., ICML 2011.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from learning import steps
from learning.data import Dataset, Digits
from learning.models.towers import FUSION, Towers, own
from learning.parties import User
from learning.ports import Process
from learning.protocols.average import average
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink, JointPart, exchange
from learning.scheme import Scheme
from learning.world import World
from scenarios import load, register, simulate

TOWER = {"model": {"name": "mlp", "hidden": [32]}}


@dataclass(frozen=True)
class Halves:
    """Upper and lower halves of the digits, divided among sources; every second source lacks the lower halves."""

    sources: int = 8
    """Number of sources; with the partition `natural` each source is a user."""
    lacking: bool = True
    """Whether every second source lacks the lower halves; False gives all sources both."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        digits = Digits().load(folder, dtype)
        halves = [({"upper": s.x[:, :, :4], "lower": s.x[:, :, 4:]}, s.y) for s in (digits.train, digits.test)]
        source = torch.arange(len(digits.train.y)) // 10 % self.sources
        present = {"lower": source % 2 == 0} if self.lacking else {}
        return Dataset.from_splits("halves", *halves, 10, present=(present, {}), groups=source)


@dataclass(frozen=True)
class TwoTowers(Scheme):
    """Split federated learning of towers and a fusion network; each user has the towers of its modalities."""

    def run(self, world: World) -> Process[None]:
        towers: dict[str, Any] = {name: world.initial(part) for name, part in world.parts.items()}
        states = {user: world.optimiser.init(steps.merge(*self.held(user, towers))) for user in world.users}
        fusion = towers.pop(FUSION)
        joint = JointPart(world, fusion, world.server_optimiser.init(fusion), world.parts[FUSION])
        for number in world.rounds():
            work = {user: self.user(world, user, number, towers, joint, states) for user in world.selected(number)}
            done = yield from gather(world, work)
            joint.step(list(done), world.weights(list(done), "by_samples"))
            for name in towers:
                holders = [user for user in done if name in user.batches.modalities]
                trees = [world.executor.submit(own, world.parts[name], done[user]) for user in holders]
                if trees:
                    towers[name] = yield from average(world, trees, world.weights(holders, "by_samples"))
            world.models((*towers.values(), joint.weights))

    def user(
        self, world: World, user: User, number: int, towers: dict[str, Any], joint: JointPart, states: dict[User, Any]
    ) -> Process[Any]:
        front = Towers(tuple(self.held(user, world.parts)))
        sent = yield from world.server.send(user, self.held(user, towers), "model")
        mine = world.executor.submit(steps.merge, *sent)
        work = (user, mine, states[user], user.batch(number), joint.serve, front)
        mine, states[user] = yield from exchange(world, CutLink(), *work)
        return (yield from user.send(world.server, mine, "model"))

    def held(self, user: User, towers: dict[str, Any]) -> list[Any]:
        return [each for name, each in towers.items() if name in user.batches.modalities]


register("dataset", "halves", Halves)
register("scheme", "two_towers", TwoTowers)

if __name__ == "__main__":
    accuracy = {}
    for held in (("upper", "lower"), ("upper",), ("lower",)):  # all users have a half that is used alone
        setting = {"learning.towers": dict.fromkeys(held, TOWER), "learning.data.lacking": len(held) == 2}
        scenario = load(Path(__file__).with_name("two_towers.yaml"), setting)
        result = simulate(scenario, out=Path("runs", "two_towers", "_and_".join(held)))
        accuracy[held] = result.accuracy
        print(f"{' and '.join(held)}: accuracy {result.accuracy:.3f} after {result.simulated_time_s:.1f} s")
