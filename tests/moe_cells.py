"""Cells in which users ask a model whose experts are at sites, and what it answered: for tests of `moe_inference`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from expert_cells import LINE
from learning.data import Dataset, Digits
from learning.description import LearningDescription
from learning.executor.deferred import Deferred
from learning.inference.answers import Answers
from learning.inference.request import DistributedModel
from learning.models import Architecture, Experts, Vit
from learning.optimisers import Adam
from learning.parties import User
from learning.pretraining import Pretraining
from learning.schemes.moe_inference import MoeInference
from learning.steps import Parameters
from learning.stop import Stop
from learning.store import Store
from learning.world import World
from netsim.description import (
    BandDescription,
    ChannelDescription,
    ComputeDescription,
    DevicesDescription,
    NetworkDescription,
    RequestStream,
    SharingDescription,
    SiteDescription,
    StationsDescription,
    StragglersDescription,
    TrafficDescription,
    UsersDescription,
)
from netsim.geometry import Explicit
from netsim.radio.fading import Fading, NoFading
from netsim.radio.pathloss import FreeSpace
from netsim.radio.scheduling import FixedShares
from netsim.slowdown import NoSlowdown, SlowdownLaw
from netsim.traffic import Arrivals, PeriodicArrivals
from netsim.values import ConstantPerUser
from scenarios import simulate
from scenarios.run import Result
from scenarios.schema import Scenario

IMAGES = Vit(2, 16, 2, 2, experts=Experts(4, 2))
"""A model of 16 tokens of an image."""
WORDS, LENGTH = 11, 12


@dataclass(frozen=True)
class Texts:
    """Rows of twelve of eleven words; the next one is the one before, times the first, plus one: made up, no file."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        rows = np.empty((WORDS * WORDS, LENGTH + 1), dtype=np.int64)
        rows[:, 0], rows[:, 1] = np.divmod(np.arange(len(rows)), WORDS)
        for place in range(2, LENGTH + 1):
            rows[:, place] = (rows[:, place - 1] * rows[:, 0] + 1) % WORDS
        split = rows[:, :-1], rows[:, 1:]
        return Dataset.from_splits("texts", split, split, WORDS)


@dataclass(frozen=True)
class Held(MoeInference):
    """Requests to a model whose experts are held by these sites, besides the cloud."""

    held: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict, hash=False)
    """Numbers of layer and expert of each, by name of the site."""

    def distributed(self, world: World, weights: Parameters) -> DistributedModel:
        model = super().distributed(world, weights)
        for name, experts in self.held.items():
            for layer, expert in experts:
                model.layers[layer].store(expert, world.sites[name])
        return model


SITES = {
    "near": SiteDescription(1e7, station=0),
    "far": SiteDescription(5e6, station=0),
    "cloud": SiteDescription(1e8, delay_s=0.05),
}


@dataclass(frozen=True)
class Cell:
    """What tests change about the cell; by default every time in it is known."""

    model: Architecture = IMAGES
    texts: bool = False
    users: int = 1
    sites: Mapping[str, SiteDescription] = field(default_factory=lambda: SITES)
    device_flops_per_s: float = 1e6
    bandwidth_mhz: tuple[float, float] = (1.0, 2.0)
    fading: Fading = NoFading()
    slowdown: SlowdownLaw = NoSlowdown()
    arrivals: Arrivals = PeriodicArrivals(ConstantPerUser(2.0))
    timeout_s: float | None = None
    duration_s: float = 6.0
    """Seconds in which requests are made."""
    learning_s: float = 6.0
    """Seconds of the periods of the scheme; the last period is the only one by default."""
    executor: Any = "batched"
    precision: Any = "float64"
    pretrained_steps: int = 0
    charge_as: Any = None
    seed: int = 1

    def scenario(self, scheme: MoeInference) -> Scenario:
        """The scenario of this cell under a scheme."""
        up_mhz, down_mhz = self.bandwidth_mhz
        places = tuple((100.0 * (-1) ** n, 0.0) for n in range(self.users))
        data = Texts() if self.texts else Digits(train_samples=200, test_samples=60)
        pretraining = (
            Pretraining(data, self.pretrained_steps, optimiser=Adam(0.01), head="kept")
            if self.pretrained_steps
            else None
        )
        return Scenario(
            network=NetworkDescription(
                stations=StationsDescription(height_m=5.0, tx_power_dbm=30.0, noise_figure_db=0.0),
                users=UsersDescription(self.users, Explicit(places), 5.0, ConstantPerUser(20.0), noise_figure_db=0.0),
                channel=ChannelDescription(carrier_ghz=1.0, path_loss=FreeSpace(), fading=self.fading),
                sharing=SharingDescription(
                    BandDescription(up_mhz, FixedShares()), BandDescription(down_mhz, FixedShares())
                ),
                backhaul=LINE,
            ),
            compute=ComputeDescription(
                DevicesDescription(ConstantPerUser(self.device_flops_per_s)),
                sites=dict(self.sites),
                stragglers=StragglersDescription(self.slowdown, redraw="job"),
            ),
            learning=LearningDescription(
                replace(scheme, period_s=min(scheme.period_s, self.learning_s)),
                Stop(time_s=self.learning_s),
                data,
                model=self.model,
                pretraining=pretraining,
                charge_as=self.charge_as,
                executor=self.executor,
                precision=self.precision,
            ),
            traffic=TrafficDescription(
                {"questions": RequestStream(self.arrivals, timeout_s=self.timeout_s, answered_by="model")},
                self.duration_s,
            ),
            seed=self.seed,
        )


@dataclass
class Told:
    """A run, and what was answered in it."""

    result: Result
    logits: dict[tuple[int, int], Tensor]
    """Logits (1, classes) of the first output, by the number of the user and of the test sample it asked about."""
    world: World
    """The world of the run."""


def asked(
    monkeypatch: pytest.MonkeyPatch, cell: Cell, scheme: MoeInference | None = None, store: Store | None = None
) -> Told:
    """Run a cell, and read all answers."""
    add, initial = Answers.add, Answers.__init__
    answers: dict[tuple[int, int], Any] = {}
    worlds: list[World] = []

    def seen(self: Answers, user: User, logits: Deferred[Tensor], y: Any, position: int | None) -> None:
        answers[user.number, int(y.indices[0])] = (
            self.world.executor.value(logits) if self.world.executor.computes else logits
        )
        add(self, user, logits, y, position)

    def begun(self: Answers, world: World) -> None:
        worlds.append(world)
        initial(self, world)

    with monkeypatch.context() as patched:
        patched.setattr(Answers, "add", seen)
        patched.setattr(Answers, "__init__", begun)
        result = simulate(cell.scenario(scheme or MoeInference()), store=store)
    return Told(result, answers, worlds[-1])
