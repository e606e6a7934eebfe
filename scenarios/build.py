"""Building the world that a scenario describes: the only module that imports both the network and learning."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import simpy
import torch
from numpy.typing import NDArray

from learning.charge import Charge
from learning.data import Batches, Dataset
from learning.data.files import given
from learning.data.partition import NO_ROWS, among, held_out_shares
from learning.data.public import PublicData, public_rows
from learning.description import LearningDescription
from learning.executor import Batched, Dry, Eager, Executor, device_of
from learning.executor.remote import RemoteWorkers
from learning.executor.workers import one_for_each_core
from learning.models import Multimodal, Segment, multimodal, whole
from learning.parties import Server, User
from learning.placement import named_parts, placed
from learning.policies import check
from learning.pretraining import Pretrainer, Pretraining, alone
from learning.store import Store
from learning.trained import check_fits, read_weights
from learning.wire import Wire
from learning.world import World
from netsim.description import TrafficDescription
from netsim.instants import GIVE_UP, After
from netsim.journal import Journal
from netsim.lazy import Lazy
from netsim.network import Network
from netsim.recordings import DATA_FOLDER
from netsim.streams import Streams
from netsim.trace import Trace
from netsim.traffic.requests import Traffic
from scenarios.field_errors import BUILD_ERRORS, field_error, field_errors, offending_field
from scenarios.limits import check_links, check_model, check_sizes, check_traffic
from scenarios.many_users import lazy_users
from scenarios.memory import too_small
from scenarios.schema import Scenario
from scenarios.simulation import Simulation
from scenarios.training_layers import check_smallest_batches, check_training_layers


class Material(NamedTuple):
    """Data set and its public part, rows of each user's training and test samples, model and what it begins with."""

    dataset: Dataset
    public: PublicData
    shares: Sequence[NDArray[np.int64]]
    test_shares: Sequence[NDArray[np.int64]] | None
    model: Segment | Multimodal
    pretrainers: Sequence[Pretrainer]
    given: Mapping[str, torch.Tensor]


EngineName = Literal["local", "ray"]
"""Where worker processes are: on this machine, or on a Ray cluster."""


def without_values(scenario: Scenario) -> Scenario:
    """Return the scenario with the dry executor, which computes no values and no pretraining."""
    learning = scenario.learning
    if learning is None:
        return scenario
    stop = learning.stop.without_values(learning.stop.rounds or 1)
    return replace(scenario, learning=replace(learning, executor="dry", stop=stop))


def build(
    scenario: Scenario, store: Store | None = None, *, limited: bool = True, engine: EngineName = "local"
) -> Simulation:
    """Set up the network, data and learning of a scenario, at simulated time 0.

    Args:
        scenario: what to build.
        store: result cache of torch operations; None computes all of them.
        limited: whether to check that the work of each user fits into the memory of its device.
        engine: where the processes of `learning.workers` are: on this machine, or on a Ray cluster.

    Raises:
        FieldError: fields do not fit each other, the data or the limits, or data are missing.
        RunFailed: memory is limited, and the trial round that measures the memory fails.
    """
    check_sizes(scenario)
    env, learning = simpy.Environment(), scenario.learning
    streams = Streams(scenario.seed_of("network"))
    try:
        network = _network(scenario, env, streams)
    except BUILD_ERRORS as problem:
        path = offending_field(scenario, lambda variant: _network(variant, simpy.Environment(), streams))
        raise field_error(path, problem) from problem
    traffic = _traffic(network, scenario.traffic) if scenario.traffic else None
    if scenario.traffic:
        check_traffic(scenario.traffic, network, learning.stop.time_s if learning else None, scenario.limits)
    if learning is None:
        return Simulation(env, network, None, traffic.run(None) if traffic else None)
    with field_errors("compute", "devices", "on_out_of_memory"):
        if scenario.compute.devices.on_out_of_memory == "drop" and learning.policy.asynchronous:
            raise ValueError("drop needs a policy in rounds; under an asynchronous one there is no round to drop from")
    short = too_small(scenario, network.memory_bytes, build) if limited and network.memory_bytes is not None else []
    lazy, executor = lazy_users(scenario), _executor(learning, store, engine)
    material = _material(learning, network, Streams(scenario.seed_of("partition")), own_tests=not lazy)
    scalars = sum(parameter.numel() for parameter in material.model.parameters().values())
    check_model(scalars, getattr(torch, learning.precision).itemsize, scenario.limits)
    if learning.charge_as is not None and isinstance(material.model, Segment):
        with field_errors("learning", "charge_as"):
            executor.charge = Charge(learning.charge_as, material.model)
    world = _world(env, scenario, network, executor, learning, material, lazy=lazy)
    with field_errors("learning", "batch_size"):
        check_smallest_batches(world)
    with field_errors("learning", "init_from"):
        if learning.init_from is not None:
            check_fits(material.given, material.model.parameters() | world.whole.parameters(), learning.init_from)
    with field_errors("learning", "servers"):
        if learning.servers == "nearest" and not network.edge_servers:
            raise ValueError("no station has a server; give compute.edge_servers, or let servers be central")
    with field_errors("learning", "placement" if learning.placement else "cut"):
        if not (world.plain_split or learning.scheme.placeable):
            hosts = ", ".join(f"{part}: {host}" for part, host in world.placement.items())
            raise ValueError(f"the scheme splits a model in two, if at all, and cannot have {{{hosts}}}")
    with field_errors("learning", "scheme"):
        learning.scheme.check(world)
        world.exclude([world.users[number] for number in short], "memory")
        world.exclude(learning.scheme.excluded(world), "budget")
    _check_participation(learning, len(world.eligible), len(world.users))
    scheme = learning.scheme.run(world)
    return Simulation(env, network, executor, traffic.run(scheme, world.answer) if traffic else scheme, world.trained)


