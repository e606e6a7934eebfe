"""Peeling: decoding of an LT code without noise, as on an erasure channel. [Luby, LT codes, FOCS 2002]"""

from __future__ import annotations

import torch
from torch import Tensor

from learning.fountain.graph import Graph, neighbouring, summed


def peel(graph: Graph, symbols: Tensor, k: int, received: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Reveal input bits by symbols of which all other neighbours are revealed, until no such symbol is left.

    Args:
        graph: the code, m symbols.
        symbols: (..., m) integers 0 and 1; values of symbols that are not received mean nothing.
        k: number of input bits.
        received: (..., m) bool: the symbols of each receiver, which may have received different ones (default: all).

    Returns:
        Bits, and whether each is revealed, both (..., k); a bit that is not revealed is 0.
    """
    bits = symbols.new_zeros(*symbols.shape[:-1], k)
    known = torch.zeros_like(bits, dtype=torch.bool)
    heard = torch.ones_like(symbols, dtype=torch.bool) if received is None else received
    while True:
        hidden = graph.used & ~neighbouring(graph, known)
        last = hidden & (heard & (hidden.sum(-1) == 1))[..., None]  # the one neighbour that a symbol reveals
        if not last.any():
            return bits, known
        value = (symbols + (neighbouring(graph, bits) * graph.used).sum(-1)).remainder(2)
        votes = summed(graph, last.to(symbols.dtype), k)
        ones = summed(graph, last * value[..., None], k)
        bits = torch.where(votes > 0, (ones > 0).to(bits.dtype), bits)  # symbols without errors agree
        known = known | (votes > 0)
