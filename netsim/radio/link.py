"""A link: what arrives at a receiver over the noise, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netsim.radio.fading import Gains
from netsim.streams import Floats


class Carrying(Protocol):
    """What a transmission goes over."""

    @property
    def coherence_time_s(self) -> float: ...

    def power_over_noise_hz(self, blocks: NDArray[np.int64]) -> Floats:
        """Received power over noise power density in each fading block, in Hz.

        Divided by the bandwidth over which the power is spread it is the signal-to-noise ratio.
        """
        ...


class Link:
    """One direction between a user and its station.

    `mean_power_over_noise_hz` is transmit power times mean gain over the receiver's noise power density.
    """

    def __init__(self, mean_power_over_noise_hz: float, fading: Gains, key: int) -> None:
        self.mean_power_over_noise_hz = mean_power_over_noise_hz
        self.fading = fading
        self.key = key

    @property
    def coherence_time_s(self) -> float:
        return self.fading.coherence_time_s

    def power_over_noise_hz(self, blocks: NDArray[np.int64]) -> Floats:
        return self.mean_power_over_noise_hz * self.fading.power_gains(self.key, blocks)


class WorstOf:
    """Several links served by one transmission: in every block the weakest receiver counts.

    The links share one coherence time.
    """

    def __init__(self, links: Sequence[Link]) -> None:
        self.links = links

    @property
    def coherence_time_s(self) -> float:
        return self.links[0].coherence_time_s

    def power_over_noise_hz(self, blocks: NDArray[np.int64]) -> Floats:
        worst: Floats = np.min([link.power_over_noise_hz(blocks) for link in self.links], axis=0)
        return worst
