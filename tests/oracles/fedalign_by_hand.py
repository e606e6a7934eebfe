"""FedAlign-MoE as written from its formulas: torch modules with autograd, and loops over users and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, inf, log, sqrt
from typing import Any

import torch
import torch.nn.functional as F
from by_hand import Plain
from torch import Tensor

from learning.models.experts import MixtureOfExperts
from learning.schemes import FedAlignMoE

Weights = dict[str, Tensor]


@dataclass
class Layer:
    """Statistics of one layer of one user: lists over experts."""

    p: list[float]
    u: list[float]
    r: list[list[float]]
    c: list[Tensor]
    o: list[Tensor]


@dataclass
class Client:
    """What the server knows of a user after a round."""

    samples: int
    weights: Weights
    layers: dict[str, Layer]
    anchored: dict[str, list[Tensor]] = field(default_factory=dict)


def mixtures(plain: Plain) -> dict[str, MixtureOfExperts]:
    return {name: each for name, each in plain.module.named_modules() if isinstance(each, MixtureOfExperts)}


def seen(plain: Plain, x: Tensor) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """Logits, and for each mixture its input tokens and the gate's logits."""
    inputs: dict[str, tuple[Tensor, Tensor]] = {}
    hooks = [
        mixture.gate.register_forward_hook(
            lambda _, given, out, name=name: inputs.update({name: (given[0].flatten(0, -2), out.flatten(0, -2))})
        )
        for name, mixture in mixtures(plain).items()
    ]
    out = plain.module(x)
    for hook in hooks:
        hook.remove()
    return out, inputs


def train(
    plain: Plain, batches: Sequence[tuple[Tensor, Tensor]], strength: float, reference: dict[str, list[float]]
) -> None:
    for x, y in batches:
        plain.optimiser.zero_grad()
        logits, inputs = seen(plain, x)
        loss = F.cross_entropy(logits, y)
        for name, q in reference.items():
            mean = inputs[name][1].softmax(-1).mean(0)
            loss = loss + strength * sum(mean[e] * torch.log(mean[e] / q[e]) for e in range(len(q)))
        loss.backward()
        plain.optimiser.step()


@torch.no_grad()
def statistics(plain: Plain, xs: Sequence[Tensor], top_k: int) -> dict[str, Layer]:
    """One token after another."""
    layers = {}
    found = [seen(plain, x)[1] for x in xs]
    for name, mixture in mixtures(plain).items():
        tokens = [pair for each in found for pair in zip(*each[name], strict=True)]
        count, width = len(mixture.experts), tokens[0][0].shape[0]
        p, u = [0.0] * count, [0.0] * count
        r = [[0.0] * count for _ in range(count)]
        mass, c, o = (
            [0.0] * count,
            [torch.zeros(width).to(tokens[0][0])] * count,
            [torch.zeros(width).to(tokens[0][0])] * count,
        )
        for h, logits in tokens:
            g = [exp(float(z) - float(logits.max())) for z in logits]
            g = [each / sum(g) for each in g]
            for e in range(count):
                p[e] += g[e] / len(tokens)
            for e in sorted(range(count), key=lambda e: -float(logits[e]))[:top_k]:
                u[e] += 1 / (top_k * len(tokens))
                r[e] = [a + b for a, b in zip(r[e], g, strict=True)]
                mass[e] += g[e]
                c[e] = c[e] + g[e] * h
                o[e] = o[e] + g[e] * mixture.experts[e](h)
        layers[name] = Layer(
            p,
            u,
            [[each / sum(row) for each in row] if sum(row) else row for row in r],
            [each / (m or 1) for each, m in zip(c, mass, strict=True)],
            [each / (m or 1) for each, m in zip(o, mass, strict=True)],
        )
    return layers


def kl(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * log(x / y) for x, y in zip(a, b, strict=True) if x > 0)


def js(a: Sequence[float], b: Sequence[float]) -> float:
    m = [(x + y) / 2 for x, y in zip(a, b, strict=True)]
    return kl(a, m) / 2 + kl(b, m) / 2


def omegas(scheme: FedAlignMoE, clients: Sequence[Client], name: str, e: int) -> list[float]:
    scores = []
    for i, own in enumerate(clients):
        layer = own.layers[name]
        if layer.u[e] == 0:
            scores.append(0.0)
            continue
        others = [each for j, each in enumerate(clients) if j != i]
        if scheme.consistency == "conditional":
            weights = [each.samples * each.layers[name].u[e] for each in others]
            mean = layer.r[e]
            if sum(weights):
                rows = [each.layers[name].r[e] for each in others]
                mean = [
                    sum(w * row[k] for w, row in zip(weights, rows, strict=True)) / sum(weights)
                    for k in range(len(mean))
                ]
            scores.append(exp(-js(layer.r[e], mean) / scheme.temperature))
        elif scheme.consistency == "marginal":
            mean_p = sum(each.samples * each.layers[name].p[e] for each in others) / sum(
                each.samples for each in others
            )
            scores.append(1 - abs(layer.p[e] - mean_p) / (layer.p[e] + mean_p))
        else:
            scores.append(1.0)
    return [score / sum(scores) if sum(scores) else 0.0 for score in scores]


