"""Curves over the seeds of an arm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

POINTS = 120
"""Positions at which a curve is told."""


def over_seeds(histories: Sequence[pd.DataFrame], along: str = "time_s") -> pd.DataFrame:
    """`mean`, `least` and `greatest` of `value` over several seeds' histories, by the quantity `along` (increasing).

    From the last first evaluation to the first last one, so that every seed has a value; empty where there is no such
    span. Between evaluations values are interpolated; those that are not finite are left out.
    """
    finite = [history[np.isfinite(history["value"].astype(float))] for history in histories]
    ordered = [history.sort_values(along) for history in finite if len(history)]
    start = max((history[along].iloc[0] for history in ordered), default=0.0)
    end = min((history[along].iloc[-1] for history in ordered), default=-1.0)
    if end < start:
        return pd.DataFrame(columns=["mean", "least", "greatest"])
    positions = np.linspace(start, end, POINTS)
    each = np.array([np.interp(positions, history[along], history["value"]) for history in ordered])
    spanned = {"mean": each.mean(axis=0), "least": each.min(axis=0), "greatest": each.max(axis=0)}
    return pd.DataFrame(spanned, index=positions)
