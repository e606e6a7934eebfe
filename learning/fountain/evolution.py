"""Density evolution: what belief propagation achieves on an infinitely long random code.

With noise the messages are taken for consistent Gaussian LLRs, which their mean describes: Chung, Richardson and
Urbanke, Analysis of sum-product decoding of low-density parity-check codes using a Gaussian approximation, IEEE
Transactions on Information Theory 47(2), 2001. All of it is differentiable in the degree distribution, the selection
weights and the number of symbols, so that it also stands in for the decoder where these are trained.

On an erasure channel it is exact: Luby, Mitzenmacher and Shokrollahi, Analysis of random processes via and-or tree
evaluation, SODA 1998.
"""

from __future__ import annotations

from functools import cache
from math import lgamma, log, log10

import torch
from torch import Tensor
from torch.special import ndtr

from learning.fountain.degrees import edge_degrees, mean_degree

LARGEST_MEAN = 400.0
"""Mean LLRs are limited to this: the bit error rate is then 1e-45."""
SMALLEST_MEAN, PLACES = 1e-6, 4096
"""Smallest mean LLR of the table but 0, and the number of means from there, with equal ratios."""


@cache
def _table() -> tuple[Tensor, Tensor]:
    """Means and E tanh(L/2) at them, (4097,) float64, by the trapezoidal rule."""
    positive = torch.logspace(log10(SMALLEST_MEAN), log10(LARGEST_MEAN), PLACES, dtype=torch.float64)
    means = torch.cat([positive.new_zeros(1), positive])
    z = torch.linspace(-8, 8, 801, dtype=torch.float64)
    density = torch.exp(-z.square() / 2)
    values = torch.tanh((means[:, None] + (2 * means[:, None]).sqrt() * z) / 2) @ density / density.sum()
    return means, values.cummax(0).values


@cache
def _lines() -> tuple[Tensor, Tensor]:
    """Slope and value at 0 of the line through each two neighbours of the table, (4096,) float64."""
    means, values = _table()
    slopes = values.diff() / means.diff()
    return slopes, values[:-1] - slopes * means[:-1]


def mean_tanh(mean: Tensor) -> Tensor:
    """E tanh(L/2) of a consistent Gaussian LLR L ~ N(mean, 2 mean), for 0 <= mean, by a table; differentiable."""
    mean = mean.clamp(0, LARGEST_MEAN)
    # Means of the table have equal ratios: a logarithm finds the place in a tenth of the time of a search.
    place = (mean.detach().clamp(min=SMALLEST_MEAN) / SMALLEST_MEAN).log() * (
        (PLACES - 1) / log(LARGEST_MEAN / SMALLEST_MEAN)
    )
    line = torch.where(mean < SMALLEST_MEAN, 0, 1 + place.long().clamp(max=PLACES - 2))
    slopes, at_zero = _lines()
    return mean * slopes.to(mean.dtype)[line] + at_zero.to(mean.dtype)[line]


def mean_of(tanh: Tensor) -> Tensor:
    """Mean of the consistent Gaussian LLR with this E tanh(L/2), in [0, 1]; the inverse of `mean_tanh`."""
    means, values = _table()
    reached = int((values < values[-1]).sum())  # above, the values are 1 to the last digit
    return _interpolated(tanh.clamp(0, float(values[reached])), values[: reached + 1], means[: reached + 1])


def _interpolated(x: Tensor, places: Tensor, values: Tensor) -> Tensor:
    places, values = places.to(x.dtype), values.to(x.dtype)
    right = torch.searchsorted(places, x.detach().contiguous()).clamp(1, len(places) - 1)
    low, high = places[right - 1], places[right]
    return values[right - 1] + (values[right] - values[right - 1]) * ((x - low) / (high - low))


def prior_mean(p: Tensor) -> Tensor:
    """Mean LLR of the side information on bits that are 1 with probability p.

    E[(1 - 2v) tanh(Lpri/2)] = (1 - 2p)^2, and a consistent Gaussian has this value as E tanh(L/2).
    """
    return mean_of((1 - 2 * p).square())


