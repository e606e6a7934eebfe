"""A cell in which every rate is known, and layers of experts in it: for tests of calls of experts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log2, pi
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from learning.data import Digits
from learning.description import LearningDescription
from learning.parties import User
from learning.ports import Process
from learning.protocols.expert_dispatch import DispatchPolicy
from learning.protocols.expert_layer import ExpertLayer
from learning.scheme import Scheme
from learning.stop import Stop
from learning.world import World
from netsim.description import (
    BackhaulDescription,
    BandDescription,
    ChannelDescription,
    ComputeDescription,
    DevicesDescription,
    EnergyDescription,
    FaultsDescription,
    NetworkDescription,
    SharingDescription,
    SiteDescription,
    StationsDescription,
    UsersDescription,
)
from netsim.geometry import Explicit
from netsim.radio.fading import NoFading
from netsim.radio.pathloss import FreeSpace
from netsim.radio.scheduling import FixedShares
from netsim.values import ConstantPerUser, PerUser
from runs import frame
from scenarios import simulate
from scenarios.run import Result
from scenarios.schema import Scenario

USERS = 2
LINE = BackhaulDescription(rate_bps=1e6, delay_s=0.01)
SITES = {"edge": SiteDescription(1e7, station=0), "cloud": SiteDescription(1e8, delay_s=0.05)}
GAIN = (299_792_458.0 / (4 * pi * 100.0 * 1e9)) ** 2  # free space, 100 m at 1 GHz
NOISE_W_PER_HZ = 10 ** (-174 / 10) / 1000
UP_BPS = 1e6 / USERS * log2(1 + 0.1 * GAIN / (NOISE_W_PER_HZ * 1e6 / USERS))  # 20 dBm in the user's half of 1 MHz
DOWN_BPS = 2e6 / USERS * log2(1 + 1.0 * GAIN / (NOISE_W_PER_HZ * 2e6))  # 30 dBm over all of 2 MHz

TOKENS, WIDTH, EXPERTS = 6, 16, 8
FLOPS = 2 * WIDTH * WIDTH
"""Work of an expert on one token."""
X = torch.linspace(0, 2, TOKENS * WIDTH, dtype=torch.float64).reshape(TOKENS, WIDTH).sin()
"""Tokens of a pass."""
WEIGHTS = [
    {"w": torch.linspace(-1, 1, WIDTH * WIDTH, dtype=torch.float64).reshape(WIDTH, WIDTH).mul(k + 1).sin()}
    for k in range(EXPERTS)
]
"""Weights of the experts of a layer."""


@dataclass(frozen=True)
class Scripted(Scheme):
    """A scheme whose one round does what a test says."""

    script: ClassVar[Callable[[World], Process[Any]]]
    told: str | None = None

    @property
    def stand_in(self) -> str | None:
        return self.told

    def run(self, world: World) -> Process[None]:
        for _ in world.rounds():
            yield from Scripted.script(world)
            world.models(world.initial(world.whole))


@dataclass(frozen=True)
class Cell:
    """What tests change about the cell."""

    sites: Mapping[str, SiteDescription] = field(default_factory=lambda: SITES)
    executor: Any = "batched"
    told: str | None = None
    memory_bytes: PerUser | None = None
    storage_bytes: PerUser | None = None
    faults: FaultsDescription = field(default_factory=FaultsDescription)
    line: BackhaulDescription = LINE
    bandwidth_mhz: tuple[float, float] = (1.0, 2.0)
    energy: EnergyDescription = field(default_factory=EnergyDescription)
    rounds: int = 1
    seed: int = 1


def ran(script: Callable[[World], Process[Any]], cell: Cell = Cell()) -> Result:
    """Run a script in the cell."""
    Scripted.script = staticmethod(script)
    up_mhz, down_mhz = cell.bandwidth_mhz
    network = NetworkDescription(
        stations=StationsDescription(height_m=5.0, tx_power_dbm=30.0, noise_figure_db=0.0),
        users=UsersDescription(
            USERS, Explicit(((100.0, 0.0), (-100.0, 0.0))), 5.0, ConstantPerUser(20.0), noise_figure_db=0.0
        ),
        channel=ChannelDescription(carrier_ghz=1.0, path_loss=FreeSpace(), fading=NoFading()),
        sharing=SharingDescription(BandDescription(up_mhz, FixedShares()), BandDescription(down_mhz, FixedShares())),
        faults=cell.faults,
        backhaul=cell.line,
    )
    devices = DevicesDescription(ConstantPerUser(1e6), cell.memory_bytes, storage_bytes=cell.storage_bytes)
    compute = ComputeDescription(devices, sites=dict(cell.sites))
    learning = LearningDescription(
        Scripted(cell.told),
        Stop(rounds=cell.rounds),
        Digits(train_samples=40, test_samples=40),
        executor=cell.executor,
        precision="float64",
    )
    return simulate(Scenario(network=network, compute=compute, energy=cell.energy, learning=learning, seed=cell.seed))


def linear(weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """The expert of these tests."""
    return tokens @ weights["w"]


def layer_of(
    world: World,
    held: Mapping[str, Sequence[int]],
    policy: DispatchPolicy = DispatchPolicy(),  # noqa: B008 (frozen)
    number: int = 0,
    **given: Any,
) -> ExpertLayer:
    """A layer of `EXPERTS` linear experts, with those that each site holds, the origin last."""
    sites = [world.sites[name] for name in held if not name.startswith("user")]
    layer = ExpertLayer(world, number, sites, linear, WEIGHTS, policy=policy, **given)
    for name, experts in held.items():
        for expert in experts:
            layer.store(expert, world.sites[name])
    return layer


def mixed(chosen: Tensor, weights: Tensor, x: Tensor = X) -> Tensor:
    """The weighted sum over each token's experts, in one place and in the order of the experts' numbers."""
    total = torch.zeros(len(x), WIDTH, dtype=x.dtype)
    for expert, own in enumerate(WEIGHTS):
        total += (weights * (chosen == expert)).sum(-1, keepdim=True) * (x @ own["w"])
    return total


def calls(result: Result) -> pd.DataFrame:
    """The table `expert_calls`."""
    return frame(result, "expert_calls")


def passes(
    world: World, layer: ExpertLayer, user: User, chosen: Tensor, weights: Tensor | None = None, **given: Any
) -> Process[Any]:
    """One forward pass; returns what the layer makes of the tokens."""
    return layer.route(user, chosen, weights, **given).forward(X[: len(chosen)])
