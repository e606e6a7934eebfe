"""Tie-breaking among experts of equal saving: by the largest saving for tokens that wait for one of them alone."""

from __future__ import annotations

import numpy as np

from learning.control.placement.problem import Floats, PlacementProblem

TIE = 1e-9
"""Weight of the potential relative to the saving: savings that differ by less than a billionth of the latency without
caches count as equal."""


def potential_s(problem: PlacementProblem) -> Floats:
    """Potential of every expert, as long as no server caches it:

        pi(l, e) = sum_u lambda_u p_u(l, e) max(t_u(l, e; 0) - min_n tau_u(n), 0)

    Where K >= 2 experts are activated together, one of them alone saves nothing. A server that cannot cache all experts
    of any activation would choose at random, and the next one could not complete its choice; with potentials it takes
    those that are activated often, and that no other server has.

    Returns:
        (layers, experts): `TIE` times pi, in s.
    """
    room_s = np.maximum(problem.uncached_s - problem.server_s.min(axis=1)[:, None, None], 0.0)
    return np.asarray(TIE * (problem.marginals() * room_s).sum(axis=0))