def _network(scenario: Scenario, env: simpy.Environment, streams: Streams) -> Network:
    journal = Journal(env, Trace(None))
    sections = scenario.network, scenario.compute, scenario.energy
    network = Network(env, streams, journal, *sections, lazy=lazy_users(scenario))
    check_links(network, scenario.limits)
    return network


def _traffic(network: Network, described: TrafficDescription) -> Traffic:
    with field_errors("traffic"):
        try:
            return Traffic(network, described)
        except BUILD_ERRORS:
            for name, stream in described.streams.items():
                with field_errors("traffic", "streams", name):
                    Traffic(network, replace(described, streams={name: stream}))
            raise


def _executor(learning: LearningDescription, store: Store | None, engine: EngineName) -> Executor:
    if engine == "ray":
        return _on_ray(learning, store)
    if learning.executor == "dry":
        return Dry(store)
    with field_errors("learning", "device"):
        device = device_of(learning.device)
    if learning.executor == "eager":
        return Eager(store, device)
    auto = one_for_each_core() if learning.device == "cpu" else 1
    with field_errors("learning", "workers"):
        return Batched(store, device, auto if learning.workers == "auto" else learning.workers)


def _on_ray(learning: LearningDescription, store: Store | None) -> Executor:
    with field_errors("learning", "executor"):
        if learning.executor != "batched":
            raise ValueError(f"the engine ray divides operations of the executor batched, not of {learning.executor}")
    with field_errors("learning", "device"):
        if learning.device != "cpu":
            raise ValueError(f"the engine ray computes on cpu, not on {learning.device}")
    with field_errors("learning", "workers"):
        if learning.workers == 1:
            raise ValueError("the engine ray needs workers; auto and a number from 2 on are allowed, not 1")
        return Batched(store, workers=RemoteWorkers(None if learning.workers == "auto" else learning.workers - 1))


