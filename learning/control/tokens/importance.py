"""Importance of patch tokens for a token problem: as a user reports it, or equal for all patches."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from learning.control.rate import Floats
from learning.control.usable import usable


def importance_by_rank(samples: int, patches: int, report: Tensor | None = None) -> Floats:
    """(patches,): attention to the patches of a mini-batch, sorted in each sample and summed over samples by rank.

    Args:
        samples: samples of the mini-batch.
        patches: patches of a sample.
        report: (patches,): what the user reports. Without it, or where it is not usable (`learning.control.usable`),
            all patches are assumed to get the same attention, which sums to one for each sample.
    """
    if report is None or not usable(report):
        return np.full(patches, samples / patches)
    return report.numpy().astype(float)
