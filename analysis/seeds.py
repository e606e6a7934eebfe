"""Mean and range of a curve over the seeds of an arm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

POINTS = 120
"""Number of points of a curve."""


def over_seeds(histories: Sequence[pd.DataFrame], along: str = "time_s") -> pd.DataFrame:
    """Return mean and range over seeds of a value that is interpolated linearly between evaluations.

    Args:
        histories: evaluations of each seed, with the columns `value` and `along`; values that are not finite are
            ignored.
        along: name of the column of the x axis, which increases over a run.

    Returns:
        Columns mean, min and max, indexed by `along`, from the latest first evaluation of a seed to the earliest last
        one, so that all seeds have a value; empty if there is no such span.
    """
    finite = [history[np.isfinite(history["value"].astype(float))] for history in histories]
    ordered = [history.sort_values(along) for history in finite if len(history)]
    start = max((history[along].iloc[0] for history in ordered), default=0.0)
    end = min((history[along].iloc[-1] for history in ordered), default=-1.0)
    if end < start:
        return pd.DataFrame(columns=["mean", "min", "max"])
    positions = np.linspace(start, end, POINTS)
    each = np.array([np.interp(positions, history[along], history["value"]) for history in ordered])
    spanned = {"mean": each.mean(axis=0), "min": each.min(axis=0), "max": each.max(axis=0)}
    return pd.DataFrame(spanned, index=positions)
