"""Block error rates of LDPC codes over white noise: normal curves in dB, interpolated in the size of the code block.

`awgn.csv` holds, for each modulation and code rate, the signal-to-noise ratio of a symbol at which half of the code
blocks fail, and the width of the fall: the block error rate is Q((SNR - threshold) / width), both in dB. They are
fitted to counts of the project's own Monte Carlo (`benchmarks/block_errors`): QAM, a-posteriori demapping, 20
iterations of belief propagation. A curve is within 0.17 dB of the counts between 1 % and 90 % (median 0.03 dB); below
1 % it is the curve continued, without an error floor. At 40 bits, the code block of the smallest transport block, it is
within 0.25 dB.

Rules where nothing was counted:
- between and beyond sizes, the threshold is linear in bits^-1/2 and the logarithm of the width in that of the bits, as
  the normal approximation has it (Polyanskiy, Poor, Verdu 2010);
- a code block of 8,424 bits has its threshold 0.065 dB above, and 0.375 of the width, of one of 1,000 bits: the means
  of the five codes that were counted at both sizes (thresholds 0.03 to 0.11 dB, widths 0.36 to 0.41);
- a code block of 40 bits has its threshold 0.066 dB below, and 1.416 of the width, of one of 100 bits: the means of the
  35 codes that were counted at both (thresholds -1.1 to 0.4 dB, lowest at the highest code rates); at code rate
  948/1024 no code of so few bits can be decoded;
- below the lowest code rate the code is repeated: the threshold falls by the ratio of the rates.
"""

from __future__ import annotations

import csv
from functools import cache
from math import log10
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from netsim.streams import Floats

CURVES = Path(__file__).parent / "awgn.csv"
SIZES = (40, 100, 1000, 8424)
"""Bits of the code blocks that were counted; the least carries the smallest transport block, of 24 bits."""
SMALL_SHIFT_DB, SMALL_WIDTH = -0.066, 1.416
LARGE_SHIFT_DB, LARGE_WIDTH = 0.065, 0.375
Code = tuple[int, float]
"""Bits a symbol, and code rate times 1024."""


@cache
def counted() -> dict[Code, dict[int, tuple[float, float]]]:
    """Code -> size of the code block -> threshold and width in dB."""
    found: dict[Code, dict[int, tuple[float, float]]] = {}
    with CURVES.open() as lines:
        for row in csv.DictReader(lines):
            code = int(row["modulation_order"]), float(row["code_rate_x1024"])
            sizes = found.setdefault(code, {})
            sizes[int(row["code_block_bits"])] = float(row["threshold_db"]), float(row["width_db"])
    return found


def curve(code: Code) -> Floats:
    """Thresholds and widths in dB (two rows) at the four sizes.

    Raises ValueError if nothing is known of the code.
    """
    order, rate = code
    lowest = min(known for same, known in counted() if same == order)
    sizes = counted().get((order, max(rate, lowest)))
    if sizes is None:
        raise ValueError(f"no block errors were counted at {order} bits a symbol and code rate {rate:g}/1024")
    short, long = sizes[100], sizes[1000]
    least = sizes.get(40, (short[0] + SMALL_SHIFT_DB, short[1] * SMALL_WIDTH))
    large = sizes.get(8424, (long[0] + LARGE_SHIFT_DB, long[1] * LARGE_WIDTH))
    repeated_db = min(0.0, 10 * log10(rate / lowest))
    counted_db = np.array([least, short, long, large]).T
    return np.asarray(counted_db + np.array([[repeated_db], [0.0]]))


def at_size(curves: Floats, bits: Floats) -> tuple[Floats, Floats]:
    """Thresholds and widths in dB of code blocks of these sizes; `curves` has the shape (..., 2, 4) of `curve`."""
    below, above = bits < SIZES[1], bits > SIZES[2]
    low = np.where(below, SIZES[0], np.where(above, SIZES[2], SIZES[1]))
    high = np.where(below, SIZES[1], np.where(above, SIZES[3], SIZES[2]))
    shorter, longer = below[..., None], above[..., None]
    left = np.where(shorter, curves[..., 0], np.where(longer, curves[..., 2], curves[..., 1]))
    right = np.where(shorter, curves[..., 1], np.where(longer, curves[..., 3], curves[..., 2]))
    along = (low**-0.5 - bits**-0.5) / (low**-0.5 - high**-0.5)
    threshold_db = left[..., 0] + along * (right[..., 0] - left[..., 0])
    steepness = np.log(bits / low) / np.log(high / low)
    width_db = left[..., 1] * (right[..., 1] / left[..., 1]) ** steepness
    return threshold_db, width_db


def error_rate(snr: Floats, threshold_db: Floats, width_db: Floats, count: Floats | float = 1.0) -> Floats:
    """Probability that any of `count` code blocks fails at a signal-to-noise ratio (a plain ratio)."""
    with np.errstate(divide="ignore"):  # nothing received: minus infinity decibels, and certain failure
        failure = ndtr((threshold_db - 10 * np.log10(snr)) / width_db)
        return np.asarray(-np.expm1(count * np.log1p(-failure)), dtype=np.float64)