def _material(learning: LearningDescription, network: Network, streams: Streams, *, own_tests: bool) -> Material:
    """Load the data set, partition it, and check data, model, cut, placement and participation.

    With `own_tests` the test samples are divided among users, too.
    """
    users = len(network.users)
    folder = Path(learning.data_folder or os.environ.get(DATA_FOLDER) or "data")
    with field_errors("learning", "data"):
        dataset = learning.data.load(folder, getattr(torch, learning.precision))
        dataset.check_precision(getattr(torch, learning.precision))
    _check_task(learning, dataset)
    with field_errors("learning", "holding"):
        if (holding := learning.holding) is not None:
            holding.check(dataset.modalities, dataset.name)
        divided = users if holding is None else holding.shares(users)
    with field_errors("learning", "public_fraction"):
        public = public_rows(dataset, learning.public_fraction) if learning.public_fraction else NO_ROWS
    with field_errors("learning", "partition"):
        shares = _shares(learning, dataset, public, divided, streams)
    kinds, test_kinds = (each.numpy() for each in dataset.kinds_of_both)
    held_out = held_out_shares(shares, kinds, test_kinds, streams) if own_tests else None
    if holding is not None:
        shares = [shares[holding.share(user)] for user in range(users)]
        held_out = held_out and [held_out[holding.share(user)] for user in range(users)]
    with field_errors("learning", "towers" if learning.towers else "model"):
        model = _model(learning, dataset)
        check_training_layers(learning, model)
    with field_errors("learning", "pretraining"):
        pretrainers = (
            [] if learning.pretraining is None else [_pretrainer(learning, model, learning.pretraining, folder)]
        )
    for part, described in learning.part_pretraining.items():
        with field_errors("learning", "part_pretraining", part):
            pretrainers.append(_pretrainer(learning, model, described, folder, part))
    with field_errors("learning", "adapter"):
        if learning.adapter is not None:
            learning.adapter.on(model.fusion if isinstance(model, Multimodal) else model, learning.cuts[0])
    with field_errors("learning", "init_from"):
        begin = {} if learning.init_from is None else read_weights(given(learning.init_from))
    with field_errors("learning", "cut"):
        cuts = _cuts(learning, model)
        parts = named_parts(model, cuts)
    with field_errors("learning", "placement"):
        placed(parts, learning.placement, network.sites)
    _check_participation(learning, users, users)
    return Material(dataset, PublicData(dataset, public, Streams(0)), shares, held_out, model, pretrainers, begin)


def _check_task(learning: LearningDescription, dataset: Dataset) -> None:
    """Check that scheme and stop criterion are possible with what the data set has to predict."""
    with field_errors("learning", "stop"):
        if learning.stop.accuracy is not None and dataset.task == "regression":
            raise ValueError(
                f"{dataset.name} has numbers to be predicted, which have no accuracy; give rounds or time_s"
            )
        if learning.stop.patience is not None and learning.stop.metric not in (found := _metrics(learning, dataset)):
            raise ValueError(f"evaluations have no {learning.stop.metric} to stop by; {', '.join(found)} are there")
    with field_errors("learning", "metrics"):
        if learning.metrics and dataset.task == "regression":
            raise ValueError(
                f"{', '.join(learning.metrics)} are of classes, and {dataset.name} has numbers to be predicted"
            )
    with field_errors("learning", "scheme"):
        if learning.scheme.needs_classes and dataset.task != "classification":
            raise ValueError(f"the scheme needs classes, but the task of {dataset.name} is {dataset.task}")


def _metrics(learning: LearningDescription, dataset: Dataset) -> tuple[str, ...]:
    """Names of the metrics of an evaluation."""
    if dataset.task == "regression":
        return "loss", "mae", "mse"
    tokens = ("perplexity",) if dataset.task == "classification" and dataset.train.y.ndim > 1 else ()
    return "loss", "accuracy", *tokens, *learning.metrics


def _shares(
    learning: LearningDescription, dataset: Dataset, public: NDArray[np.int64], users: int, streams: Streams
) -> Sequence[NDArray[np.int64]]:
    """Row numbers of the training samples of each user, who divide those that are not public."""
    kinds = dataset.kinds.numpy()
    if not len(public):
        return learning.partition.split(kinds, users, streams)
    private = np.setdiff1d(np.arange(len(kinds)), public)
    return among(private, learning.partition.split(kinds[private], users, streams))


def _model(learning: LearningDescription, dataset: Dataset) -> Segment | Multimodal:
    return multimodal(learning.towers, learning.model, dataset) if learning.towers else whole(learning.model, dataset)


def _cuts(learning: LearningDescription, model: Segment | Multimodal) -> tuple[int, ...]:
    """Where the model is cut; nowhere if it is a single block, and the scheme never splits it."""
    single = isinstance(model, Segment) and model.blocks == 1
    return () if single and learning.scheme.whole_model else learning.cuts


