"""Which inputs a coded symbol combines: weights and windows for unequal error protection.

Weights depend on side information that both ends have, so that no bits describe the graph. Expanding windows:
Sejdinovic et al., Expanding window fountain codes for unequal error protection, IEEE Transactions on Communications
57(9), 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from learning.fountain.information import entropy_bits

FLOOR = 1e-3
"""Added to the entropy of a bit, so that a bit that is known for certain keeps a weight."""


def log_weights(priors: Tensor, exponent: float = 0.5, importance: Tensor | float = 0.0) -> Tensor:
    """Logarithms of selection weights (FLOOR + H(p_i))^exponent exp(importance_i), of mean one over the inputs.

    Bits that the prior already knows get few edges. With exponent 0 and importance 0 all logarithms are exactly 0,
    the plain LT code.

    Args:
        priors: (..., k): prior LLRs of the input bits.
        exponent: exponent of the entropy; 0 ignores the priors.
        importance: logarithm of a further factor, (..., k) or 0.

    Returns:
        (..., k).
    """
    logarithms = exponent * torch.log(FLOOR + entropy_bits(torch.sigmoid(-priors))) + importance
    return logarithms - torch.log(logarithms.exp().mean(-1, keepdim=True))


@dataclass(frozen=True)
class Windows:
    """Expanding windows: a coded symbol combines inputs of one window, the first `sizes[w]` in order of importance.

    Raises ValueError unless sizes increase and there is a positive probability for each, which sum to one.
    """

    sizes: tuple[int, ...]
    """Inputs in each window, from the most important ones to all."""
    probabilities: tuple[float, ...]
    """Probability with which a symbol uses each window."""

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.probabilities) or not self.sizes:
            raise ValueError(f"windows: {len(self.sizes)} sizes and {len(self.probabilities)} probabilities are given")
        if self.sizes[0] < 1 or any(larger <= smaller for smaller, larger in pairwise(self.sizes)):
            raise ValueError(f"windows: sizes must increase from 1 or more, not {list(self.sizes)}")
        if min(self.probabilities) <= 0 or abs(sum(self.probabilities) - 1) > 1e-9:
            raise ValueError(f"windows: probabilities must be positive and sum to 1, not {list(self.probabilities)}")

    def of_symbols(self, u: Tensor) -> Tensor:
        """Window size of each symbol, (m,) integers, by uniform numbers (m,) in [0, 1)."""
        bounds = torch.tensor(self.probabilities, dtype=u.dtype).cumsum(0)[:-1]
        return torch.tensor(self.sizes)[torch.searchsorted(bounds, u.contiguous(), right=True)]