def cosine(a: Tensor, b: Tensor) -> float:
    if not a.norm() or not b.norm():
        return 0.0
    return float(a @ b / (a.norm() * b.norm()))


def gammas(
    scheme: FedAlignMoE, clients: Sequence[Client], name: str, e: int, base: Weights
) -> tuple[dict[Any, float], int, int]:
    """gamma of each ordered pair of users of an expert, itself included; pairs, and rejected ones."""
    users = [i for i, each in enumerate(clients) if each.layers[name].u[e] > 0]
    similar, overlap = {}, {}
    for i in users:
        for j in users:
            if i < j:
                one, other = clients[i], clients[j]
                overlap[i, j] = max(0.0, cosine(one.layers[name].c[e], other.layers[name].c[e]))
                if scheme.similarity == "roles":
                    similar[i, j] = cosine(one.layers[name].o[e], other.layers[name].o[e])
                elif scheme.similarity == "anchors":
                    pairs = list(zip(one.anchored[f"{name}.{e}"], other.anchored[f"{name}.{e}"], strict=True))
                    similar[i, j] = sum(cosine(a, b) for a, b in pairs) / len(pairs)
                    overlap[i, j] = 1.0
                else:
                    names = [key for key in base if key.startswith(f"{name}.experts.{e}.")]
                    changes = [
                        torch.cat([(each.weights[k] - base[k]).flatten() for k in names]) for each in (one, other)
                    ]
                    similar[i, j] = cosine(*changes)
    values = list(similar.values())
    mean = sum(values) / max(1, len(values))
    sigma = sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values)))
    tau = -inf if scheme.beta is None else mean - scheme.beta * sigma
    gamma = {(i, i): 1.0 for i in users}
    for (i, j), value in similar.items():
        gamma[i, j] = gamma[j, i] = overlap[i, j] * max(0.0, value) if value >= tau - 1e-9 else 0.0
    return gamma, len(values), sum(value < tau - 1e-9 for value in values)


def merged(
    scheme: FedAlignMoE, clients: Sequence[Client], base: Weights, reference: dict[str, list[float]]
) -> tuple[Weights, dict[str, list[float]], float]:
    """The next common model with one aggregate of each expert, the next reference, and the share of rejected pairs."""
    total = sum(each.samples for each in clients)
    model = {
        key: sum(each.samples / total * each.weights[key] for each in clients) for key in base if ".experts." not in key
    }
    pairs = rejected = 0
    for name, layer in clients[0].layers.items():
        count = len(layer.p)
        rows, mass = [], []
        for e in range(count):
            omega = omegas(scheme, clients, name, e)
            mass.append(sum(w * each.layers[name].p[e] for w, each in zip(omega, clients, strict=True)))
            used = omega if sum(omega) else [each.samples / total for each in clients]
            gates = [each.weights[f"{name}.gate.weight"] for each in clients]
            rows.append(sum(w * (gate[e] - gate.mean(0)) for w, gate in zip(used, gates, strict=True)))
            gamma, number, below = gammas(scheme, clients, name, e, base)
            pairs, rejected = pairs + number, rejected + below
            users = sorted({i for i, _ in gamma})
            degree = {
                i: clients[i].samples
                * clients[i].layers[name].u[e]
                * (sum(gamma[i, j] for j in users if j != i) / (len(users) - 1) if len(users) > 1 else 1.0)
                for i in users
            }
            for key in (key for key in base if key.startswith(f"{name}.experts.{e}.")):
                model[key] = base[key]
                if sum(degree.values()) > 0:
                    w = {i: value / sum(degree.values()) for i, value in degree.items()}
                    step = sum(w[i] * (clients[i].weights[key] - base[key]) for i in users)
                    model[key] = base[key] + scheme.server_step * step
        if scheme.gates == "row_consistency":
            model[f"{name}.gate.weight"] = torch.stack(rows)
        reference = reference | {name: [each / sum(mass) for each in mass]}
    return model, reference, rejected / max(1, pairs)


def personal(scheme: FedAlignMoE, clients: Sequence[Client], receiver: int, own: Weights) -> Weights:
    """The experts of one user: sum_j gamma_ij n_j u_j E_j over the sum of the weights."""
    out = dict(own)
    for name, layer in clients[0].layers.items():
        for e in range(len(layer.p)):
            gamma, _, _ = gammas(scheme, clients, name, e, own)
            parts = {
                j: value * clients[j].samples * clients[j].layers[name].u[e]
                for (i, j), value in gamma.items()
                if i == receiver
            }
            for key in (key for key in own if key.startswith(f"{name}.experts.{e}.")):
                if sum(parts.values()) > 0:
                    out[key] = sum(part * clients[j].weights[key] for j, part in parts.items()) / sum(parts.values())
    return out
