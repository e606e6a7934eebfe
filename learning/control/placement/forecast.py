"""The placement problem of a world: times of access, sizes of experts and storage, as they are at this instant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from learning.control.placement.access import TokenCall, access_s, work_s
from learning.control.placement.problem import Activations, Booleans, Integers, Load, PlacementProblem
from learning.parties import Server
from learning.protocols.expert_layer import ExpertLayer
from learning.world import World


def problem_of(
    world: World,
    layers: Sequence[ExpertLayer],
    servers: Sequence[Server],
    cloud: Server,
    call: TokenCall,
    activations: Activations,
    *,
    device_share: float = 0.0,
    tokens_per_s: float = 0.0,
) -> PlacementProblem:
    """The problem of placing the experts of some layers on servers.

    Args:
        world: The world.
        layers: The MoE layers; each has the same number of experts.
        servers: The servers that can hold experts, without the cloud.
        cloud: The server that holds all experts.
        call: The call of one expert for one token.
        activations: Sets of experts that the tokens of `world.users` activate.
        device_share: Fraction of all experts that each user's device holds (default: none), see `held_by`.
        tokens_per_s: Tokens of all users together that pass the model in a second, for the load (default 0).
    """
    users = world.users
    devices = [world.device(user) for user in users]
    size_bytes = np.array([[expert_bytes(world, layer, e) for e in range(len(layer.experts))] for layer in layers])
    total_bytes = int(size_bytes.sum())
    server_s = [access_s(users, server, call) for server in servers]
    problem = PlacementProblem(
        size_bytes=size_bytes,
        storage_bytes=np.array([room_bytes(server, total_bytes) for server in servers], dtype=np.int64),
        server_s=np.array(server_s).reshape(len(servers), len(users)).T,
        cloud_s=access_s(users, cloud, call),
        device_s=np.array([work_s([user], own, call) for user, own in zip(users, devices, strict=True)]),
        held=np.zeros((len(users), *size_bytes.shape), dtype=np.bool_),
        activations=activations,
        names=tuple(server.node.name for server in servers),
        load=Load(tokens_per_s, np.array([work_s(users, server, call) for server in servers])),
    )
    for user, own, held in zip(users, devices, problem.held, strict=True):
        held |= held_by(problem, user.number, room_bytes(own, total_bytes), device_share)
    return problem


def held_by(problem: PlacementProblem, user: int, storage_bytes: int, share: float) -> Booleans:
    """(layers, experts): the experts that a user's device holds: those that its tokens activate most often.

    Args:
        problem: The placement problem.
        user: Number of the user.
        storage_bytes: Storage of the device; experts that do not fit any more are left out.
        share: Fraction of all experts that are to be held.
    """
    size_bytes: Integers = problem.size_bytes.ravel()
    held = np.zeros(size_bytes.shape, dtype=np.bool_)
    wanted = round(share * len(size_bytes))
    for expert in np.argsort(-problem.marginals()[user].ravel(), kind="stable"):
        if held.sum() < wanted and size_bytes[expert] <= storage_bytes:
            held[expert] = True
            storage_bytes -= int(size_bytes[expert])
    return held.reshape(problem.size_bytes.shape)


def expert_bytes(world: World, layer: ExpertLayer, expert: int) -> int:
    """Bytes of an expert's weights, by the shapes that are charged."""
    return int(world.executor.charged(layer.weights[expert]).bytes)


def room_bytes(site: Server, enough_bytes: int) -> int:
    """Bytes that a site can store, `enough_bytes` where that is more or not limited."""
    return int(min(site.node.storage.capacity_bytes, enough_bytes))
