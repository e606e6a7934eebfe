"""A placement of experts carried out: decided, noted in the table `decisions`, and stored at the sites."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from learning.control.controller import record
from learning.control.placement.controller import ExpertPlacement
from learning.control.placement.problem import Booleans, Placement, PlacementProblem
from learning.control.placement.queueing import queue_latency_s, utilisation
from learning.control.placement.usage import co_activation_lift, gate_entropy_bits
from learning.parties import Server
from learning.ports import Process
from learning.protocols.expert_layer import ExpertLayer
from learning.world import World


def deploy(
    world: World,
    layers: Sequence[ExpertLayer],
    servers: Sequence[Server],
    cloud: Server,
    problem: PlacementProblem,
    rule: ExpertPlacement,
) -> Placement:
    """Decide which experts the servers hold, note the decision, and have sites store their experts.

    Devices hold their experts at once, servers too or when they have been sent (`rule.deploy`). The cloud holds all
    experts already.

    Args:
        world: The world.
        layers: The MoE layers.
        servers: The servers of the problem, in its order.
        cloud: The server that holds all experts.
        problem: The placement problem.
        rule: The rule by which experts are placed.

    Returns:
        The placement.

    Raises:
        ValueError: there is no such placement, or it exceeds the storage of a site.
    """
    rule.check(problem)
    placement = rule.place(problem, world.streams)
    note(world, problem, placement)
    for user, held in zip(world.users, problem.held, strict=True):
        _store(layers, held, world.device(user))
    for server, held in zip(servers, placement, strict=True):
        if rule.deploy == "free":
            _store(layers, held, server)
        elif held.any():
            world.env.process(_sent(world, layers, held, cloud, server))
    return placement


def note(world: World, problem: PlacementProblem, placement: Placement) -> None:
    """Note a placement in the table `decisions`, with the latency that it predicts.

    `predicted_latency_s` is T(X), the mean time that a token waits for the experts of all layers if no queue delays it,
    and `unplaced_latency_s` is T(0); under load there are also `queue_latency_s`, and the utilisation of each server.
    """
    marginals = problem.marginals()
    decided = {
        "predicted_latency_s": problem.latency_s(placement),
        "unplaced_latency_s": problem.latency_s(problem.empty()),
        "gate_entropy_bits": gate_entropy_bits(marginals),
        "co_activation_lift": co_activation_lift(problem.activations, marginals),
    }
    decided |= {f"experts {name}": int(own.sum()) for name, own in zip(problem.names, placement, strict=True)}
    load = problem.load
    if load is not None and load.tokens_per_s > 0:
        decided["queue_latency_s"] = queue_latency_s(problem, placement, load)
        busy = utilisation(problem, placement, load)
        decided |= {f"utilisation {name}": own for name, own in zip(problem.names, busy.tolist(), strict=True)}
    record(world.journal, None, decided)


def _store(layers: Sequence[ExpertLayer], held: Booleans, site: Server) -> None:
    for layer, expert in np.argwhere(held).tolist():
        layers[layer].store(expert, site)


def _sent(world: World, layers: Sequence[ExpertLayer], held: Booleans, cloud: Server, server: Server) -> Process[None]:
    """Send the experts of a server in one message; each user has a row for it in the table `transfers`."""
    weights = [layers[layer].weights[expert] for layer, expert in np.argwhere(held).tolist()]
    yield from cloud.forward(server, weights, "expert", world.users)
    _store(layers, held, server)
