"""Operations of FedAlign-MoE on a device: training towards the cohort's routing, and statistics of gates and experts.

Statistics of a layer are named after its gate: "1.feed.1.gate.usage" is a tensor over the experts of the mixture
"1.feed.1". Prototypes have the shape of the gate's weight, and its name.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import grad

from learning import steps
from learning.adapters import Bound
from learning.executor.flops import charge_elementwise
from learning.models import Segment
from learning.models.expert_records import ExpertRecord
from learning.optimisers import Optimiser
from learning.steps import Batch, Parameters

Prototypes = dict[str, Parameters]
"""What describes the experts, by kind: `regions` and `roles`, or `outputs` for anchors."""

FLOOR = 1e-8
"""Smallest probability of which a logarithm is taken."""


def train_towards(
    segment: Segment | Bound,
    optimiser: Optimiser,
    strength: float,
    reference: Parameters,
    parameters: Parameters,
    state: Any,
    xs: list[Batch],
    ys: list[Tensor],
) -> tuple[Parameters, Any, Tensor]:
    """`steps.train` with a penalty on the divergence of the gates' mean probabilities from the cohort's.

    To the loss of a mini-batch is added strength x sum over layers of KL(mean probability || reference). The reported
    loss is that of the task. Charged are four FLOPs for each token and expert: its sum, and the gradient through it.
    Without a reference (an empty one) it is `steps.train`.
    """
    if not reference:
        return steps.train(segment, optimiser, parameters, state, xs, ys)

    def differentiate(parameters: Parameters, x: Batch, y: Tensor) -> tuple[Parameters, Tensor]:
        gradients, loss = grad(regularised, has_aux=True)(parameters, x, y)
        return gradients, loss

    def regularised(parameters: Parameters, x: Any, y: Tensor) -> tuple[Tensor, Tensor]:
        logits, records = segment.recorded(parameters, x)
        loss = penalised = steps.mean_loss(logits, y)
        for mixture, record in records.items():
            charge_elementwise(4, record.probabilities)
            mean = record.probabilities.flatten(0, -2).mean(0)
            penalised = penalised + strength * divergence(mean, reference[f"{mixture}.gate.reference"])
        return penalised, loss

    return steps.descend(optimiser, parameters, state, xs, ys, differentiate)


def divergence(local: Tensor, reference: Tensor) -> Tensor:
    """KL(local || reference) in nats of two distributions over experts, (experts,).

    An expert that is not used locally contributes nothing; one that the reference does not use is expensive.
    """
    return (local * (local.clamp(min=FLOOR) / reference.clamp(min=FLOOR)).log()).sum()


def profile(
    segment: Segment | Bound, prototypes: tuple[str, ...], parameters: Parameters, xs: list[Batch]
) -> tuple[Parameters, Prototypes]:
    """Forward passes over mini-batches, in which statistics of the layers with experts are collected.

    Args:
        segment: the whole model.
        prototypes: which prototypes are wanted: `regions`, `roles`, both or none.
        parameters: its trained parameters.
        xs: stacks of samples, (count, size, ...) each.

    Returns:
        For each layer, of E experts and tokens of width d:
        - `probability` (E,), the gate's mean probability; `usage` (E,), the share of each expert in all pairs of token
          and expert; `together` (E, E), in row e the mean probabilities over the tokens for which e is chosen;
        - `regions` (E, d), the mean input of an expert, and `roles` (E, d), its mean output, both over the tokens for
          which it is chosen, weighted by its probability. Charged are two FLOPs for each element of the input, or
          output, of a pair of token and expert.
        Rows of experts that are never chosen are zero.
    """
    layers: dict[str, list[Parameters]] = {}
    for x in (x for stack in xs for x in steps.unstacked(stack)):
        for mixture, record in segment.recorded(parameters, x)[1].items():
            layers.setdefault(mixture, []).append(_sums(record))
            charge_elementwise(2 * len(prototypes), _pairs(record))
    routing: Parameters = {}
    means: Prototypes = {name: {} for name in prototypes}
    for mixture, parts in layers.items():
        sums = {name: torch.stack([part[name] for part in parts]).sum(0) for name in parts[0]}
        routing[f"{mixture}.gate.probability"] = sums["probability"] / sums["probability"].sum()
        routing[f"{mixture}.gate.usage"] = sums["chosen"] / sums["chosen"].sum()
        routing[f"{mixture}.gate.together"] = _mean(sums["together"], sums["chosen"])
        for name in prototypes:
            means[name][f"{mixture}.gate.weight"] = _mean(sums[name], sums["weight"])
    return routing, means


def _sums(record: ExpertRecord) -> Parameters:
    """Sums over the tokens of a mini-batch."""
    tokens, probabilities = record.inputs.flatten(0, -2), record.probabilities.flatten(0, -2)
    experts = torch.arange(len(record.outputs), device=tokens.device)
    chosen = (record.ids.flatten(0, -2)[..., None] == experts).any(-2).to(probabilities.dtype)  # (tokens, experts)
    weights = (probabilities * chosen).T[..., None]  # (experts, tokens, 1)
    roles = []
    for weight, output in zip(weights, record.outputs, strict=True):
        own = output.reshape(-1, output.shape[-1])
        roles.append((weight[: len(own)] * own).sum(0))  # on meta tensors it has its share of the tokens alone
    return {
        "probability": probabilities.sum(0),
        "chosen": chosen.sum(0),
        "together": torch.stack([(own[:, None] * probabilities).sum(0) for own in chosen.T]),
        "weight": weights.sum((1, 2)),
        "regions": torch.stack([(weight * tokens).sum(0) for weight in weights]),
        "roles": torch.stack(roles),
    }


def _pairs(record: ExpertRecord) -> Tensor:
    """A tensor of the shape of the inputs of all pairs of token and expert: (tokens, top_k, width)."""
    tokens = record.inputs.flatten(0, -2)
    return tokens[:, None].expand(-1, record.ids.shape[-1], -1)


def _mean(sums: Tensor, counts: Tensor) -> Tensor:
    """Rows of sums divided by their counts; rows without any are zero."""
    return sums / torch.where(counts > 0, counts, 1)[:, None]


def stacked_usage(routing: Parameters) -> Tensor:
    """(layers, experts): the usage of all layers, in their order."""
    return torch.stack([value for name, value in routing.items() if name.endswith(".gate.usage")])


def anchor_outputs(segment: Segment | Bound, parameters: Parameters, anchors: Tensor) -> Prototypes:
    """The `outputs` of all experts for anchors (1, anchors, width), by name, such as "1.feed.1.experts.0.output"."""
    return {"outputs": segment.expert_outputs(parameters, anchors)}
