"""Placement of the experts of a model that answers requests, by how its users' tokens use them."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from learning import expert_usage
from learning.control.placement import Activations, ExpertPlacement, PlacementProblem, deploy, problem_of, token_call
from learning.control.placement.usage import TOKENS, drawn, observed
from learning.inference.operations import trunk
from learning.inference.request import DistributedModel
from learning.models import Segment
from learning.models.stage import experts_of
from learning.parties import Server
from learning.steps import Parameters

SAMPLES = 32
"""Training samples of each user, at most, by whose tokens the use of experts is measured."""


def place(
    model: DistributedModel, rule: ExpertPlacement, cloud: Server, weights: Parameters, tokens_per_request: int | None
) -> None:
    """Place the experts of a model, and note the decision.

    Args:
        model: the model.
        rule: the rule by which experts are placed.
        cloud: the site that holds all experts.
        weights: weights of the whole model, whose gates choose experts for users' training samples; a dry run draws
            from the model's routing distribution instead.
        tokens_per_request: tokens of a request that pass the model; None is those of one sample.
    """
    used = by_gates(model, weights) if model.world.executor.computes else by_routing(model, TOKENS)
    servers, problem = posed(model, rule, cloud, used, tokens_per_request)
    deploy(model.world, model.layers, servers, cloud, problem, rule)


def check(model: DistributedModel, rule: ExpertPlacement, cloud: Server) -> None:
    """Raise ValueError if the sites have not enough storage for a placement, whatever the gates choose."""
    rule.check(posed(model, rule, cloud, by_routing(model, 1), 1)[1])


def posed(
    model: DistributedModel, rule: ExpertPlacement, cloud: Server, used: Activations, tokens_per_request: int | None
) -> tuple[list[Server], PlacementProblem]:
    """The servers at which experts can be placed, which are all but the aggregator and the cloud, and the problem."""
    world, layers = model.world, model.layers
    servers = [site for site in layers[0].sites.sites if site not in (cloud, world.server)]
    hidden = _hidden(model)
    problem = problem_of(
        world,
        layers,
        servers,
        cloud,
        token_call(layers[0], hidden[:, :1]),
        used,
        device_share=rule.device_share,
        tokens_per_s=rule.requests_per_s * (tokens_per_request or hidden.shape[1]),
    )
    return servers, problem


def by_gates(model: DistributedModel, weights: Parameters) -> Activations:
    """The experts that the gates choose for tokens of users' training samples, `SAMPLES` of each user at most."""
    executor, chain = model.world.executor, model.world.chain
    chosen = {}
    for user in model.world.users:
        x, _ = user.batches.run(range(min(SAMPLES, user.samples)))
        chosen[user.number] = executor.submit(expert_usage.routing, chain, weights, x)[1]
    read = executor.value(chosen)
    return observed({user: np.asarray(ids.flatten(1, -2).numpy()) for user, ids in read.items()})


def by_routing(model: DistributedModel, tokens: int) -> Activations:
    """The experts of tokens that are drawn from the model's routing distribution, `tokens` for each user and layer."""
    world, layers = model.world, model.layers
    assert isinstance(world.chain, Segment)
    experts = experts_of(world.chain)
    users = [user.number for user in world.users]
    return drawn(model.routing, world.streams, users, len(layers), experts.top_k, experts.count, tokens)


def _hidden(model: DistributedModel) -> Tensor:
    """The shape of a sample's tokens at the first layer of experts, (1, tokens, width), as a meta tensor."""
    x, _ = model.world.users[0].batches.run(range(1))
    plan = model.world.executor.plan(trunk, model.staged.stages[0], model.staged.trunks[0], [x], [])
    tokens: Tensor = plan.profile.outputs[1].tree
    return tokens