def edges_per_input(symbols_per_input: Tensor | float, degrees: Tensor, weights: Tensor) -> Tensor:
    """Mean number of edges of each input: m/k times the mean degree times its selection weight, whose mean is 1."""
    return symbols_per_input * mean_degree(degrees) * weights


def evolve(
    degrees: Tensor, edges: Tensor, snr: Tensor | float, iterations: int, prior: Tensor, max_edges: int = 60
) -> Tensor:
    """Mean of the messages from symbols to inputs after each number of iterations, by Gaussian density evolution.

    An input has a Poisson number of edges, as many as `max_edges`; messages to inputs have one common mean.

    Args:
        degrees: (D,): degree distribution.
        edges: (..., k): mean number of edges of each input, or of each class of equally many inputs.
        snr: ratio of symbol power to (real) noise variance, as a plain ratio; broadcast to the leading dimensions.
        iterations: number of iterations, at least 1.
        prior: (..., k): mean LLR of the side information on each input; 0 is none.
        max_edges: largest number of edges that is considered.

    Returns:
        (iterations, ...).
    """
    powers = torch.arange(len(degrees))
    at_edge = edge_degrees(degrees)
    number = torch.arange(max_edges + 1, dtype=edges.dtype)
    chance = poisson(edges[..., None], number)
    channel = mean_tanh(2 * torch.as_tensor(snr, dtype=edges.dtype))
    known = mean_tanh(prior)
    means = []
    for _ in range(iterations):
        average = (edges * known).sum(-1) / edges.sum(-1)
        message = mean_of(channel * (at_edge * average[..., None] ** powers).sum(-1))
        means.append(message)
        known = (chance * mean_tanh(prior[..., None] + number * message[..., None, None])).sum(-1)
    return torch.stack(means)


def error_rate(edges: Tensor, message: Tensor, prior: Tensor, max_edges: int = 60) -> Tensor:
    """Bit error rate of each input, (..., k), from the mean of the messages (...,); 1/2 without information."""
    number = torch.arange(max_edges + 1, dtype=edges.dtype)
    mean = prior[..., None] + number * message[..., None, None]
    rate: Tensor = ndtr(-(mean / 2).sqrt())
    return (poisson(edges[..., None], number) * rate).sum(-1)


def poisson(mean: Tensor, number: Tensor) -> Tensor:
    """Probability of a number under a Poisson law, which is given all mass above the largest number considered."""
    logarithms = torch.tensor([lgamma(n + 1) for n in number.tolist()], dtype=mean.dtype)
    chance = torch.exp(torch.xlogy(number, mean) - mean - logarithms)
    return chance / chance.sum(-1, keepdim=True)


def erased_share(degrees: Tensor, symbols_per_input: float, iterations: int, erasure: float = 0.0) -> Tensor:
    """Share of inputs that are not recovered after each number of iterations on an erasure channel: (iterations,).

    x -> exp(-(1 - erasure) m/k Omega'(1 - x)), from x = 1, with the derivative Omega' of the degree distribution's
    polynomial.

    Args:
        degrees: (D,): degree distribution.
        symbols_per_input: transmitted symbols for each input, m/k.
        iterations: number of iterations.
        erasure: probability with which a symbol is erased.
    """
    share, shares = torch.ones((), dtype=degrees.dtype), []
    for _ in range(iterations):
        share = torch.exp(-(1 - erasure) * symbols_per_input * _derivative(degrees, 1 - share))
        shares.append(share)
    return torch.stack(shares)


def erasure_threshold(degrees: Tensor, residual: float) -> float:
    """Fewest received symbols per input with which density evolution leaves at most this share of inputs unrecovered.

    It is the maximum of -ln x / Omega'(1 - x) over x in [residual, 1], on a grid of 2,000 points.
    """
    x = torch.linspace(residual, 1, 2001, dtype=degrees.dtype)[:-1]
    return float((-torch.log(x) / _derivative(degrees, 1 - x)).max())


def _derivative(degrees: Tensor, x: Tensor) -> Tensor:
    powers = torch.arange(len(degrees))
    return ((degrees * (powers + 1)) * x[..., None] ** powers).sum(-1)
