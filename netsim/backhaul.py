"""The backhaul: lines between the stations and the core, in which the servers are that are at no station."""

from __future__ import annotations

from collections.abc import Sequence

import simpy

from netsim.description import BackhaulDescription
from netsim.instants import End
from netsim.journal import Journal
from netsim.process import Process
from netsim.queueing import Job
from netsim.tables import TransferRow


class Backhaul:
    """One direction of a line: messages queue, are sent at the rate of the line, and arrive after its delay."""

    def __init__(self, env: simpy.Environment, journal: Journal, node: str, line: BackhaulDescription) -> None:
        """Create an idle line.

        Args:
            env: the environment.
            journal: receives a row of `transfers` for each message and user.
            node: name of the destination in the tables.
            line: rate, delay and discipline.
        """
        self.env, self.journal, self.node, self.line = env, journal, node, line
        self.queue = line.discipline.queue(env, slots=1)

    def nominal_s(self, bits: float) -> float:
        """Return the time in s that a message takes from one end of an idle line to the other."""
        return bits / self.line.rate_bps + self.line.delay_s

    def transfer(self, bits: float, kind: str, users: Sequence[int]) -> Process[None]:
        """Send one message over the line. A message of 0 bits takes no time and leaves no row.

        Args:
            bits: size of the message.
            kind: kind of payload, for the tables.
            users: the users that it serves, at least one; each has a row in `transfers`.

        Raises:
            simpy.Interrupt: the transfer was interrupted; its rows are written.
        """
        if bits == 0:
            return
        round_number, requested_s = self.journal.round, self.env.now
        user = users[0] if len(users) == 1 else None
        stay = yield from self.queue.serve(self.line.discipline.rank(kind, user), Job(kind, bits / self.line.rate_bps))
        interrupt = stay.interrupt
        if interrupt is None and self.line.delay_s > 0:
            try:
                yield End(self.env, self.line.delay_s)
            except simpy.Interrupt as cause:
                interrupt = cause
        airtime_s = self.env.now - requested_s - stay.wait_s
        for number in users:
            self.journal.transferred(
                TransferRow(
                    round=round_number,
                    user=number,
                    node=self.node,
                    direction="backhaul",
                    kind=kind,
                    bits=float(bits),
                    start_s=requested_s,
                    end_s=self.env.now,
                    wait_s=stay.wait_s,
                    airtime_s=airtime_s,
                    attempts=int(stay.begun),
                    lost=0.0 if interrupt is None else float(bits),
                    mean_snr_db=None,
                    mean_rate_bps=bits / airtime_s if interrupt is None else None,
                    energy_j=0.0,
                    receivers=len(users),
                )
            )
        if interrupt is not None:
            raise interrupt
