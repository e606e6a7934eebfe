"""A rateless stream in a band that is a fluid flow: scheduled as one, with several receiving transmissions."""

from __future__ import annotations

from netsim.radio.flow.transmission import FlowTransmission
from netsim.radio.scheduling import Receivers, Served
from netsim.sums import in_order


class FlowStream:
    """One rateless-coded signal to several receivers, as a scheduler sees it; each accumulates bits at its own rate."""

    def __init__(self) -> None:
        self.transmissions: list[FlowTransmission] = []
        """The receptions that go on, in order of arrival; at least one while the stream is on the air."""
        self.served: Served | None = None
        """As `ScheduledTransmission` has it."""

    @property
    def receivers(self) -> Receivers:
        """Numbers of the users that listen."""
        return tuple(user for transmission in self.transmissions for user in transmission.receivers)

    def efficiency(self, now_s: float) -> float:
        """Goodput of all receivers together, in bit/s/Hz, that the stream would have now if it were alone."""
        return self.present(now_s)[0]

    def border_s(self, now_s: float) -> float:
        """The first instant, in seconds, at which a fading block of a receiver ends."""
        return self.present(now_s)[1]

    def present(self, now_s: float) -> tuple[float, float]:
        """`efficiency` and `border_s`, from one look at the present fading blocks."""
        rates, borders_s = zip(*(each.present(now_s) for each in self.transmissions), strict=True)
        return in_order(rates), min(borders_s)
