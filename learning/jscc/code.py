"""The code of NTRSCC on an image's bits: degrees, selection, and what a receiver decodes."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Interval, Le, Lt
from torch import Tensor

from learning.fountain.degrees import capped, mean_degree, robust_soliton
from learning.fountain.evolution import mean_tanh
from learning.fountain.graph import Graph, draw_graph, encode
from learning.fountain.propagation import Propagation, decode, soft_syndrome
from learning.fountain.selection import log_weights
from learning.jscc.autoencoder import Latents
from learning.jscc.perceptron import Parameters


class Reception(NamedTuple):
    """What a receiver has of n images of k bits."""

    graph: Graph
    """The code's graph, of m symbols."""
    channel: Tensor
    """(n, m): LLRs of the symbols by the channel alone."""
    llrs: Tensor
    """(n, k): LLRs of the bits."""


@dataclass(frozen=True)
class Code:
    """Physical-layer LT code on the bits of an image, or their repetition."""

    distribution: Literal["robust_soliton", "trained", "repetition"] = "robust_soliton"
    """Degrees of the symbols: robust soliton; trained with the selection weights, from the robust soliton on; or 1 of
    all, each bit in turn: uncoded bits that are repeated, without unequal protection."""
    max_symbols: Annotated[float, Gt(0), Le(100)] = 4.0
    """Coded symbols per bit, at most: a receiver hears no more of an image."""
    max_degree: Annotated[int, Ge(2)] = 30
    """Largest degree."""
    c: Annotated[float, Gt(0)] = 0.1
    """Scale of the expected number of symbols of degree one (robust soliton)."""
    delta: Annotated[float, Gt(0), Lt(1)] = 0.5
    """Bound of the probability of failure (robust soliton)."""
    exponent: Annotated[float, Interval(ge=0, le=4)] = 0.5
    """Exponent of the entropy in selection weights; 0 ignores the priors."""
    importance: bool = True
    """Whether selection weights have the learned factor."""
    side_information: bool = True
    """Whether the decoder starts with the priors that the hyper-latents give; without them all bits start unknown."""
    propagation: Propagation = Propagation()
    """Rule of the decoder's messages."""

    def symbols(self, bits: int) -> int:
        """Largest number of symbols of an image of so many bits."""
        return ceil(self.max_symbols * bits)

    def initial(self, bits: int, dtype: torch.dtype) -> Parameters:
        """Parameters of the code before training: what is added to the logarithms of the degrees' probabilities."""
        if self.distribution != "trained":
            return {}
        return {"degrees.logits": torch.zeros(len(self._soliton(bits)), dtype=dtype)}

    def degrees(self, bits: int, parameters: Parameters) -> Tensor:
        """Degree distribution, (D,) float64.

        Args:
            bits: number of bits of an image.
            parameters: those of transforms and code; of these, trained degrees depend on `degrees.logits`.
        """
        if self.distribution == "repetition":
            return torch.ones(1, dtype=torch.float64)
        if self.distribution == "trained":
            logits = parameters["degrees.logits"].double()
            return torch.softmax(self._soliton(bits).to(logits.device).log() + logits, -1)
        return self._soliton(bits)

    def mean_degree(self, bits: int) -> float:
        """Mean degree before training."""
        return float(mean_degree(self.degrees(bits, self.initial(bits, torch.float64))))

    def log_weights(self, latents: Latents) -> Tensor:
        """Logarithms of the selection weights of each image's bits, (n, k) float64; all 0 for the plain LT code."""
        priors = latents.priors.double()
        if self.distribution == "repetition":
            return torch.zeros_like(priors)
        return log_weights(priors, self.exponent, latents.importance.double() if self.importance else 0.0)

    def priors(self, latents: Latents) -> Tensor:
        """LLRs with which the decoder starts, (n, k)."""
        return latents.priors if self.side_information else torch.zeros_like(latents.priors)

    def transmit(
        self, latents: Latents, degrees: Tensor, bits: Tensor, u: Tensor, noise: Tensor, snr: Tensor, iterations: int
    ) -> Reception:
        """Send bits over a Gaussian channel and decode them.

        Args:
            latents: of n images of k bits; both ends know the priors.
            degrees: (D,): degree distribution.
            bits: (n, k) integers 0 and 1.
            u: (m, k + 2): draws of the graph, of `symbol_draws`.
            noise: (n, m): standard normal numbers.
            snr: (m,): signal-to-noise ratio at which each symbol is heard, as a plain ratio; 0 is not heard.
            iterations: iterations of belief propagation.
        """
        graph = self._graph(latents, degrees, u)
        signs = 1.0 - 2 * encode(graph, bits).to(noise.dtype)
        channel = 2 * snr * signs + 2 * snr.sqrt() * noise
        llrs = decode(graph, channel, self.priors(latents), iterations, self.propagation)
        return Reception(graph, channel, llrs)

    def syndrome(self, reception: Reception, snr: Tensor) -> Tensor:
        """Agreement of what was heard with what was decoded of it: about 1 where all bits are known, (n,).

        It is the soft syndrome over the value that it has where all bits are known, the mean of E tanh(L/2) of the
        symbols, by which the noise alone makes it smaller than 1: 0.6 at 0 dB.

        Args:
            reception: result of `transmit`.
            snr: (m,): as of `transmit`.
        """
        heard = (snr > 0).expand(reception.channel.shape)
        known = (mean_tanh(2 * snr) * (snr > 0)).sum() / (snr > 0).sum().clamp(min=1)
        return soft_syndrome(*reception, heard) / known.clamp(min=1e-9)

    def _soliton(self, bits: int) -> Tensor:
        return capped(robust_soliton(bits, self.c, self.delta), self.max_degree)

    def _graph(self, latents: Latents, degrees: Tensor, u: Tensor) -> Graph:
        if self.distribution == "repetition":
            in_turn = torch.arange(u.shape[0])[:, None] % (u.shape[1] - 2)
            return Graph(in_turn, torch.ones_like(in_turn, dtype=torch.bool))
        return draw_graph(u, degrees, self.log_weights(latents))
