"""What 5G NR's modulation and coding make of a channel, on average over its block errors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from netsim.radio.nr.adaptation import MCS_OF_CQI, report
from netsim.radio.nr.codes import MCS_TABLES
from netsim.radio.nr.harq import outcome
from netsim.radio.rate.law import least
from netsim.streams import Floats


@dataclass(frozen=True)
class AdaptiveModulation:
    """Rate of 5G NR: modulation and coding by the user's report, block errors, retransmissions that are combined.

    In each fading block the sender uses the scheme that the receiver's report allows, and gets through what is left of
    it on average: efficiency * (1 - loss) / (mean number of transmissions). The copies of a block see the same fading;
    what is lost after the last of them is sent anew. Curves and tables: `netsim/radio/nr`.
    """

    table: Literal["qam64", "qam256", "qam64_low_se"] = "qam64"
    """Tables of schemes and of reports: TS 38.214 5.1.3.1-1/-2/-3 and 5.2.2.1-2/-3/-4."""
    target_error_rate: Annotated[float, Gt(0), Lt(1)] = 0.1
    """Part of the first transmissions that the reported scheme may lose (TS 38.214, 5.2.2.1: 0.1, low SE 1e-5)."""
    block_bits: Annotated[int, Ge(24), Le(1_000_000)] = 8000
    """Bits of a transport block (our choice: one slot of 1 ms at 8 Mbit/s)."""
    cqi_delay_blocks: Annotated[int, Ge(0)] = 0
    """How many fading blocks old the report is; 0 means the station knows the channel as it is."""
    attempts: Annotated[int, Ge(1), Le(16)] = 4
    """Transmissions of a block at most, the first included (our choice); 1 is no retransmission."""
    overhead: Annotated[float, Ge(0), Lt(1)] = 0.14
    """Part of the symbols that carry no data (TS 38.306, 4.1.2, below 6 GHz: downlink 0.14, uplink 0.08)."""

    @property
    def delay_blocks(self) -> int:
        return self.cqi_delay_blocks

    @cached_property
    def min_snr(self) -> float:
        """Where the most robust scheme fails for certain, to the last digit, with all its copies."""
        codes = MCS_TABLES[self.table]
        rows = np.arange(len(codes.codes))
        return least(lambda snr: bool((codes.error_rate(rows, self.attempts * snr, self.block_bits) < 1).any()))

    def efficiency(self, snr: Floats) -> Floats:
        known, true = snr[: len(snr) - self.cqi_delay_blocks], snr[self.cqi_delay_blocks :]
        codes = MCS_TABLES[self.table]
        mcs = MCS_OF_CQI[self.table][report(self.table, known, self.block_bits, self.target_error_rate)]
        flat = true if true.ndim == 1 else codes.effective_snr(mcs, true)
        copies = np.arange(1, self.attempts + 1)[:, None]
        sent, lost = outcome(codes.error_rate(mcs, copies * flat, self.block_bits))
        goodput: Floats = (1 - self.overhead) * codes.efficiency[mcs] * (1 - lost) / sent
        return goodput
