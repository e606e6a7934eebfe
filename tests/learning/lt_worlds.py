"""LT codes over a Gaussian channel, for tests."""

from math import log

import torch
from named_streams import NamedStreams
from torch import Tensor

from learning.fountain.degrees import capped, robust_soliton
from learning.fountain.graph import Graph, draw_graph, encode, symbol_draws
from learning.fountain.information import channel_llrs
from learning.fountain.propagation import decode

STREAMS = NamedStreams(seed=5)


def db(value: float) -> float:
    """Plain ratio of a value in dB."""
    return 10 ** (value / 10)


def soliton(k: int, max_degree: int | None = None) -> Tensor:
    """Robust soliton with c = 0.1 and delta = 0.5."""
    degrees = robust_soliton(k)
    return degrees if max_degree is None else capped(degrees, max_degree)


def graph_of(k: int, m: int, degrees: Tensor, *entity: int, log_weights: Tensor | None = None) -> Graph:
    weights = torch.zeros(k, dtype=torch.float64) if log_weights is None else log_weights
    return draw_graph(symbol_draws(STREAMS, k, m, *entity).tensor(), degrees, weights)


def graphs_of(count: int, k: int, m: int, degrees: Tensor, log_weights: Tensor | None = None) -> Graph:
    """A batch of independent graphs."""
    graphs = [graph_of(k, m, degrees, number, log_weights=log_weights) for number in range(count)]
    return Graph(*(torch.stack(part) for part in zip(*graphs, strict=True)))


def received_llrs(graph: Graph, bits: Tensor, snr: float, generator: torch.Generator) -> Tensor:
    """Channel LLRs of BPSK symbols in Gaussian noise."""
    coded = encode(graph, bits)
    noise = torch.randn(coded.shape, generator=generator, dtype=torch.float64) / snr**0.5
    return channel_llrs(1.0 - 2 * coded + noise, snr)


def flipped_priors(bits: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """LLRs of side information that is the bits, each flipped with this probability."""
    wrong = torch.rand(bits.shape, generator=generator, dtype=torch.float64) < share
    return (1.0 - 2 * (bits ^ wrong.to(bits.dtype))) * log((1 - share) / share)


def bit_error_rates(graph: Graph, k: int, snr: float, iterations: int, flipped: float = 0.5, seed: int = 0) -> Tensor:
    """Share of wrong bits of each input over the graphs of a batch, (k,); an LLR of 0 counts as half an error."""
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(0, 2, (graph.neighbours.shape[0], k), generator=generator)
    llrs = received_llrs(graph, bits, snr, generator)
    priors = flipped_priors(bits, flipped, generator)
    return errors(decode(graph, llrs, priors, iterations), bits).mean(0)


def errors(posteriors: Tensor, bits: Tensor) -> Tensor:
    """1 for a wrong bit, 1/2 for one of which nothing is known."""
    return (1 - torch.sign(posteriors) * (1.0 - 2 * bits)) / 2
