"""Degree distributions of LT codes. [Luby, LT codes, FOCS 2002]"""

from __future__ import annotations

from math import log, sqrt

import torch
from torch import Tensor


def ideal_soliton(k: int) -> Tensor:
    """Degree distribution by which, in expectation, each recovered input reveals the next: 1/k, then 1/(d(d-1)).

    Args:
        k: number of input bits, at least 1.

    Returns:
        (k,) float64.
    """
    d = torch.arange(1, k + 1, dtype=torch.float64)
    rho = 1 / (d * (d - 1))
    rho[0] = 1 / k
    return rho


def robust_soliton(k: int, c: float = 0.1, delta: float = 0.5) -> Tensor:
    """Ideal soliton with more mass on small degrees and on degree k/R, so that peeling rarely stops early.

    With R = c ln(k/delta) sqrt(k) expected symbols of degree one, about k Z received symbols suffice on an erasure
    channel with probability 1 - delta; Z is the sum before normalisation.

    Args:
        k: number of input bits, at least 1.
        c: positive scale of R.
        delta: bound of the probability of failure, in (0, 1).

    Returns:
        (k,) float64. Raises ValueError if c or delta is out of range.
    """
    unnormalised = _unnormalised(k, c, delta)
    return unnormalised / unnormalised.sum()


def soliton_overhead(k: int, c: float = 0.1, delta: float = 0.5) -> float:
    """Received symbols per input bit with which peeling succeeds with probability 1 - delta: Z of `robust_soliton`."""
    return float(_unnormalised(k, c, delta).sum())


def _unnormalised(k: int, c: float, delta: float) -> Tensor:
    if not c > 0 or not 0 < delta < 1:
        raise ValueError(f"robust soliton: c must be positive and delta between 0 and 1, not {c:g} and {delta:g}")
    ripple = c * log(k / delta) * sqrt(k)
    spike = min(max(round(k / ripple), 1), k)
    tau = torch.zeros(k, dtype=torch.float64)
    tau[: spike - 1] = ripple / (k * torch.arange(1, spike, dtype=torch.float64))
    tau[spike - 1] = max(ripple * log(ripple / delta) / k, 0.0)
    return ideal_soliton(k) + tau


def capped(degrees: Tensor, max_degree: int) -> Tensor:
    """A degree distribution without degrees above `max_degree`, normalised: noise adds up over many neighbours."""
    kept = degrees[:max_degree]
    return kept / kept.sum()


def without_degree_one(degrees: Tensor) -> Tensor:
    """A degree distribution without degree 1, normalised; belief propagation then needs priors to begin."""
    rest = degrees.clone()
    rest[0] = 0
    return rest / rest.sum()


def mean_degree(degrees: Tensor) -> Tensor:
    """Mean number of neighbours of a symbol, a scalar."""
    return degrees @ _numbers(degrees)


def edge_degrees(degrees: Tensor) -> Tensor:
    """Distribution of the degree of the symbol at a random edge, (D,): d Omega_d over the mean degree."""
    return degrees * _numbers(degrees) / mean_degree(degrees)


def _numbers(degrees: Tensor) -> Tensor:
    """Degrees 1 to D, (D,), as floating-point numbers."""
    return torch.arange(1, len(degrees) + 1, dtype=degrees.dtype, device=degrees.device)
