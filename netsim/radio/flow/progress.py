"""The interface by which a band's ongoing transmissions make progress, each by itself or all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from netsim.radio.flow.stream import FlowStream
from netsim.radio.flow.transmission import FlowTransmission
from netsim.radio.scheduling import Contenders, Grants, SchedulingGrant


class Progress(Protocol):
    """The progress of the ongoing transmissions of one band. All instants are the present one of its environment."""

    @property
    def due_s(self) -> float:
        """The simulated time in seconds at which `completed` must be called next; inf if nothing is due."""
        ...

    def join(self, transmission: FlowTransmission) -> None:
        """Add a transmission, which has no part of the band before its first grant."""
        ...

    def leave(self, transmission: FlowTransmission) -> None:
        """Remove a transmission; its figures are those of this instant afterwards. `grant` must follow."""
        ...

    def update(self, transmission: FlowTransmission) -> None:
        """Bring the figures of a transmission up to date."""
        ...

    def contenders(self, signals: Sequence[FlowTransmission | FlowStream]) -> Contenders:
        """Return these signals as a scheduler sees them at this instant."""
        ...

    def grant(self, signals: Sequence[FlowTransmission | FlowStream], grants: Grants) -> None:
        """Set the parts of the band that these signals have from the next `apply` on, which is at the same instant."""
        ...

    def granted(self, transmission: FlowTransmission) -> SchedulingGrant:
        """Return the grant that a transmission has from the next `apply` on."""
        ...

    def apply(self, stale: Iterable[FlowTransmission]) -> None:
        """Apply the grants, evaluate the links of `stale` transmissions again, and find what is due next."""
        ...

    def completed(self, alarm_s: float) -> Sequence[FlowTransmission]:
        """Return the transmissions that are complete, in order of their ends. They are to be removed by `leave`.

        Args:
            alarm_s: the end for which this call was scheduled, in seconds; it may have been moved forward to now.
        """
        ...
