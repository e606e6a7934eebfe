"""Rate of 5G NR's adaptive modulation and coding, averaged over block errors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval, Le, Lt

from netsim.radio.nr.adaptation import MCS_OF_CQI, report
from netsim.radio.nr.codes import MCS_TABLES
from netsim.radio.nr.harq import outcome
from netsim.radio.rate.law import least
from netsim.streams import Floats


@dataclass(frozen=True)
class AdaptiveModulation:
    """Rate of 5G NR: adaptive modulation and coding by CQI, with block errors and HARQ with chase combining.

    In each fading block the sender uses the MCS that the receiver's CQI allows; the goodput is efficiency * (1 - loss)
    / (mean number of transmissions). The copies of a block have the same fading; a block that is lost after the last
    copy is sent again. Curves and tables: `netsim/radio/nr`.
    """

    table: Literal["qam64", "qam256", "qam64_low_se"] = "qam64"
    """MCS and CQI tables: TS 38.214 5.1.3.1-1/-2/-3 and 5.2.2.1-2/-3/-4."""
    target_error_rate: Annotated[float, Gt(0), Lt(1)] = 0.1
    """Target block error rate of first transmissions by the reported CQI (TS 38.214, 5.2.2.1: 0.1, low SE 1e-5)."""
    block_bits: Annotated[int, Ge(24), Le(1_000_000)] = 8000
    """Size of a transport block in bits (our choice: one slot of 1 ms at 8 Mbit/s)."""
    cqi_delay_blocks: Annotated[int, Interval(ge=0, le=10_000)] = 0
    """Age of the CQI in fading blocks; 0 means that the station knows the present channel."""
    attempts: Annotated[int, Ge(1), Le(16)] = 4
    """Maximum number of transmissions of a block, including the first (our choice); 1 is no retransmission."""
    overhead: Annotated[float, Ge(0), Lt(1)] = 0.14
    """Part of the symbols that carry no data (TS 38.306, 4.1.2, below 6 GHz: downlink 0.14, uplink 0.08)."""

    @property
    def delay_blocks(self) -> int:
        return self.cqi_delay_blocks

    @cached_property
    def min_snr(self) -> float:
        """The signal-to-noise ratio up to which the most robust MCS has error rate 1, to rounding, with all copies."""
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
