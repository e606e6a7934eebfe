"""Rateless broadcast: one coded stream on the air, and every receiver listens until it has accumulated all bits.

A rateless code has ever new coded bits to send, so a receiver has the message as soon as the mutual information that it
has received, at the rate of its own link, reaches the message's bits: Castura and Mao, Rateless Coding over Fading
Channels, IEEE Communications Letters 10(1), 2006; Draper, Liu, Molisch and Yedidia, Cooperative Transmission for
Wireless Networks Using Mutual-Information Accumulation, IEEE Transactions on Information Theory 57(8), 2011.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import simpy

from netsim.instants import GIVE_UP, After
from netsim.process import Process
from netsim.radio.device import Radio
from netsim.transfer import AirInterface


class RatelessStream:
    """A message to several receivers at one station, each of which ends by itself; a late one may still join.

    The stream is one claim on the band, as an ordinary broadcast is, of those that still listen. It is off the air when
    the last of them has ended. A receiver that is handed over goes on with what it lacks at its next station, which
    then transmits a stream of the same message.
    """

    def __init__(
        self,
        air: AirInterface,
        bits: float,
        kind: str,
        receivers: int,
        deadline_s: float,
        fetch: Callable[[], Process[None]],
    ) -> None:
        """Prepare a stream; nothing happens before the first receiver listens.

        Args:
            air: the downlink of the station.
            bits: size of the message.
            kind: what the message is, for the table `transfers`.
            receivers: how many receivers there are; each counts for this part of the bits on the air.
            deadline_s: seconds after which the stream ends, from when the first receiver asks for it; inf is never.
            fetch: brings the message to the station, once for all receivers.
        """
        self.env, self.air, self.bits, self.kind = air.env, air, bits, kind
        self.receivers, self.deadline_s = receivers, deadline_s
        self._fetch = fetch
        self._fetching: simpy.Process | None = None
        self._waiting = 0  # receivers that wait for it
        self._over: simpy.Event | None = None

    def receive(self, radio: Radio) -> Process[bool]:
        """Listen until all bits are received; returns whether they were before the deadline.

        Raises simpy.Interrupt if the radio link of this receiver fails.
        """
        if self.deadline_s == inf:
            yield from self._listen(radio)
            return True
        if self._over is None:
            self._over = After(self.env, self.env.now + self.deadline_s, GIVE_UP)
        if self._over.processed:
            return False
        listening = self.env.process(_interrupt_of(self._listen(radio)))
        try:
            yield listening | self._over
        except simpy.Interrupt as interrupt:
            if listening.is_alive:
                listening.interrupt(interrupt.cause)
                yield listening
            raise
        if listening.is_alive:
            listening.interrupt("the stream is over")
            yield listening
            return False
        if listening.value is not None:
            raise listening.value
        return True

    def _listen(self, radio: Radio) -> Process[None]:
        yield from self._fetched()
        yield from self.air.transfer(radio, self.bits, self.kind, stream=self, receivers=self.receivers)

    def _fetched(self) -> Process[None]:
        """Wait until the station has the message. When no receiver waits any more, it is not fetched."""
        if self._fetching is None:
            self._fetching = self.env.process(_interrupt_of(self._fetch()))
        fetching = self._fetching
        self._waiting += 1
        try:
            failed: simpy.Interrupt | None = yield fetching
        except simpy.Interrupt:
            if self._waiting == 1 and fetching.is_alive:
                fetching.interrupt("no receiver is left")
                self._fetching = None
            raise
        finally:
            self._waiting -= 1
        if failed is not None:
            raise failed


def _interrupt_of(work: Process[None]) -> Process[simpy.Interrupt | None]:
    """Do some work; returns what interrupted it, None if nothing did."""
    try:
        yield from work
    except simpy.Interrupt as interrupt:
        return interrupt
    return None