def _check_participation(learning: LearningDescription, eligible: int, users: int) -> None:
    """Check that the users that are not excluded are enough for participation and policy."""
    excluded = users - eligible
    why = f"; {excluded} of {users} users are excluded, for their memory or their budget" if excluded else ""
    with field_errors("learning", "participants", note=why):
        cohort_size = learning.participants.cohort_size(eligible)
    with field_errors("learning", "policy", note=why):
        check(learning.policy, cohort_size, eligible)


def _pretrainer(
    learning: LearningDescription, model: Segment | Multimodal, described: Pretraining, folder: Path, part: str = ""
) -> Pretrainer:
    """Pretraining of the whole model, or of a part of it."""
    dataset = described.data.load(folder, getattr(torch, learning.precision))
    dataset.check_precision(getattr(torch, learning.precision))
    architecture = learning.towers[part].model if part in learning.towers else learning.model
    return Pretrainer(described, dataset, whole(alone(architecture), dataset), Streams(described.seed), model, part)


def _nearest(network: Network, sites: Mapping[str, Server], user: User) -> Server:
    """The edge server with which a user works from now on."""
    return sites[network.server_of(network.users[user.number]).name]


def _check_modalities(learning: LearningDescription, user: int, batches: Batches) -> None:
    if learning.towers and not set(learning.towers) & set(batches.modalities):
        with field_errors("learning", "towers"):
            raise ValueError(f"user {user} has no samples of {' or '.join(learning.towers)}")


def _world(
    env: simpy.Environment,
    scenario: Scenario,
    network: Network,
    executor: Executor,
    learning: LearningDescription,
    material: Material,
    *,
    lazy: bool,
) -> World:
    streams, order = Streams(scenario.seed), Streams(scenario.seed_of("batches"))
    wire = Wire(executor, streams, network.journal, learning.scheme.stand_in)
    size = None if learning.batch_size == "all" else learning.batch_size
    sites = {name: Server(node, wire) for name, node in network.sites.items()}
    server, shares, test_shares = sites[network.server.name], material.shares, material.test_shares

    def make(number: int) -> User:
        node, rows = network.users[number], shares[number]
        team = number if learning.holding is None else learning.holding.team(number)
        held = None if learning.holding is None else learning.holding.modalities(number)
        node.samples = len(rows)
        with field_errors("learning", "last_batch"):
            batches = Batches(material.dataset, rows, team, order, size, learning.last_batch, held=held)
        _check_modalities(learning, number, batches)
        own = test_shares[number] if test_shares is not None else NO_ROWS
        held_out = Batches(material.dataset, own, team, order, 1, split="test", held=held) if len(own) else None
        user = User(node, batches, wire, held_out, team)
        user.server = server
        return user

    users = Lazy(len(network.users), make) if lazy else [make(number) for number in range(len(network.users))]
    world = World(
        env=env,
        instant=partial(After, env, priority=GIVE_UP),
        executor=executor,
        streams=streams,
        weight_streams=Streams(scenario.seed_of("weights")),
        journal=network.journal,
        server=server,
        users=users,
        lazy=lazy,
        dataset=material.dataset,
        public=material.public,
        whole=material.model,
        cuts=_cuts(learning, material.model),
        optimiser=learning.optimiser,
        server_optimiser=learning.server_optimiser or learning.optimiser,
        schedule=learning.schedule,
        batch_norm=learning.batch_norm,
        restarted=learning.optimiser_state == "reset",
        participation=learning.participants,
        policy=learning.policy,
        stop=learning.stop,
        evaluate_every=learning.evaluate_every,
        evaluation=learning.evaluation,
        evaluate_users=learning.evaluate_users,
        metrics=learning.metrics,
        precision=getattr(torch, learning.precision),
        pretrainers=material.pretrainers,
        adapter=learning.adapter,
        given=material.given,
        nearest=partial(_nearest, network, sites) if learning.servers == "nearest" else None,
        sites=sites,
        placement=learning.placement,
    )
    if isinstance(users, Lazy):
        network.journal.after_round += (network.record_users, network.drop_users, users.forget)
        network.drop_users()  # those that were looked at when the world was built
        users.forget()
    return world
