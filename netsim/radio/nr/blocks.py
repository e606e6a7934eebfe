"""One transport block in a given number of symbols: how large it can be, and how often it fails.

Modulation and coding schemes are those of TS 38.214, table 5.1.3.1-1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsim.radio.nr.codes import MCS_TABLES
from netsim.radio.nr.transport import transport_block_bits
from netsim.streams import Floats

TABLE = MCS_TABLES["qam64"]
ROWS = np.arange(len(TABLE.codes))


def block_bits(symbols: int, snr: float, error_rate: float) -> int:
    """Size in bits of the largest transport block that fails no more often than this; 0 if there is none.

    Args:
        symbols: real symbols; two of them are one resource element.
        snr: signal-to-noise ratio of a resource element, as a plain ratio.
        error_rate: allowed probability of failure.
    """
    sizes = _sizes(symbols)
    good = TABLE.error_rate(ROWS, np.full(len(ROWS), snr), sizes) <= error_rate
    return int(np.where(good, sizes, 0).max())


def block_error_rate(bits: int, snr: NDArray[np.float64]) -> float:
    """Probability that a message fails, with the most robust scheme whose transport block carries it.

    Args:
        bits: size of the message, which is padded to the block.
        snr: (symbols,): plain ratio of each real symbol; 0 is not heard. The block sees the effective ratio (EESM).

    Returns:
        The probability; 1 if no block is so large.
    """
    carrying = np.flatnonzero(_sizes(len(snr)) >= bits)
    if not len(carrying):
        return 1.0
    row = carrying[:1]
    effective = TABLE.effective_snr(row, snr[None])
    return float(TABLE.error_rate(row, effective, _sizes(len(snr))[row])[0])


def _sizes(symbols: int) -> Floats:
    """Bits of the transport block of each scheme."""
    return transport_block_bits(np.full(len(ROWS), symbols / 2), TABLE.modulation_order, TABLE.code_rate)
