"""Channel-aware scheduling policies, which depend on the present fading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf
from typing import Annotated

import numpy as np
from annotated_types import Gt

from netsim.radio.scheduling.policy import Contenders, Grants, Scheduler, Served
from netsim.streams import Floats


@dataclass(frozen=True)
class MaxRate:
    """Maximum rate: the whole band goes to the transmission with the best present channel; no fairness.

    Knopp and Humblet, Information Capacity and Power Control in Single-Cell Multiuser Communications, IEEE ICC 1995.
    """

    contended = follows_fading = True

    def scheduler(self) -> Scheduler:
        return self

    def grants(self, active: Contenders, attached: Sequence[int], now_s: float) -> Grants:
        served = np.zeros(len(active))
        served[active.efficiencies(now_s).argmax()] = 1.0
        return Grants(served, served, served)

    def check(self, count: int, attached: Sequence[int]) -> None:
        """Accept every station."""


@dataclass(frozen=True)
class ProportionalFair:
    """Proportional fairness: a transmission is served when its rate is high relative to its average rate.

    At slot level the transmission with the largest ratio is served (Viswanath, Tse, Laroia, Opportunistic Beamforming
    Using Dumb Antennas, IEEE Transactions on Information Theory 48(6), 2002). In fluid flow it is the limit of short
    slots (Kushner and Whiting, Convergence of Proportional-Fair Sharing Algorithms Under General Conditions, IEEE
    Transactions on Wireless Communications 3(4), 2004): each fading block is divided so that the sum of the logarithms
    of the averages at its end is maximal.
    """

    forgetting_time_s: Annotated[float, Gt(0)] = 1.0
    """Time constant in seconds of the exponential average (our choice, near the 1000 slots of Viswanath et al.)."""

    def scheduler(self) -> Scheduler:
        return FairAverages(self.forgetting_time_s)

    def check(self, count: int, attached: Sequence[int]) -> None:
        """Accept every station."""


class FairAverages:
    """The exponentially averaged rates of transmissions, in bit/s/Hz; each begins at the rate of an equal share."""

    contended = follows_fading = True

    def __init__(self, forgetting_time_s: float) -> None:
        self.forgetting_time_s = forgetting_time_s

    def grants(self, active: Contenders, attached: Sequence[int], now_s: float) -> Grants:
        rates = active.efficiencies(now_s)
        averages = np.array(self._averages(active, now_s, (rates / len(rates)).tolist()))
        ahead_s = active.border_s(now_s) - now_s
        kept = exp(-ahead_s / self.forgetting_time_s)
        with np.errstate(divide="ignore", invalid="ignore"):
            levels = np.where(rates > 0, kept * averages / ((1 - kept) * rates), inf)
        times = filled(levels)
        for each, average, rate in zip(active, averages.tolist(), (times * rates).tolist(), strict=True):
            each.served = Served(now_s, average, rate)
        served = (times > 0).astype(np.float64)
        return Grants(served, times, served)

    def _averages(self, active: Contenders, now_s: float, first: Sequence[float]) -> list[float]:
        """The averages now; `first` is that of a transmission that begins. Most have the same age."""
        averages, kept_since = [], {now_s: 1.0}
        for each, average in zip(active, first, strict=True):
            if each.served is not None:
                since_s, average, rate = each.served
                if since_s not in kept_since:
                    kept_since[since_s] = exp(-(now_s - since_s) / self.forgetting_time_s)
                kept = kept_since[since_s]
                average = kept * average + (1 - kept) * rate
            averages.append(average)
        return averages


def filled(levels: Floats) -> Floats:
    """Return the water-filling solution: parts x of a unit that maximise the sum of log(level + x).

    Args:
        levels: levels of the bottoms, shape (n,); the part of an infinite level is 0.

    Returns:
        The depth of water over each bottom, shape (n,), with sum 1, or all 0 if all levels are infinite.
    """
    lowest = np.sort(levels[np.isfinite(levels)])
    if not len(lowest):
        return np.zeros(len(levels))
    surfaces = (1 + np.cumsum(lowest)) / np.arange(1, len(lowest) + 1)
    surface = surfaces[np.flatnonzero(surfaces > lowest)[-1]]
    depths: Floats = np.maximum(surface - levels, 0.0)
    return depths
