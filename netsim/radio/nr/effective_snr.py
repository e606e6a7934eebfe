"""One signal-to-noise ratio for many: the exponential effective one, -beta ln(mean(exp(-SNR / beta))) (EESM)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from netsim.streams import Floats

BETAS: dict[int, dict[float, float]] = {
    2: {120: 1.6, 157: 1.61, 193: 1.63, 251: 1.65, 308: 1.67, 379: 1.7, 449: 1.73, 526: 1.76, 602: 1.79, 679: 1.82},
    4: {340: 3.97, 378: 4.27, 434: 4.71, 490: 5.16, 553: 5.66, 616: 6.16, 658: 6.5},
    6: {438: 9.95, 466: 10.97, 517: 12.92, 567: 14.96, 616: 17.06, 666: 19.33, 719: 21.85, 772: 24.51, 822: 27.14,
        873: 29.94, 910: 32.05, 948: 34.28},
    8: {682.5: 56.48, 711: 65.0, 754: 78.58, 797: 92.48, 841: 106.27, 885: 118.74, 916.5: 126.36, 948: 132.54},
}  # fmt: skip
"""Bits a symbol -> code rate times 1024 -> beta. Lagen, Wanuga, Elkotby, Goyal, Patriciello, Giupponi, New radio
physical layer abstraction for system-level simulations of 5G networks, IEEE ICC 2020, for MCS tables 1 and 2."""


def beta(code: tuple[int, float]) -> float:
    """That of bits a symbol and code rate times 1024; below the lowest rate, where the code is repeated, the lowest's.

    Raises KeyError if there is none.
    """
    order, rate = code
    known = BETAS[order]
    return known[max(rate, min(known))]


def effective_snr(snrs: Floats, beta: ArrayLike) -> Floats:
    """Of plain ratios in the shape (..., resource blocks); `beta` goes with what is left, (...)."""
    scaled = snrs / np.asarray(beta, dtype=np.float64)[..., None]
    least = scaled.min(axis=-1, keepdims=True)  # taken out first, so that no exponential vanishes
    spread = np.log(np.exp(least - scaled).mean(axis=-1))
    effective: Floats = beta * (least[..., 0] - spread)
    return effective
