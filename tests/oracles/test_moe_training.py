"""Training a model whose experts are at sites: gradients and weights against those of the whole model in one place."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, vjp

from expert_cells import Cell, ran
from learning.inference.operations import answer, expert, trunk
from learning.inference.staged import StagedModel
from learning.models import Experts, Gpt, Segment
from learning.models.segment import chain
from learning.ports import Process
from learning.protocols.expert_layer import ExpertLayer, RoutedTokens
from learning.steps import Parameters
from learning.world import World
from netsim.streams import Streams

LAYERS, EXPERTS, TOKENS, WORDS = 2, 4, 5, 7
MODEL = chain(Gpt(8, LAYERS, 2, experts=Experts(EXPERTS, 2)), (TOKENS,), WORDS)
WEIGHTS = {
    name: value * (8 if ".gate." in name else 1) for name, value in MODEL.initial(Streams(3), torch.float64).items()
}
X = torch.tensor([[1, 4, 2, 6, 0], [3, 3, 5, 1, 2]])


def loss(logits: Tensor) -> Tensor:
    return logits.square().sum()


def of_head(stage: Segment, parameters: Parameters, inputs: list[Tensor]) -> tuple[Parameters, list[Tensor]]:
    """Gradients of the parameters and inputs of the last stage."""
    return grad(lambda both: loss(answer(stage, both[0], both[1], [])[0]))((parameters, inputs))


def of_trunk(
    stage: Segment, parameters: Parameters, inputs: list[Tensor], residual: Tensor, tokens: Tensor, weights: Tensor
) -> tuple[Parameters, list[Tensor]]:
    """Gradients of the parameters and inputs of a stage, from those of what it returns; samples have none."""

    def outputs(parameters: Parameters, added: list[Tensor]) -> list[Tensor]:
        made = trunk(stage, parameters, added or inputs, [])
        return [made[0], made[1], made[3]]

    floating = [each for each in inputs if each.is_floating_point()]
    _, pull = vjp(outputs, parameters, floating)
    of_parameters, of_inputs = pull([residual, tokens, weights])
    return of_parameters, of_inputs


def first(tree: list[Tensor]) -> Tensor:
    return tree[0].clone()


def second(tree: list[Tensor]) -> Tensor:
    return tree[1].clone()


@pytest.mark.parametrize(
    "held",
    [
        {"cloud": range(EXPERTS)},
        {"edge": (0, 1), "cloud": range(EXPERTS)},
        {"edge": (0, 3), "user0": (1,), "user1": (2,), "cloud": range(EXPERTS)},
    ],
    ids=["cloud", "edge and cloud", "edge, devices and cloud"],
)
def test_a_training_pass_over_sites_is_that_of_the_whole_model(held: dict[str, Any]) -> None:
    told: dict[str, Any] = {}

    def script(world: World) -> Process[None]:
        staged, user, submit = StagedModel(MODEL, WEIGHTS), world.users[0], world.executor.submit
        sites = [world.sites["edge"], world.sites["cloud"]]
        layers = [ExpertLayer(world, n, sites, expert, own, layers=LAYERS) for n, own in enumerate(staged.experts)]
        for layer in layers:
            for name, experts in held.items():
                for each in experts:
                    layer.store(each, world.sites[name])
        inputs: list[Any] = [X]
        passed: list[tuple[list[Any], RoutedTokens]] = []
        for number, layer in enumerate(layers):
            residual, tokens, ids, weights, _ = submit(trunk, staged.stages[number], staged.trunks[number], inputs, [])
            routed = layer.route(user, world.executor.value(ids), weights)
            passed.append((inputs, routed))
            inputs = [residual, (yield from routed.forward(tokens))]
        gradients: dict[str, Tensor] = {}
        of_parameters, of_inputs = submit(of_head, staged.stages[-1], staged.trunks[-1], inputs)
        gradients |= world.executor.value(of_parameters)
        for number in reversed(range(LAYERS)):
            before, routed = passed[number]
            of_tokens = yield from routed.backward(submit(second, of_inputs))
            assert routed.weight_gradients is not None
            cotangents = submit(first, of_inputs), of_tokens, routed.weight_gradients
            of_parameters, of_inputs = submit(
                of_trunk, staged.stages[number], staged.trunks[number], before, *cotangents
            )
            gradients |= world.executor.value(of_parameters)
        for layer in layers:
            layer.step([user])
        told["gradients"] = gradients
        told["stepped"] = world.executor.value([weights for layer in layers for weights in layer.weights])
        told["rate"] = world.server_optimiser.learning_rate

    ran(script, Cell())
    wanted = grad(lambda weights: loss(MODEL(weights, X)[:, -1]))(WEIGHTS)
    of_experts = {name for name in WEIGHTS if ".experts." in name}
    assert told["gradients"].keys() == WEIGHTS.keys() - of_experts
    for name, value in told["gradients"].items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-9, atol=1e-12)
    stepped = {name: value for weights in told["stepped"] for name, value in weights.items()}
    assert stepped.keys() == of_experts
    for name, value in stepped.items():
        torch.testing.assert_close(value, WEIGHTS[name] - told["rate"] * wanted[name], rtol=1e-9, atol=1e-12)
