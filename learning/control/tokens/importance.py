"""The importance of patch tokens to a token problem: as a user reports it, or equal for all patches."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from learning.control.rate import Floats
from learning.control.usable import usable


def importance_by_rank(samples: int, patches: int, report: Tensor | None = None) -> Floats:
    """(patches,): attention that a mini-batch of so many samples pays to its patches, largest first, summed by rank.

    That is the `report` of the user, (patches,). Without one, or where it is not usable (`learning.control.usable`),
    all patches are taken to get the same attention, which sums to one for each sample.
    """
    if report is None or not usable(report):
        return np.full(patches, samples / patches)
    return report.numpy().astype(float)
