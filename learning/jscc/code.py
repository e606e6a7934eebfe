"""The rateless code of NTRSCC: degrees, selection, and what a receiver decodes of an image's bits."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Interval, Le, Lt
from torch import Tensor

from learning.fountain.degrees import capped, mean_degree, robust_soliton
from learning.fountain.evolution import mean_tanh
from learning.fountain.graph import Graph, draw_graph, encode
from learning.fountain.propagation import Propagation, decode, soft_syndrome
from learning.fountain.selection import log_weights
from learning.jscc.autoencoder import Latents


@dataclass(frozen=True)
class Code:
    """Physical-layer LT code on the bits of an image."""

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

    def degrees(self, bits: int) -> Tensor:
        """Degree distribution, (D,) float64."""
        return capped(robust_soliton(bits, self.c, self.delta), self.max_degree)

    def mean_degree(self, bits: int) -> float:
        """Mean degree."""
        return float(mean_degree(self.degrees(bits)))

    def edges(self, symbols: int, bits: int) -> int:
        """Edges of so many symbols of an image of so many bits, on average, rounded up."""
        return ceil(symbols * self.mean_degree(bits))

    def log_weights(self, latents: Latents) -> Tensor:
        """Logarithms of the selection weights of each image's bits, (n, k) float64; all 0 for the plain LT code."""
        priors = latents.priors.double()
        return log_weights(priors, self.exponent, latents.importance.double() if self.importance else 0.0)

    def priors(self, latents: Latents) -> Tensor:
        """LLRs with which the decoder starts, (n, k)."""
        return latents.priors if self.side_information else torch.zeros_like(latents.priors)

    def transmit(
        self, latents: Latents, bits: Tensor, u: Tensor, noise: Tensor, snr: Tensor, iterations: int
    ) -> Tensor:
        """Send bits over a Gaussian channel and decode them.

        Args:
            latents: of n images of k bits; both ends know the priors.
            bits: (n, k) integers 0 and 1.
            u: (m, k + 2): draws of the graph, of `symbol_draws`.
            noise: (n, m): standard normal numbers.
            snr: (m,): signal-to-noise ratio at which each symbol is heard, as a plain ratio; 0 is not heard.
            iterations: iterations of belief propagation.

        Returns:
            (n, k): LLRs of the bits.
        """
        graph = self._graph(latents, u)
        llrs = self._heard(graph, bits, noise, snr)
        return decode(graph, llrs, self.priors(latents), iterations, self.propagation)

    def syndrome(
        self, latents: Latents, bits: Tensor, u: Tensor, noise: Tensor, snr: Tensor, decoded: Tensor
    ) -> Tensor:
        """Agreement of what was heard with what was decoded of it: about 1 where all bits are known, (n,).

        It is the soft syndrome over the value that it has where all bits are known, the mean of E tanh(L/2) of the
        symbols, by which the noise alone makes it smaller than 1: 0.6 at 0 dB.

        Args:
            latents: as of `transmit`; so are `bits`, `u`, `noise` and `snr`.
            bits: (n, k).
            u: (m, k + 2).
            noise: (n, m).
            snr: (m,).
            decoded: (n, k): LLRs that `transmit` has returned.
        """
        graph = self._graph(latents, u)
        heard = (snr > 0).expand(noise.shape)
        known = (mean_tanh(2 * snr) * (snr > 0)).sum() / (snr > 0).sum().clamp(min=1)
        found = soft_syndrome(graph, self._heard(graph, bits, noise, snr), decoded, heard)
        return found / known.clamp(min=1e-9)

    @staticmethod
    def _heard(graph: Graph, bits: Tensor, noise: Tensor, snr: Tensor) -> Tensor:
        """LLRs of the coded symbols, (n, m)."""
        signs = 1.0 - 2 * encode(graph, bits).to(noise.dtype)
        return 2 * snr * signs + 2 * snr.sqrt() * noise

    def _graph(self, latents: Latents, u: Tensor) -> Graph:
        return draw_graph(u, self.degrees(u.shape[-1] - 2), self.log_weights(latents))
