"""Scheduling policies: the rules that divide a band among the signals on the air, and the grants that they give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple, Protocol, overload

import numpy as np

from netsim.streams import Floats

Receivers = tuple[int, ...]
"""Numbers of the users that a transmission serves: one, or several in a broadcast."""

ROUNDING = 1e-9
"""Absolute tolerance of sums of shares."""


class SchedulingGrant(NamedTuple):
    """The part of a band that a transmission is granted."""

    band: float
    """Part of the band in [0, 1]."""
    time: float = 1.0
    """Part of the time for which it has that part of the band."""
    power: float = 1.0
    """Part of the sender's usual power: all of a user's, for a station what falls into that part of the band."""

    @property
    def radiated(self) -> float:
        """Part of the sender's usual power that is on the air, averaged over time."""
        return self.time * self.power


NOTHING = SchedulingGrant(0.0, 0.0, 0.0)
"""The grant of a transmission that waits."""


class Grants(Sequence[SchedulingGrant]):
    """The grants of several signals, in order, as arrays of shape (signals,)."""

    def __init__(
        self,
        band: float | Floats,
        time: float | Floats = 1.0,
        power: float | Floats = 1.0,
        *,
        signals: int | None = None,
    ) -> None:
        """Set the columns, which have the meanings of the fields of `SchedulingGrant`; a number holds for all.

        Args:
            band: part of the band.
            time: part of the time.
            power: part of the power.
            signals: number of signals; None is the length of `band`, which is an array then.
        """
        self.band, self.time, self.power = band, time, power
        self._signals = len(band) if isinstance(band, np.ndarray) else signals or 0

    def __len__(self) -> int:
        return self._signals

    @property
    def common(self) -> tuple[float, float, float] | None:
        """Band, time and power, if they are given as numbers that hold for all; None otherwise."""
        if isinstance(self.band, float) and isinstance(self.time, float) and isinstance(self.power, float):
            return self.band, self.time, self.power
        return None

    @overload
    def __getitem__(self, signal: int) -> SchedulingGrant: ...
    @overload
    def __getitem__(self, signal: slice) -> Sequence[SchedulingGrant]: ...
    def __getitem__(self, signal: int | slice) -> SchedulingGrant | Sequence[SchedulingGrant]:
        if isinstance(signal, slice):
            return [self[number] for number in range(*signal.indices(len(self)))]
        return SchedulingGrant(*(column.item(signal) for column in self.columns()))

    def __iter__(self) -> Iterator[SchedulingGrant]:
        return map(SchedulingGrant._make, self.tuples())

    def tuples(self) -> Iterator[tuple[float, float, float]]:
        """Yield band, time and power of each, which are equal to its grant, without creating it."""
        band, time, power = self.band, self.time, self.power
        bands = repeat(band, self._signals) if isinstance(band, float) else band.tolist()
        times = repeat(time) if isinstance(time, float) else time.tolist()
        powers = repeat(power) if isinstance(power, float) else power.tolist()
        return zip(bands, times, powers, strict=False)

    def columns(self) -> Sequence[Floats]:
        """Return band, time and power, each of shape (signals,)."""
        every = np.ones(self._signals)
        return self.band * every, self.time * every, self.power * every


class Served(NamedTuple):
    """An average of the rate at which a transmission is served, as it was at the latest division of the band."""

    since_s: float
    """Simulated time of the division in seconds."""
    average: float
    """Average up to then in bit/s/Hz."""
    rate: float
    """Rate from then on in bit/s/Hz."""


class ScheduledTransmission(Protocol):
    """An ongoing transmission, as a scheduler sees it."""

    @property
    def receivers(self) -> Receivers:
        """Numbers of the users that it serves."""
        ...

    served: Served | None
    """What a proportionally fair scheduler has served of it; None at first."""

    def efficiency(self, now_s: float) -> float:
        """Return the goodput in bit/s/Hz that it would have now if it were alone on the band."""
        ...

    def border_s(self, now_s: float) -> float:
        """Return the simulated time in seconds at which the present fading block ends."""
        ...


class Contenders(Sequence[ScheduledTransmission]):
    """The ongoing transmissions among which a band is divided, with what a scheduler may ask of all of them at once."""

    def __init__(self, transmissions: Sequence[ScheduledTransmission]) -> None:
        """Create it from the transmissions, in order of arrival."""
        self.transmissions = transmissions

    def __len__(self) -> int:
        return len(self.transmissions)

    @overload
    def __getitem__(self, number: int) -> ScheduledTransmission: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[ScheduledTransmission]: ...
    def __getitem__(self, number: int | slice) -> ScheduledTransmission | Sequence[ScheduledTransmission]:
        return self.transmissions[number]

    def __iter__(self) -> Iterator[ScheduledTransmission]:
        return iter(self.transmissions)

    def efficiencies(self, now_s: float) -> Floats:
        """Return the goodputs in bit/s/Hz that each would have now if it were alone on the band, of shape (len,)."""
        return np.array([each.efficiency(now_s) for each in self.transmissions])

    def border_s(self, now_s: float) -> float:
        """Return the first simulated time in seconds at which a present fading block ends."""
        return min(each.border_s(now_s) for each in self.transmissions)


class Scheduler(Protocol):
    """A scheduler: it divides the band of a station among ongoing transmissions."""

    @property
    def contended(self) -> bool:
        """True if a grant depends on more than the receivers and the attached users."""
        ...

    @property
    def follows_fading(self) -> bool:
        """True if a grant depends on the channels, so that it holds only until a fading block ends."""
        ...

    def grants(self, active: Contenders, attached: Sequence[int], now_s: float) -> Grants:
        """Return the grants of the ongoing transmissions from now on.

        Args:
            active: ongoing transmissions, at least one.
            attached: numbers of all users of the station.
            now_s: simulated time in seconds.

        Returns:
            One grant for each of `active`, in order.
        """
        ...


class SchedulingPolicy(Protocol):
    """A scheduling policy: the rule by which the band of a station is shared."""

    def check(self, count: int, attached: Sequence[int]) -> None:
        """Raise ValueError if the policy does not fit a station to which these of `count` users are attached."""
        ...

    def scheduler(self) -> Scheduler:
        """Return a scheduler for the bands of all stations in one direction."""
        ...
