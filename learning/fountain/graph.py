"""Graphs of LT codes, which both ends regenerate from a seed and the indices of symbols: no bits describe them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from learning.draws import Draw
from learning.fountain.selection import Windows
from learning.ports import Streams


class Graph(NamedTuple):
    """Neighbours of m coded symbols among k inputs, in rows of the maximum degree D."""

    neighbours: Tensor
    """(..., m, D) int64: numbers of input bits; those that are not `used` mean nothing."""
    used: Tensor
    """(..., m, D) bool: the places of a row that are edges."""

    @property
    def degrees(self) -> Tensor:
        """Number of neighbours of each symbol, (..., m)."""
        return self.used.sum(-1)

    def symbols(self, first: int, after: int) -> Graph:
        """The graph of symbols `first` to `after` - 1 alone, as of a receiver that listens only then."""
        return Graph(self.neighbours[..., first:after, :], self.used[..., first:after, :])


def symbol_draws(streams: Streams, k: int, symbols: int, *entity: int | str) -> Draw:
    """Uniform numbers from which `draw_graph` makes the graph of the first coded symbols of a message.

    Row j is that of symbol j whatever the number of symbols is, so that both ends draw what they need.

    Args:
        streams: named random streams, whose seed both ends know.
        k: number of input bits.
        symbols: number of coded symbols m.
        entity: name of the message, such as the number of the round and the image.

    Returns:
        A lazy tensor of shape (m, k + 2), float64.
    """
    return Draw(streams, "fountain graph", entity, (symbols, k + 2), torch.float64)


def draw_graph(u: Tensor, degrees: Tensor, log_weights: Tensor, windows: Windows | None = None) -> Graph:
    """Graph of an LT code: degrees by inverse transform, neighbours without replacement by the Gumbel-top-d method.

    The d largest of log w_i + Gumbel noise are a weighted sample of d inputs without replacement: Kool, van Hoof and
    Welling, Stochastic beams and where to find them, ICML 2019. Row j depends on row j of `u` alone.

    Args:
        u: (m, k + 2): uniform numbers in [0, 1) of `symbol_draws`: for the degree, the window and each input.
        degrees: (D,): degree distribution; degrees above k mean all k inputs.
        log_weights: (..., k): logarithms of selection weights, of one message or a batch of messages.
        windows: expanding windows over the inputs, or None; a symbol has at most the inputs of its window.

    Returns:
        Graph of shape (..., m, min(D, k)).
    """
    k = u.shape[-1] - 2
    places = min(len(degrees), k)
    keys = log_weights[..., None, :] + gumbel(u[:, 2:])
    if windows is not None:
        beyond = torch.arange(k) >= windows.of_symbols(u[:, 1])[:, None]
        keys = keys.masked_fill(beyond, -torch.inf)
    chosen = keys.topk(places, dim=-1)
    degree = 1 + torch.searchsorted(degrees.cumsum(0)[:-1].contiguous(), u[:, 0].contiguous(), right=True)
    used = torch.arange(places) < degree[:, None]
    return Graph(chosen.indices, used & chosen.values.isfinite())


def gumbel(u: Tensor) -> Tensor:
    """Standard Gumbel numbers by inverse transform of uniform numbers in [0, 1)."""
    return -torch.log(-torch.log(u.clamp(min=torch.finfo(u.dtype).tiny)))


def encode(graph: Graph, bits: Tensor) -> Tensor:
    """Coded symbols of input bits: the exclusive or of each symbol's neighbours.

    Args:
        graph: the code.
        bits: (..., k) integers 0 and 1.

    Returns:
        (..., m), of the dtype of `bits`.
    """
    return (neighbouring(graph, bits) * graph.used).sum(-1).remainder(2).to(bits.dtype)


def neighbouring(graph: Graph, values: Tensor) -> Tensor:
    """Value of each symbol's neighbours, (..., m, D), from those of all inputs, (..., k)."""
    rows = graph.neighbours.expand(*values.shape[:-1], *graph.neighbours.shape[-2:])
    return values.gather(-1, rows.flatten(-2)).view(rows.shape)


def summed(graph: Graph, messages: Tensor, k: int) -> Tensor:
    """Sum of the messages to each input, (..., k), from those on all edges, (..., m, D); unused places must be 0."""
    rows = graph.neighbours.expand(messages.shape)
    total = messages.new_zeros(*messages.shape[:-2], k)
    return total.scatter_add(-1, rows.flatten(-2), messages.flatten(-2))
