"""Leader gradient, and the users whose gradients are aligned with it. [GAPSL, Lin et al., arXiv 2603.18540]

Angles are between gradients of the server's part, each flattened into one vector, in float64. A gradient of norm zero
is at right angles to all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, pi
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor

from learning.aggregators import weighted_sum
from learning.executor.flops import charge_elementwise, uncharged
from learning.steps import Parameters

TIE = 1e-6
"""Angle in rad by which a user may exceed the threshold: arccos is ill-conditioned near an angle of zero."""
ROUNDING = 1e-9
"""Share of a user by which a number of users may exceed a whole number without being rounded up."""


@dataclass(frozen=True)
class Alignment:
    """Which users' gradients make up the leader gradient, and which users are kept."""

    leader: Literal["aligned", "all", "random"] = "aligned"
    """Users whose mean gradient is the leader: those with the smallest mean angle to the others, all of them, or as
    many drawn at random."""
    min_share: Annotated[float, Interval(ge=0, le=1)] = 0.2
    """Smallest share of users in the leader gradient."""
    max_share: Annotated[float, Interval(ge=0, le=1)] = 0.8
    """Largest share of users in the leader gradient."""
    kept: Literal["aligned", "leader", "random", "all"] = "aligned"
    """Users with whose gradients the model is updated: those whose angle to the leader is below the threshold, those
    in the leader gradient alone, as many as are below the threshold drawn at random, or all."""
    sensitivity: float = 0.5
    """Standard deviations by which the threshold is below the mean angle to the leader (eta); with more, fewer users
    are kept."""
    max_angle_rad: Annotated[float, Interval(ge=0, le=pi)] = pi / 2
    """Upper bound of the threshold in rad."""

    def leaders(self, spread: Tensor, extremes: Tensor, progress: Tensor, users: int) -> Tensor:
        """Number of users in the leader gradient, a float64 scalar; as the training settles it grows.

        Args:
            spread: standard deviation of the users' mean angles, in rad, float64 scalar.
            extremes: (2,): its smallest and largest value so far, this round's included.
            progress: share of the rounds that are begun, in (0, 1].
            users: number of users.
        """
        low, high = extremes.unbind()
        settled = torch.where(high > low, (high - spread) / torch.where(high > low, high - low, 1.0), 0.0)
        share = self.min_share + progress * settled * (self.max_share - self.min_share)
        return torch.ceil(share * users - ROUNDING).clamp(min=1)


def aligned(
    rule: Alignment, gradients: list[Parameters], extremes: Tensor, progress: Tensor, u: Tensor
) -> tuple[dict[str, Tensor], Parameters, Tensor]:
    """Leader gradient and kept users, from the gradients of all users' mini-batches.

    Charged are the inner products of all pairs, norms, angles to the leader, and the mean of the largest leader.

    Args:
        rule: how users are chosen.
        gradients: gradient of the server's part for each of the S users.
        extremes: (2,): smallest and largest spread of the rounds before; infinite and -infinite before the first.
        progress: share of the rounds that are begun, float64 scalar.
        u: (2, S): uniform numbers in [0, 1), by which users are drawn at random, for the leader and to be kept.

    Returns:
        By name, in float64: `kept` (S,), one for users that are kept, else zero; `angle` (S,), each user's mean angle
        to the others in rad; `cosine` (S,), of the angle to the leader; and the scalars `spread` of the mean angles,
        `share` of users in the leader, `threshold` in rad. Then the leader gradient, and the new extremes.
    """
    users = len(gradients)
    charge_elementwise(users * (users - 1) + 4 * users + ceil(rule.max_share * users), gradients[0])
    with uncharged():
        g = torch.stack([_vector(tree) for tree in gradients])
        products = g @ g.T
        squares = products.diagonal()
        angles = _cosines(products, squares[:, None], squares).arccos()
        mean_angle = (angles.sum(1) - angles.diagonal()) / max(users - 1, 1)
        spread = _deviation(mean_angle)
        extremes = torch.stack([torch.minimum(extremes[0], spread), torch.maximum(extremes[1], spread)])
        count = rule.leaders(spread, extremes, progress, users)
        leaders = torch.ones_like(spread).expand(users)
        if rule.leader != "all":
            leaders = _first(mean_angle if rule.leader == "aligned" else u[0], count)
        leader = weighted_sum(gradients, (leaders / leaders.sum()).unbind())
        cosine = _to(_vector(leader), g)
        kept, threshold = _kept(rule, cosine.arccos(), leaders, u[1])
        found = {"kept": kept, "angle": mean_angle, "cosine": cosine}
        scalars = {"spread": spread, "share": leaders.mean(), "threshold": threshold}
        return {**found, **scalars}, leader, extremes


