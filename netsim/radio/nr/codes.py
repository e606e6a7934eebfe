"""Modulation and coding schemes: the tables of TS 38.214, and what each entry does at a signal-to-noise ratio.

Everything works on arrays, one element a user (or a fading block): `index` are rows of a table, `snr` plain ratios.

    table = MCS_TABLES["qam64"]
    chosen = table.highest(snr, bits=8000, target=0.1)      # rows; -1 where even the first fails too often
    lost = table.error_rate(chosen, snr, bits=8000)         # probability that the transport block fails
    flat = table.effective_snr(chosen, snrs)                # (users, resource blocks) -> (users,)
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netsim.radio.nr.effective_snr import beta, effective_snr
from netsim.radio.nr.error_rate import Code, at_size, curve, error_rate
from netsim.radio.nr.transport import code_blocks
from netsim.streams import Floats

Rows = NDArray[np.int64]


class CodeTable:
    """Codes in order of their efficiency. Compared by identity: there is one object for each table of the standard."""

    def __init__(self, codes: list[Code]) -> None:
        self.codes = codes
        self.modulation_order = np.array([order for order, _ in codes])
        """Bits a symbol."""
        self.code_rate = np.array([rate / 1024 for _, rate in codes])
        """Information bits over coded bits."""
        self.efficiency = self.modulation_order * self.code_rate
        """Information bits a symbol."""
        self.beta = np.array([beta(code) for code in codes])
        """Of the exponential effective signal-to-noise ratio."""

    @cached_property
    def _counted(self) -> Floats:
        return np.array([curve(code) for code in self.codes])

    def error_rate(self, index: ArrayLike, snr: ArrayLike, bits: ArrayLike) -> Floats:
        """Probability that a transport block of these bits fails, once sent: any of its code blocks does."""
        return error_rate(np.asarray(snr, dtype=np.float64), *self.curves(index, bits))

    def curves(self, index: ArrayLike, bits: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Threshold and width in dB of the curve of the code blocks of transport blocks of these bits; their number."""
        rows = np.asarray(index)
        count, size = code_blocks(bits, self.code_rate[rows])
        size = np.broadcast_to(size, np.broadcast_shapes(size.shape, rows.shape))
        threshold_db, width_db = at_size(self._counted[rows], size)
        return threshold_db, width_db, count

    def effective_snr(self, index: ArrayLike, snrs: Floats) -> Floats:
        """The flat signal-to-noise ratio that is as good as `snrs` (..., resource blocks): EESM of each row's beta."""
        return effective_snr(snrs, self.beta[np.asarray(index)])

    def highest(self, snr: Floats, bits: float, target: float) -> Rows:
        """The highest row that fails no more often than `target`, -1 where none does.

        `snr` is flat over frequency, of any shape.
        """
        return np.searchsorted(self.needed(bits, target), snr, side="right") - 1

    def highest_selective(self, snrs: Floats, bits: float, target: float) -> Rows:
        """As `highest`, for `snrs` of the shape (..., resource blocks): each row sees its own effective ratio."""
        flat = snrs.reshape(-1, snrs.shape[-1])
        needed = self.needed(bits, target)
        chosen = self.highest(flat.mean(axis=1), bits, target)  # no effective ratio is above the mean
        falling = np.flatnonzero(chosen >= 0)
        while len(falling):
            short = self.effective_snr(chosen[falling], flat[falling]) < needed[chosen[falling]]
            chosen[falling[short]] -= 1
            falling = falling[short & (chosen[falling] >= 0)]
        return chosen.reshape(snrs.shape[:-1])

    @lru_cache(maxsize=64)  # noqa: B019  the tables live as long as the program
    def needed(self, bits: float, target: float) -> Floats:
        """The ratio at which each row, or one above it, fails no more often than `target`; rising."""
        low, high = np.full(len(self.codes), 1e-4), np.full(len(self.codes), 1e5)
        rows = np.arange(len(self.codes))
        for _ in range(60):
            middle = np.sqrt(low * high)
            good = self.error_rate(rows, middle, bits) <= target
            low, high = np.where(good, low, middle), np.where(good, middle, high)
        return np.minimum.accumulate(high[::-1])[::-1]


def _codes(*groups: tuple[int, tuple[float, ...]]) -> CodeTable:
    return CodeTable([(order, rate) for order, rates in groups for rate in rates])


MCS_TABLES: dict[str, CodeTable] = {
    "qam64": _codes(  # TS 38.214 table 5.1.3.1-1
        (2, (120, 157, 193, 251, 308, 379, 449, 526, 602, 679)),
        (4, (340, 378, 434, 490, 553, 616, 658)),
        (6, (438, 466, 517, 567, 616, 666, 719, 772, 822, 873, 910, 948)),
    ),
    "qam256": _codes(  # TS 38.214 table 5.1.3.1-2
        (2, (120, 193, 308, 449, 602)),
        (4, (378, 434, 490, 553, 616, 658)),
        (6, (466, 517, 567, 616, 666, 719, 772, 822, 873)),
        (8, (682.5, 711, 754, 797, 841, 885, 916.5, 948)),
    ),
    "qam64_low_se": _codes(  # TS 38.214 table 5.1.3.1-3
        (2, (30, 40, 50, 64, 78, 99, 120, 157, 193, 251, 308, 379, 449, 526, 602)),
        (4, (340, 378, 434, 490, 553, 616)),
        (6, (438, 466, 517, 567, 616, 666, 719, 772)),
    ),
}
"""Row k is MCS k, without the reserved ones; the names are those of the field mcs-Table (TS 38.331)."""

CQI_TABLES: dict[str, CodeTable] = {
    "qam64": _codes(  # TS 38.214 table 5.2.2.1-2
        (2, (78, 120, 193, 308, 449, 602)), (4, (378, 490, 616)), (6, (466, 567, 666, 772, 873, 948))
    ),
    "qam256": _codes(  # TS 38.214 table 5.2.2.1-3
        (2, (78, 193, 449)), (4, (378, 490, 616)), (6, (466, 567, 666, 772, 873)), (8, (711, 797, 885, 948))
    ),
    "qam64_low_se": _codes(  # TS 38.214 table 5.2.2.1-4
        (2, (30, 50, 78, 120, 193, 308, 449, 602)), (4, (378, 490, 616)), (6, (466, 567, 666, 772))
    ),
}
"""Row k is CQI k + 1; CQI 0 says that the user is out of range."""
