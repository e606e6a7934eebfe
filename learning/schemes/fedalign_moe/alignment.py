"""Operations of FedAlign-MoE on experts, at the server: similarity of users' experts, and aggregation of aligned ones.

Lists are in the order of the users; what they say of a layer is named after its gate, as in `statistics`.
"""

from __future__ import annotations

from math import inf
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from learning.aggregators import total
from learning.executor.flops import charge_elementwise
from learning.models.experts import expert_of
from learning.schemes.fedalign_moe.routing import gates, stacked
from learning.schemes.fedalign_moe.statistics import Prototypes
from learning.steps import Parameters

Similarity = Literal["roles", "anchors", "parameters"]
TOLERANCE = 1e-9
"""Similarities this far below the threshold pass: rounding must not reject pairs that are all equal."""


def alignment(
    similarity: Similarity,
    beta: float,
    personal: bool,
    samples: tuple[int, ...],
    routings: list[Parameters],
    prototypes: list[Prototypes],
    trees: list[Parameters],
    previous: Parameters,
) -> tuple[list[list[Parameters]], Parameters]:
    """Weights of the users' experts, by how similar they are in pairs.

    Charged are two FLOPs for each element of the vectors of a pair of users of which a cosine is taken.

    Args:
        similarity: of what a cosine is taken; see `FedAlignMoE.similarity`.
        beta: how many standard deviations below the mean the threshold of similarities is; may be infinite.
        personal: whether each user gets experts of its own.
        samples: each user's number of samples.
        routings: each user's statistics of routing.
        prototypes: each user's prototypes: `roles` or `outputs` for anchors, if they are compared, and `regions`, if
            overlaps are measured.
        trees: each user's parameters of experts, by name, if their changes are compared; experts may be missing.
        previous: these parameters before local training.

    Returns:
        For each recipient, which is one aggregate or each user, the `share` of each user in each expert; and the share
        of pairs below the threshold (`rejected_pairs`) and one minus the mean similarity (`expert_drift`).
    """
    users = len(routings)
    kind = {"roles": "roles", "anchors": "outputs"}.get(similarity)
    compared = [each[kind] for each in prototypes] if kind else trees
    regions = [each["regions"] for each in prototypes if "regions" in each]
    recipients: list[list[Parameters]] = [[{} for _ in routings] for _ in range(users if personal else 1)]
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    for gate in gates(routings[0]):
        usage = stacked(routings, f"{gate}.usage")
        similar = cosines(vectors(similarity, gate, usage.shape[1], compared, previous))
        overlaps = cosines(stacked(regions, f"{gate}.weight")[:, :, None]) if regions else torch.ones_like(similar)
        amounts = torch.tensor(samples, dtype=torch.float64, device=usage.device)[:, None] * usage
        used = usage > 0
        pairs = used[:, None] & used & ~torch.eye(users, dtype=torch.bool, device=usage.device)[..., None]
        limits = thresholds(similar, pairs, beta)
        gamma = gated(similar, overlaps, pairs, limits)
        seen.append((similar, pairs, similar < limits - TOLERANCE))
        shares = personal_shares(gamma, amounts) if personal else [global_shares(gamma, amounts)]
        for recipient, of_users in zip(recipients, shares, strict=True):
            for own, share in zip(recipient, of_users, strict=True):
                own[f"{gate}.share"] = share.to(routings[0][f"{gate}.usage"].dtype)
    return recipients, _summary(seen)


def vectors(
    similarity: Similarity, gate: str, experts: int, compared: list[Parameters], previous: Parameters
) -> Tensor:
    """(users, experts, n, length) in float64: what is compared of each user's experts of a layer, n vectors each."""
    if similarity == "roles":
        return stacked(compared, f"{gate}.weight")[:, :, None]
    prefix = f"{gate.removesuffix('gate')}experts"
    if similarity == "anchors":
        each = [stacked(compared, f"{prefix}.{expert}.output") for expert in range(experts)]
        return torch.stack([own[:, 0] for own in each], dim=1)
    names = [[name for name in previous if name.startswith(f"{prefix}.{expert}.")] for expert in range(experts)]
    changes = [[_change(tree, previous, own) for own in names] for tree in compared]
    return torch.stack([torch.stack(of_user) for of_user in changes])[:, :, None]


def _change(tree: Parameters, previous: Parameters, names: list[str]) -> Tensor:
    """The change of an expert's parameters as one vector; zero if it was not uploaded."""
    return torch.cat([(tree.get(name, previous[name]) - previous[name]).double().flatten() for name in names])