def _to(lead: Tensor, g: Tensor) -> Tensor:
    """(S,): cosines of the angles between a vector and the rows of (S, weights); exactly one for the vector itself."""
    rows = torch.cat([g, lead[None]])
    products, squares = (rows * lead).sum(1), (rows * rows).sum(1)
    return _cosines(products, squares, squares[-1])[:-1]


def _kept(rule: Alignment, to_leader: Tensor, leaders: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """One for users that are kept, else zero; and the threshold in rad. If none is below it, the nearest is kept."""
    threshold = to_leader.mean() - rule.sensitivity * _deviation(to_leader)
    threshold = threshold.clamp(max=rule.max_angle_rad).clamp(min=0)
    below = (to_leader <= threshold + TIE).to(to_leader.dtype)
    below = torch.where(below.sum() > 0, below, _first(to_leader, torch.ones_like(threshold)))
    if rule.kept == "aligned":
        return below, threshold
    if rule.kept == "random":
        return _first(u, below.sum()), threshold
    return (leaders if rule.kept == "leader" else torch.ones_like(leaders)), threshold


def _deviation(values: Tensor) -> Tensor:
    """Standard deviation (n,) -> (); torch's own rounds differently for several groups that are stacked."""
    return (values - values.mean()).square().mean().sqrt()


def _first(scores: Tensor, count: Tensor) -> Tensor:
    """(S,): one for the `count` smallest of the scores (S,), of equal ones those of the first users; else zero."""
    rank = scores.argsort(stable=True).argsort()
    return (rank < count).to(scores.dtype)


def _cosines(products: Tensor, squares: Tensor, others: Tensor) -> Tensor:
    """Cosines of angles between vectors, from their inner products and their squared norms; zero if a norm is."""
    norms = torch.sqrt(squares * others)
    return torch.where(norms > 0, products / torch.where(norms > 0, norms, 1.0), 0.0).clamp(-1, 1)


def steered(strength: float, gradients: list[Parameters], leader: Parameters, cosine: Tensor) -> list[Parameters]:
    """Gradients that are turned towards the leader: g + strength |g| (u_leader - cos u), with unit vectors u.

    Args:
        strength: length of the turn relative to the gradient's, times the sine of its angle to the leader.
        gradients: the users' gradients.
        leader: the leader gradient.
        cosine: (S,): of each gradient's angle to the leader.
    """
    length = _norm(leader)
    turned = []
    for gradient, cos in zip(gradients, cosine.unbind(), strict=True):
        towards = torch.where(length > 0, strength * _norm(gradient) / torch.where(length > 0, length, 1.0), 0.0)
        own = 1 - strength * cos
        turned.append({n: own.to(g.dtype) * g + towards.to(g.dtype) * leader[n] for n, g in gradient.items()})
    return turned


def _norm(tree: Parameters) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(_vector(tree))
    return norm


def _vector(tree: Parameters) -> Tensor:
    """(weights,): all tensors of a gradient in one, float64."""
    return torch.cat([leaf.flatten() for leaf in tree.values()]).double()
