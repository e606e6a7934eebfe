"""Federated averaging assisted by generated samples. [GenFL, Qiang et al., arXiv 2503.20166; docs/systems/genfl.md]

user -> server   label histogram                       once
server -> user   model                                 per round
user             local steps on the whole model        server, meanwhile: generate samples of the classes that users
user -> server   model                                 lack, and train the global model on all generated so far
server           mean of the users' models, then of that and its own model, which weighs more the more labels differ
mode ship:
server -> user   generated samples of the classes that the user lacks, once; it trains on them too
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Interval

from learning import steps
from learning.aggregators import mixed
from learning.codecs import FixedWidth
from learning.control.controller import record
from learning.control.generation import EmdWeight, SharedLabels, WeightPolicy
from learning.control.generation.labels import Reference
from learning.control.generation.latency import latency_problem, straggler_s
from learning.control.generation.plans import client_gap
from learning.control.observation import Csi
from learning.data import Inputs, Modalities, Rows, rows
from learning.generation import GaussianMixture, Generator
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.cohort import assemble
from learning.protocols.federated import Trained, local_round
from learning.protocols.rounds import beside
from learning.protocols.updates import merge
from learning.scheme import Scheme
from learning.schemes.genfl.histogram import Histogram
from learning.schemes.genfl.operators import best_share, train_on_union
from learning.schemes.genfl.server import Augmentation, AugmentingServer, Training, mini_batches
from learning.states import States
from learning.steps import State, Weights
from learning.world import World

PIXEL = FixedWidth(8)
"""Codec of generated samples on the way to a user: eight bits for each pixel; labels follow from the histogram."""


@dataclass(frozen=True)
class GenFL(LocalTraining, Scheme):
    """Federated averaging, with a model that the server trains on samples it generates (Qiang et al., 2025)."""

    generator: Generator = GaussianMixture()
    """The generator, trained on the public samples (`learning.public_fraction`) before the run."""
    mode: Literal["server_model", "ship", "both"] = "server_model"
    """Where generated samples are used: the server trains on them, or users do, who get them once; or both."""
    augmentation: Augmentation = Augmentation()
    """What the server generates and trains on."""
    weights: WeightPolicy = EmdWeight()
    """Weight of the server's model."""
    reference: Reference = "global"
    """Distribution of labels that a user's is compared with: that of all users' samples, or the uniform one."""
    histogram: Histogram = Histogram()
    """How users share their labels."""
    emd_max: Annotated[float, Interval(ge=0, le=2)] | None = None
    """Users whose labels differ more from the reference are excluded from the run (default: none)."""
    max_shipped: Annotated[int, Ge(0)] = 50
    """Limit on the samples that a user gets in the modes `ship` and `both`."""
    bandwidth: Literal["as_scheduled", "min_max"] = "as_scheduled"
    """Shares of the uplink: those of its scheduling policy, for which predictions take equal shares; or those that
    minimise the predicted latency of the slowest user, for which that policy must be `controlled`."""
    csi: Csi = "average"
    """Gains of the radio links that predictions use."""
    weighting: Literal["by_samples", "uniform"] = "by_samples"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""

    one_chain = True
    whole_model = True
    needs_classes = True

    def run(self, world: World) -> Process[None]:
        model: Weights
        model = world.initial(world.whole)
        states: States[State] = States(world.optimiser.init(model))
        sampler = self.generator.train(world.public, world.executor, world.precision)
        labels = SharedLabels(world.dataset.classes, self.reference)
        server = AugmentingServer(world, self.augmentation, sampler, world.server_optimiser.init(model), labels)
        cohort = assemble(world, lambda user, number, model: self.user(server, user, number, model, states))
        for number in world.rounds():
            users = world.selected(number)
            distances = yield from self.histogram.collect(world, users, labels)
            if self.emd_max is not None:
                world.exclude([user for user, distance in distances.items() if distance > self.emd_max], "emd")
            amount = self.decide(server, users, number, model, states)
            aside = server.augmented(number, model, amount)
            updates, augmented = yield from beside(world, cohort.updates(number, model), aside)
            rule = self.weights.of_users(labels, [update.user for update in updates])
            mean = yield from merge(world, model, updates, rule or self.weighting)
            model = yield from self.blend(server, mean, augmented)
            world.models(model)

    def decide(
        self, server: AugmentingServer, users: Sequence[User], number: int, model: Weights, states: States[State]
    ) -> int:
        """Samples to generate in a round, and the users' shares of the uplink."""
        world, amount = server.world, 0
        training = [
            self.training(server, user, number, model, states[user], *user.batches.stack(self.positions(user, number)))
            for user in users
        ]
        problem = latency_problem(world, users, model, training, self.csi)
        shares = problem.equal if self.bandwidth == "as_scheduled" else problem.min_max_shares()
        if self.bandwidth == "min_max":
            for user, share in zip(users, shares, strict=True):
                user.node.uplink.allocate(share)
        left_s = min(straggler_s(world, problem.latency_s(shares)), world.closes_s - world.env.now)
        if self.mode != "ship":
            amount = self.augmentation.number(server.work(model), left_s, server.samples)
        record(world.journal, None, {"predicted_straggler_s": left_s, "generated_samples": amount})
        return amount

    def user(
        self, server: AugmentingServer, user: User, number: int, model: Weights, states: States[State]
    ) -> Process[Weights]:
        """A local round, and before it the samples that the user lacks, if it has not received them."""
        if self.mode != "server_model" and user.number in server.labels and user not in server.shipped:
            counts = client_gap(server.labels.of(user.number), server.labels.reference, self.max_shipped)
            if counts.sum():
                samples = yield from server.generate(counts, "shipped", user.number, user=user)
                images = yield from server.world.server.send(user, samples.images, "samples", PIXEL)
                server.shipped[user] = samples._replace(images=images)

        def train(user: User, model: Weights, state: State, x: list[Inputs], y: list[Rows]) -> Trained:
            work = self.training(server, user, number, model, state, x, y)
            model, state, _ = yield from user.do(*work, kind="client_training")
            return model, state

        return (yield from local_round(server.world, user, number, model, states, self, train))

    def training(
        self,
        server: AugmentingServer,
        user: User,
        number: int,
        model: Weights,
        state: State,
        x: list[Inputs],
        y: list[Rows],
    ) -> Training:
        """Local training of a user on its own mini-batches, mixed with the samples that it has received."""
        world, extra = server.world, server.shipped.get(user)
        if extra is None:
            return (steps.train, world.whole, world.optimiser, model, state, x, y)
        own = sum(user.batches.sizes(self.positions(user, number)))
        shuffle = world.streams.generator("mixed samples", user.number, number)
        received = np.resize(shuffle.permutation(len(extra.labels)), round(own / user.samples * len(extra.labels)))
        order = mini_batches(
            shuffle.permutation(np.concatenate([np.arange(own), own + received])), user.batches.largest
        )
        given = world.whole, world.optimiser, model, state, x, y
        return (train_on_union, *given, [extra.images], [extra.labels], order)

    def blend(self, server: AugmentingServer, mean: Weights, augmented: Weights | None) -> Process[Weights]:
        """The mean of the users' models and the server's own model, weighted by the policy."""
        world, labels = server.world, server.labels
        shares = (0.0,) if augmented is None else self.weights.candidates(labels, server.samples)
        if len(shares) == 1:
            record(world.journal, None, {"mean_emd": labels.mean_emd, "server_weight": shares[0]})
        if augmented is None or shares == (0.0,):
            return mean
        tried: Any = torch.tensor(shares, dtype=torch.float64)
        share = tried[0]
        if len(shares) > 1:
            work = (
                best_share,
                world.whole,
                mean,
                augmented,
                tried,
                *rows(world.dataset, "train", world.public.indices),
            )
            share = yield from world.server.do(*work, kind="validation")
        return (yield from world.server.do(mixed, mean, augmented, share, kind="aggregation"))

    def check(self, world: World) -> None:
        """Raises ValueError where the generator or the bandwidths do not fit the scenario."""
        super().check(world)
        x = world.dataset.train.x
        if isinstance(x, Modalities) or world.dataset.train.y.ndim > 1 or not x.is_floating_point():
            raise ValueError(f"samples of {world.dataset.name} cannot be generated; images with one class are allowed")
        if not len(world.public.indices):
            raise ValueError("the generator needs public samples; give learning.public_fraction, such as 0.2")
        self.generator.check(world.public)
        if self.bandwidth == "min_max":
            for user in world.users:
                user.node.uplink.allocate(None)
