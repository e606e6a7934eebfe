"""Link adaptation: a user reports what it could receive (CQI), the station picks modulation and coding (MCS).

Works on arrays, one element a user:

    cqi = report("qam64", snr, bits=8000, target=0.1)       # or snrs of the shape (users, resource blocks)
    mcs = MCS_OF_CQI["qam64"][cqi]                          # rows of MCS_TABLES["qam64"]
    offset_db = outer_loop(offset_db, failed, target=0.1)   # report() of snr times 10^(offset_db / 10)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsim.radio.nr.codes import CQI_TABLES, MCS_TABLES, CodeTable, Rows
from netsim.streams import Floats
from netsim.units import MAX_DB


def report(table: str, snr: Floats, bits: float, target: float) -> Rows:
    """The CQI, 0 to 15: the highest whose transport block of `bits` fails no more often than `target`.

    TS 38.214, 5.2.2.1. `snr` has the shape (users,), or (users, resource blocks), then seen through EESM.
    """
    known = CQI_TABLES[table]
    flat = snr.ndim == 1
    return 1 + (known.highest(snr, bits, target) if flat else known.highest_selective(snr, bits, target))


def _highest_within(mcs: CodeTable, cqi: CodeTable) -> Rows:
    """For each CQI the last MCS that is no more efficient; below the first one the first."""
    least = 1e-9 + np.concatenate([[0.0], cqi.efficiency])
    within = mcs.efficiency[None, :] <= least[:, None]
    last: Rows = np.where(within, np.arange(len(mcs.codes)), 0).max(axis=1)
    return last


MCS_OF_CQI: dict[str, Rows] = {name: _highest_within(MCS_TABLES[name], CQI_TABLES[name]) for name in MCS_TABLES}
"""Table name -> MCS for CQI 0 to 15. A user out of range (0) is sent to with MCS 0 all the same."""


def outer_loop(offset_db: Floats, failed: NDArray[np.bool_], target: float, step_db: float = 0.5) -> Floats:
    """Offsets after one more block each: down by `step_db` on a failure, up by so little on a success that the offset
    stays where the part of `target` fails (Sampath, Kumar, Holtzman 1997). No offset is beyond `MAX_DB`: where no
    block fails it would grow for ever."""
    moved: Floats = offset_db + np.where(failed, -step_db, step_db * target / (1 - target))
    return np.clip(moved, -MAX_DB, MAX_DB)
