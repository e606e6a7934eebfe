"""Fit a curve to the block errors of each code, and write netsim/radio/nr/awgn.csv.

The block error rate is Q((SNR - threshold) / width) in dB, which is the normal approximation of coding near the
threshold, fitted by maximum likelihood.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_ndtr

COUNTS = Path(__file__).parent / "counts.csv"
CURVES = Path(__file__).parents[2] / "netsim" / "radio" / "nr" / "awgn.csv"
Code = tuple[int, float, int]
"""Modulation order, code rate times 1024, bits of a code block."""


def counts() -> dict[Code, np.ndarray]:
    """Read the counts of each code: rows of SNR in dB, blocks in error, and blocks, shape (points, 3)."""
    found: dict[Code, list[tuple[float, float, float]]] = defaultdict(list)
    with COUNTS.open() as lines:
        for row in csv.DictReader(line for line in lines if not line.startswith("#")):
            code = int(row["modulation_order"]), float(row["code_rate_x1024"]), int(row["code_block_bits"])
            found[code].append((float(row["snr_db"]), float(row["errors"]), float(row["blocks"])))
    return {code: np.array(rows) for code, rows in sorted(found.items())}


def fit(points: np.ndarray) -> tuple[float, float]:
    """Fit a curve to the counts of a code, shape (points, 3).

    Returns:
        Threshold, at which the block error rate is 1/2, and width, in dB.
    """
    snr_db, errors, blocks = points.T

    def unlikely(parameters: np.ndarray) -> float:
        score = (snr_db - parameters[0]) / np.exp(parameters[1])
        return -float(errors @ log_ndtr(-score) + (blocks - errors) @ log_ndtr(score))

    best = minimize(unlikely, [snr_db.mean() - 0.1, np.log(np.ptp(snr_db) / 3)], method="Nelder-Mead", tol=1e-9)
    return float(best.x[0]), float(np.exp(best.x[1]))


def main() -> None:
    with CURVES.open("w") as out:
        out.write("modulation_order,code_rate_x1024,code_block_bits,threshold_db,width_db\n")
        for (order, rate, bits), points in counts().items():
            threshold_db, width_db = fit(points)
            out.write(f"{order},{rate:g},{bits},{threshold_db:.3f},{width_db:.4f}\n")


if __name__ == "__main__":
    main()
