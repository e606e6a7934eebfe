"""The rateless code of NTRSCC: degrees, selection, and what a receiver decodes of an image's bits."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Interval, Le, Lt
from torch import Tensor

from learning.fountain.degrees import capped, mean_degree, robust_soliton
from learning.fountain.graph import Graph, draw_graph, encode
from learning.fountain.propagation import Propagation, decode
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
        signs = 1.0 - 2 * encode(graph, bits).to(noise.dtype)
        llrs = 2 * snr * signs + 2 * snr.sqrt() * noise
        return decode(graph, llrs, self.priors(latents), iterations, self.propagation)

    def _graph(self, latents: Latents, u: Tensor) -> Graph:
        return draw_graph(u, self.degrees(u.shape[-1] - 2), self.log_weights(latents))