def cosines(values: Tensor) -> Tensor:
    """(users, users, experts): mean cosine of two users' vectors (users, experts, n, length); 0 with a zero vector."""
    users = len(values)
    charge_elementwise(2, values[0].expand(users * (users - 1) // 2, *values.shape[1:]))
    units = F.normalize(values, dim=-1)
    return torch.stack([(units * own).sum(-1).mean(-1) for own in units])


def thresholds(similar: Tensor, pairs: Tensor, beta: float) -> Tensor:
    """(experts,): mean less beta standard deviations of the similarities of pairs; -infinity if beta is infinite.

    The standard deviation is that of the population, divided by the number of pairs.

    Args:
        similar: (users, users, experts), symmetric.
        pairs: (users, users, experts), boolean, symmetric: which count.
        beta: not negative.
    """
    number = pairs.sum((0, 1)).clamp(min=1)
    mean = (similar * pairs).sum((0, 1)) / number
    deviation = ((similar - mean).square() * pairs).sum((0, 1)).div(number).sqrt()
    return torch.full_like(mean, -inf) if beta == inf else mean - beta * deviation


def gated(similar: Tensor, overlaps: Tensor, pairs: Tensor, limits: Tensor) -> Tensor:
    """(users, users, experts): similarity x overlap of the pairs that reach the threshold, 0 for others, 1 with itself.

    Negative similarities and overlaps count as zero.
    """
    passed = pairs & (similar >= limits - TOLERANCE)
    gamma = passed * overlaps.clamp(min=0) * similar.clamp(min=0)
    return gamma + torch.eye(len(gamma), dtype=gamma.dtype, device=gamma.device)[..., None]


def global_shares(gamma: Tensor, amounts: Tensor) -> Tensor:
    """(users, experts): the share of each user in the aggregate of each expert.

    It is proportional to the amount, samples times usage, (users, experts), and to the mean `gated` weight with the
    other users of the expert. The only user of an expert has it alone; all shares are zero if no pair passes.
    """
    used = amounts > 0
    others = (gamma * used).sum(1) - used.to(gamma.dtype)  # without itself
    degrees = amounts * others / (used.sum(0) - 1).clamp(min=1)
    shares = degrees / torch.where(degrees.sum(0) > 0, degrees.sum(0), 1)
    return torch.where(used.sum(0) == 1, used.to(shares.dtype), shares)


def personal_shares(gamma: Tensor, amounts: Tensor) -> Tensor:
    """(recipients, users, experts): the share of each user in the expert of each recipient, by amount and `gated`."""
    parts = gamma * amounts
    among = parts.sum(1, keepdim=True)
    return parts / torch.where(among > 0, among, 1)


def _summary(seen: list[tuple[Tensor, Tensor, Tensor]]) -> Parameters:
    number = total([pairs.sum() for _, pairs, _ in seen]).clamp(min=1)
    rejected = total([(pairs & below).sum() for _, pairs, below in seen]).double()
    similar = total([(similar * pairs).sum() for similar, pairs, _ in seen])
    return {"rejected_pairs": rejected / number, "expert_drift": 1 - similar / number}


def aggregated(
    step: float, recipient: int, previous: Parameters, shares: list[list[Parameters]], trees: list[Parameters]
) -> Parameters:
    """Experts moved towards the weighted mean of the users' experts: E + step (sum_i share_i E_i - E).

    An expert in which no user has a share keeps its parameters. Charged are two FLOPs for each element of the trees.

    Args:
        step: size of the server's step; 1 takes the mean.
        recipient: number of the recipient.
        previous: parameters of its experts, by name.
        shares: for each recipient each user's `share` in each expert, as `alignment` returns them.
        trees: the parameters that each user uploaded; experts may be missing if its share in them is zero.
    """
    charge_elementwise(2, trees)
    moved: Parameters = {}
    for name, before in previous.items():
        owner = expert_of(name)
        assert owner is not None, name
        mixture, number = owner
        sent = [
            (own[f"{mixture}.gate.share"][number], tree[name])
            for own, tree in zip(shares[recipient], trees, strict=True)
            if name in tree
        ]
        if not sent:
            moved[name] = before
            continue
        mean = total([share * value for share, value in sent])
        used = total([share for share, _ in sent]) > 0
        moved[name] = torch.where(used, before * (1 - step) + step * mean, before)
    return moved
